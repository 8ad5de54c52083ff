-- Slots of open invitations. They outlive a restart: a code that was told cannot be told anew.
CREATE TABLE slots (
  number     INTEGER PRIMARY KEY,
  team_id    BLOB NOT NULL,
  key        BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  used       INTEGER NOT NULL
) STRICT;
