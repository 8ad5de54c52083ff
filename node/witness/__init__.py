"""Witnessing over HTTP (C2SP tlog-witness): asking witnesses outside the team, and being one."""
