"""The control API: its schema, its server routes and its client."""
