-- The index. Every time is Unix milliseconds UTC. Every id is random bytes.

CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT;

-- Library ------------------------------------------------------------------------------------

CREATE TABLE images (
  image_id       BLOB PRIMARY KEY CHECK (length(image_id) = 16),
  name           TEXT NOT NULL,
  classification TEXT NOT NULL,
  imported_at    INTEGER NOT NULL,
  provenance     BLOB                                   -- where a saved picture came from
) STRICT;
CREATE INDEX images_by_time ON images (imported_at DESC, image_id);
CREATE INDEX images_by_name ON images (name);

CREATE TABLE versions (
  version_id  BLOB PRIMARY KEY CHECK (length(version_id) = 16),
  image_id    BLOB NOT NULL REFERENCES images ON DELETE CASCADE,
  number      INTEGER NOT NULL,
  format      TEXT NOT NULL,
  width       INTEGER NOT NULL,                         -- pixels as seen, orientation applied
  height      INTEGER NOT NULL,
  bytes       INTEGER NOT NULL,
  sha256      BLOB NOT NULL CHECK (length(sha256) = 32), -- of the original bytes
  blob_id     BLOB NOT NULL REFERENCES blobs,
  created_at  INTEGER NOT NULL,
  likeness    BLOB CHECK (length(likeness) = 8),        -- difference hash; NULL where it says nothing
  UNIQUE (image_id, number)
) STRICT;
CREATE INDEX versions_by_content ON versions (sha256);
CREATE INDEX versions_by_likeness_1 ON versions (substr(likeness, 1, 2));
CREATE INDEX versions_by_likeness_2 ON versions (substr(likeness, 3, 2));
CREATE INDEX versions_by_likeness_3 ON versions (substr(likeness, 5, 2));
CREATE INDEX versions_by_likeness_4 ON versions (substr(likeness, 7, 2));
CREATE INDEX versions_by_blob ON versions (blob_id);

CREATE TABLE thumbnails (
  version_id BLOB NOT NULL REFERENCES versions ON DELETE CASCADE,
  size       INTEGER NOT NULL,                          -- long edge bound in pixels: 256, 1024
  blob_id    BLOB NOT NULL REFERENCES blobs,
  PRIMARY KEY (version_id, size)
) STRICT;
CREATE INDEX thumbnails_by_blob ON thumbnails (blob_id);

CREATE TABLE sidecars (             -- files that belong to a picture
  image_id BLOB NOT NULL REFERENCES images ON DELETE CASCADE,
  name     TEXT NOT NULL,
  bytes    INTEGER NOT NULL,
  sha256   BLOB NOT NULL CHECK (length(sha256) = 32),
  blob_id  BLOB NOT NULL REFERENCES blobs,
  PRIMARY KEY (image_id, name, sha256)
) STRICT;
CREATE INDEX sidecars_by_blob ON sidecars (blob_id);

CREATE TABLE tags (
  image_id BLOB NOT NULL REFERENCES images ON DELETE CASCADE,
  tag      TEXT NOT NULL,
  PRIMARY KEY (image_id, tag)
) STRICT;
CREATE INDEX tags_by_tag ON tags (tag);

CREATE TABLE albums (
  album_id   BLOB PRIMARY KEY CHECK (length(album_id) = 16),
  name       TEXT NOT NULL UNIQUE,
  created_at INTEGER NOT NULL,
  credit     BLOB                   -- that copies of its pictures carry by default, NULL for none
) STRICT;

CREATE TABLE album_images (
  album_id BLOB NOT NULL REFERENCES albums ON DELETE CASCADE,
  image_id BLOB NOT NULL REFERENCES images ON DELETE CASCADE,
  position INTEGER NOT NULL,
  PRIMARY KEY (album_id, image_id)
) STRICT;
CREATE INDEX album_images_by_image ON album_images (image_id);

CREATE VIRTUAL TABLE image_search USING fts5 (
  image_id UNINDEXED, name, tags, albums, tokenize = 'unicode61 remove_diacritics 2'
);

-- Sealed files -------------------------------------------------------------------------------

CREATE TABLE blobs (
  blob_id       BLOB PRIMARY KEY CHECK (length(blob_id) = 16), -- names the file
  kind          TEXT NOT NULL,      -- original thumbnail sidecar rendition image_list received received_list
  key           BLOB,               -- 32 bytes; NULL where the key is not ours to keep
  context       BLOB NOT NULL,      -- as sealed_blob.BlobContext encodes it
  sealed_bytes  INTEGER NOT NULL,
  sealed_sha256 BLOB NOT NULL CHECK (length(sealed_sha256) = 32),
  created_at    INTEGER NOT NULL
) STRICT;

-- Team ---------------------------------------------------------------------------------------

CREATE TABLE roster_versions (
  version INTEGER PRIMARY KEY,
  hash    BLOB NOT NULL CHECK (length(hash) = 32),
  signed  BLOB NOT NULL             -- exact bytes of roster.metadata.SignedRoster
) STRICT;

CREATE TABLE roster_rivals (        -- versions of another history of the team, until it is resolved
  hash    BLOB PRIMARY KEY CHECK (length(hash) = 32),
  version INTEGER NOT NULL,
  signed  BLOB NOT NULL
) STRICT;

CREATE TABLE roster_proposals (     -- next versions that lack signatures
  hash        BLOB PRIMARY KEY CHECK (length(hash) = 32),
  signed      BLOB NOT NULL,        -- exact bytes of roster.metadata.SignedRoster
  received_at INTEGER NOT NULL
) STRICT;

CREATE TABLE peers (
  fingerprint BLOB PRIMARY KEY CHECK (length(fingerprint) = 32),
  last_seen   INTEGER
) STRICT;

CREATE TABLE peer_addresses (
  fingerprint BLOB NOT NULL REFERENCES peers ON DELETE CASCADE,
  host        TEXT NOT NULL,
  port        INTEGER NOT NULL,
  source      TEXT NOT NULL,        -- added identity welcome seen
  PRIMARY KEY (fingerprint, host, port)
) STRICT;

-- Capabilities I issued ------------------------------------------------------------------------

CREATE TABLE renditions (
  rendition_id BLOB PRIMARY KEY CHECK (length(rendition_id) = 32),
  version_id   BLOB NOT NULL REFERENCES versions ON DELETE CASCADE,
  spec         TEXT NOT NULL,       -- original, clean, preview:2048, …; where not all capabilities
                                    -- share the bytes, whose they are behind it
  blob_id      BLOB NOT NULL REFERENCES blobs,
  key          BLOB NOT NULL CHECK (length(key) = 32),        -- R
  commitment   BLOB NOT NULL CHECK (length(commitment) = 32), -- of the sealed blob
  format       TEXT NOT NULL,
  width        INTEGER NOT NULL,
  height       INTEGER NOT NULL,
  disclosure   BLOB NOT NULL,
  created_at   INTEGER NOT NULL,
  UNIQUE (version_id, spec)
) STRICT;
CREATE INDEX renditions_by_blob ON renditions (blob_id);

CREATE TABLE grants (
  capability_id   BLOB PRIMARY KEY CHECK (length(capability_id) = 16),
  capability_hash BLOB NOT NULL UNIQUE CHECK (length(capability_hash) = 32),
  holder          BLOB NOT NULL,    -- fingerprint
  terms           BLOB NOT NULL,    -- exact signed body
  signature       BLOB NOT NULL,
  holder_share    BLOB,             -- NULL once the capability is over
  list_key        BLOB,             -- NULL once the capability is over
  list_blob_id    BLOB REFERENCES blobs,
  slot            INTEGER,          -- NULL once the keyslot is destroyed
  image_count     INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  expires_at      INTEGER NOT NULL, -- with amendments applied
  opens_added     INTEGER NOT NULL DEFAULT 0,
  amendments      INTEGER NOT NULL DEFAULT 0, -- highest sequence number issued
  opens           INTEGER NOT NULL DEFAULT 0, -- of all images
  last_open       INTEGER,
  delivered_at    INTEGER,          -- the holder's node has stored it
  received_at     INTEGER,          -- the holder's receipt says so
  revoked_at      INTEGER,
  revocation_seen INTEGER,
  ended_at        INTEGER,          -- revoked or expired, and the keyslot destroyed
  lapsed_at       INTEGER,          -- revoked because this node began a new log
  reissued_as     BLOB,             -- the capability that was issued instead of a lapsed one
  ownership       BLOB              -- the credit that copies carry, NULL for none
) STRICT;
CREATE INDEX grants_by_holder ON grants (holder);
CREATE INDEX grants_live ON grants (expires_at) WHERE ended_at IS NULL;

CREATE TABLE grant_images (
  capability_id BLOB NOT NULL REFERENCES grants ON DELETE CASCADE,
  position      INTEGER NOT NULL,
  image_id      BLOB NOT NULL,
  version_id    BLOB NOT NULL,
  rendition_id  BLOB,               -- set when the rendition is ready
  manifest      BLOB,               -- exact bytes of identity.Signed
  ready_at      INTEGER,            -- when the manifest was bound
  opens         INTEGER NOT NULL DEFAULT 0,
  problem_code  TEXT,               -- why there is no rendition; NULL while that is not known
  problem       TEXT,               -- the same in words of our own
  PRIMARY KEY (capability_id, position)
) STRICT;
CREATE UNIQUE INDEX grant_images_by_image ON grant_images (capability_id, image_id);
CREATE INDEX grant_images_waiting ON grant_images (version_id) WHERE rendition_id IS NULL;
CREATE INDEX grant_images_by_rendition ON grant_images (rendition_id);

CREATE TABLE releases (
  open_id       BLOB PRIMARY KEY CHECK (length(open_id) = 16),
  capability_id BLOB NOT NULL REFERENCES grants ON DELETE CASCADE,
  image_id      BLOB NOT NULL,
  rendition_id  BLOB NOT NULL,
  incarnation   INTEGER NOT NULL,   -- of the log that the next number is of
  log_index     INTEGER NOT NULL,
  released_at   INTEGER NOT NULL,
  opened_at     INTEGER,            -- from the holder's receipts
  saved_at      INTEGER,
  redelivered_at INTEGER
) STRICT;
CREATE INDEX releases_by_capability ON releases (capability_id);

CREATE TABLE denials (              -- one window of a minute for each holder (architecture 4.5)
  holder       BLOB PRIMARY KEY,
  window_start INTEGER NOT NULL,
  logged       INTEGER NOT NULL,
  suppressed   INTEGER NOT NULL     -- not yet in the log; one counted entry ends the window
) STRICT;

-- Capabilities I hold --------------------------------------------------------------------------

CREATE TABLE held (
  capability_id   BLOB PRIMARY KEY CHECK (length(capability_id) = 16),
  capability_hash BLOB NOT NULL UNIQUE CHECK (length(capability_hash) = 32),
  issuer          BLOB NOT NULL,
  terms           BLOB NOT NULL,
  signature       BLOB NOT NULL,
  holder_share    BLOB,             -- NULL once revoked or expired
  list_key        BLOB,
  list_blob_id    BLOB REFERENCES blobs,
  received_at     INTEGER NOT NULL,
  expires_at      INTEGER NOT NULL,
  opens_added     INTEGER NOT NULL DEFAULT 0,
  amendments      INTEGER NOT NULL DEFAULT 0,
  revoked_at      INTEGER
) STRICT;
CREATE INDEX held_by_issuer ON held (issuer);

CREATE TABLE held_images (
  capability_id BLOB NOT NULL REFERENCES held ON DELETE CASCADE,
  position      INTEGER NOT NULL,
  image_id      BLOB NOT NULL,
  name          TEXT NOT NULL,      -- sanitised
  manifest      BLOB,               -- exact bytes of identity.Signed
  blob_id       BLOB REFERENCES blobs, -- the whole verified ciphertext
  opens         INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (capability_id, position)
) STRICT;
CREATE UNIQUE INDEX held_images_by_image ON held_images (capability_id, image_id);
CREATE INDEX held_images_by_blob ON held_images (blob_id);

CREATE TABLE held_opens (
  open_id       BLOB PRIMARY KEY CHECK (length(open_id) = 16),
  capability_id BLOB NOT NULL REFERENCES held ON DELETE CASCADE,
  image_id      BLOB NOT NULL,
  stored_at     INTEGER NOT NULL,
  answered_at   INTEGER             -- NULL: stored and never answered, used first
) STRICT;
CREATE INDEX held_opens_waiting ON held_opens (capability_id, image_id) WHERE answered_at IS NULL;

-- Statements on their way to a peer, kept until acknowledged -------------------------------------

CREATE TABLE outbox (
  message_id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given to another statement
  peer       BLOB NOT NULL,
  kind       TEXT NOT NULL,         -- capability manifest amendment revocation receipt proposal
  body       BLOB NOT NULL,
  capability_id BLOB,
  created_at INTEGER NOT NULL,
  mailed_at  INTEGER                -- a rendezvous keeps a sealed copy since then
) STRICT;
CREATE INDEX outbox_by_peer ON outbox (peer, message_id);

CREATE TABLE mail_seen (            -- mail that was dealt with, until it could not be replayed any more
  message_id BLOB PRIMARY KEY CHECK (length(message_id) = 16),
  expires_at INTEGER NOT NULL
) STRICT;

-- Audit log --------------------------------------------------------------------------------------

-- A node that was restored or copied goes on with a new log, its next incarnation; the old stays.

CREATE TABLE log_entries (
  incarnation INTEGER NOT NULL,
  log_index INTEGER NOT NULL,
  time      INTEGER NOT NULL,
  event     TEXT NOT NULL,
  actor     INTEGER,                -- log_subjects; NULL for this node itself
  hashes    BLOB NOT NULL,          -- its leaf hash and, level by level, of the subtrees it completes
  entry     BLOB NOT NULL,          -- exact bytes, never re-serialised
  PRIMARY KEY (incarnation, log_index)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_entries_by_event ON log_entries (event, incarnation, log_index, time);
CREATE INDEX log_entries_by_actor ON log_entries (actor, incarnation, log_index)
  WHERE actor IS NOT NULL;

CREATE TABLE log_clock_back (       -- entries of an earlier time than the one before: else times grow
  incarnation INTEGER NOT NULL,
  log_index INTEGER NOT NULL,
  PRIMARY KEY (incarnation, log_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_head (             -- the newest signed head of each incarnation that has entries
  incarnation INTEGER PRIMARY KEY,
  size INTEGER NOT NULL,
  note BLOB NOT NULL
) STRICT;

CREATE TABLE log_keys (             -- own log keys, of every epoch of every incarnation
  incarnation INTEGER NOT NULL,
  epoch     INTEGER NOT NULL,
  statement BLOB,                   -- audit.log_keys; NULL for the first, which the certificate names
  seed      BLOB CHECK (length(seed) = 32), -- of the key in use only
  PRIMARY KEY (incarnation, epoch)
) STRICT;

CREATE TABLE peer_log_keys (        -- what peers said of theirs, in the order of each
  fingerprint BLOB NOT NULL,
  position  INTEGER NOT NULL,
  statement BLOB NOT NULL,
  PRIMARY KEY (fingerprint, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_subjects (         -- one key a person, picture or capability; erasing deletes the row
  subject_id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given to another subject
  kind       TEXT NOT NULL,         -- member image capability album; log is the node's own log
  reference  BLOB NOT NULL,
  key        BLOB NOT NULL CHECK (length(key) = 32),
  UNIQUE (kind, reference)
) STRICT;

CREATE TABLE log_values (           -- what the commitments of an entry commit to
  incarnation INTEGER NOT NULL,
  log_index  INTEGER NOT NULL,
  field      TEXT NOT NULL,
  subject_id INTEGER NOT NULL,
  sealed     BLOB NOT NULL,         -- salt ‖ value under the subject's key
  PRIMARY KEY (incarnation, log_index, field)
) STRICT, WITHOUT ROWID;
CREATE INDEX log_values_by_subject ON log_values (subject_id, incarnation, log_index);

CREATE TABLE receipts (             -- what holders signed, as it arrived: evidence beside its entry
  incarnation INTEGER NOT NULL,
  log_index   INTEGER NOT NULL,
  holder      BLOB NOT NULL,        -- fingerprint
  signed      BLOB NOT NULL,        -- exact bytes of identity.Signed
  PRIMARY KEY (incarnation, log_index),
  FOREIGN KEY (incarnation, log_index) REFERENCES log_entries DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE release_heads (        -- heads shown in releases or to other members, until the log is proven to extend them
  origin TEXT NOT NULL,
  size   INTEGER NOT NULL,
  note   BLOB NOT NULL,
  PRIMARY KEY (origin, size, note)
) STRICT, WITHOUT ROWID;

CREATE TABLE peer_heads (           -- the newest verified head of each peer's log, with the log's signature
  origin TEXT PRIMARY KEY,
  fingerprint BLOB NOT NULL,
  size   INTEGER NOT NULL,
  note   BLOB NOT NULL,
  seen_at INTEGER NOT NULL,
  change INTEGER NOT NULL           -- grows with every change: who asks again gets only what is new
) STRICT;
CREATE INDEX peer_heads_by_change ON peer_heads (change);

CREATE TABLE own_cosignatures (     -- the newest head of each own log that each witness has signed
  origin    TEXT NOT NULL,
  witness   TEXT NOT NULL,          -- its verifier key
  size      INTEGER NOT NULL,
  note      BLOB NOT NULL,          -- the head with the log's signature and the witness's below it
  signed_at INTEGER NOT NULL,       -- as the witness says
  PRIMARY KEY (origin, witness)
) STRICT, WITHOUT ROWID;

CREATE TABLE witness_urls (         -- witnesses outside the team that a person named
  url      TEXT PRIMARY KEY,
  vkey     TEXT NOT NULL,
  added_at INTEGER NOT NULL
) STRICT;

CREATE TABLE alarms (               -- logs that contradict themselves, with what proves it
  alarm_id    INTEGER PRIMARY KEY AUTOINCREMENT,
  fingerprint BLOB NOT NULL,        -- whose log
  origin      TEXT NOT NULL,
  kind        TEXT NOT NULL,        -- rollback fork equivocation
  detail      TEXT NOT NULL,
  first       BLOB NOT NULL,        -- two statements of its keeper that do not go together
  second      BLOB NOT NULL,
  evidence    BLOB,                 -- audit.equivocation; NULL where they prove nothing by themselves
  raised_at   INTEGER NOT NULL,
  change      INTEGER NOT NULL,     -- numbered with those of peer_heads: others hear of it too
  over_at     INTEGER,              -- its keeper was seen to have begun another log
  cleared_at  INTEGER,              -- a person has looked into it
  UNIQUE (origin, kind, first, second)
) STRICT;
