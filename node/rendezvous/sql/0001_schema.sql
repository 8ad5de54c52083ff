-- What a rendezvous keeps: no name, and no byte of anybody's in the clear.

-- Secrets that register one team each.
CREATE TABLE claims (
  secret TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- The admission in force of each team, as it was signed.
CREATE TABLE teams (
  team_id BLOB PRIMARY KEY,
  signed  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Later admissions that lack signatures.
CREATE TABLE pending (
  number    INTEGER PRIMARY KEY,
  team_id   BLOB NOT NULL,
  body_hash BLOB NOT NULL,
  signed    BLOB NOT NULL,
  UNIQUE (team_id, body_hash)
) STRICT;

-- Sealed mail. A number is never used again.
CREATE TABLE mail (
  number     INTEGER PRIMARY KEY AUTOINCREMENT,
  team_id    BLOB NOT NULL,
  recipient  BLOB NOT NULL,
  sender     BLOB NOT NULL,
  mail_id    BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  size       INTEGER NOT NULL,
  sealed     BLOB NOT NULL,
  UNIQUE (team_id, sender, recipient, mail_id)
) STRICT;

CREATE INDEX mail_of_sender ON mail (team_id, sender, size);
CREATE INDEX mail_of_recipient ON mail (team_id, recipient, number, size);
CREATE INDEX mail_by_expiry ON mail (expires_at);

-- How much waits in all, so that a deposit need not add it up.
CREATE TABLE total (
  only  INTEGER PRIMARY KEY CHECK (only = 1),
  mails INTEGER NOT NULL,
  size  INTEGER NOT NULL
) STRICT;
INSERT INTO total VALUES (1, 0, 0);

CREATE TRIGGER mail_comes AFTER INSERT ON mail BEGIN
  UPDATE total SET mails = mails + 1, size = size + new.size;
END;
CREATE TRIGGER mail_goes AFTER DELETE ON mail BEGIN
  UPDATE total SET mails = mails - 1, size = size - old.size;
END;
