-- What is made from the log, and can be made again.

-- The last line whose postings are made.
CREATE TABLE cursor (one INTEGER PRIMARY KEY CHECK (one = 1), line INTEGER NOT NULL) STRICT;
INSERT INTO cursor VALUES (1, 0);

CREATE TABLE item (
  terminal INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  kind     INTEGER NOT NULL, state INTEGER NOT NULL, shop INTEGER NOT NULL,
  card     BLOB    NOT NULL, account INTEGER NOT NULL,
  amount   INTEGER NOT NULL CHECK (amount > 0),
  tx_type  INTEGER NOT NULL, load INTEGER NOT NULL, counter INTEGER NOT NULL,
  flags    INTEGER NOT NULL,
  exposed  INTEGER NOT NULL,
  sam      BLOB, stamp BLOB,
  void_epoch INTEGER NOT NULL, void_seq INTEGER NOT NULL,    -- of a top-up: its agreed void
  debit_epoch INTEGER NOT NULL, debit_seq INTEGER NOT NULL,  -- and the debit that carries it out
  PRIMARY KEY (terminal, epoch, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX item_chain ON item (card, load, counter);
CREATE INDEX item_exposed ON item (shop) WHERE exposed > 0;
CREATE INDEX item_open ON item (state) WHERE state IN (1, 4);
CREATE INDEX item_nameless ON item (terminal, epoch, seq) WHERE flags & 16;

CREATE TABLE posting (
  account  BLOB    NOT NULL, line INTEGER NOT NULL, n INTEGER NOT NULL,
  terminal INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  amount   INTEGER NOT NULL CHECK (amount <> 0),
  PRIMARY KEY (account, line, n)
) STRICT, WITHOUT ROWID;

-- A cache of sums of postings; the audit compares.
CREATE TABLE balance (account BLOB PRIMARY KEY, amount INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE held (
  terminal INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  reason TEXT NOT NULL, line INTEGER NOT NULL,
  PRIMARY KEY (terminal, epoch, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE alarm (
  terminal INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  kind TEXT NOT NULL, detail TEXT NOT NULL, line INTEGER NOT NULL,
  PRIMARY KEY (terminal, epoch, seq, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE sale (
  card BLOB PRIMARY KEY, shop INTEGER NOT NULL,
  terminal INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (number INTEGER PRIMARY KEY, owner TEXT NOT NULL) STRICT;

CREATE TABLE sam (
  sam BLOB PRIMARY KEY, shop INTEGER NOT NULL, sequence INTEGER NOT NULL,
  ceiling INTEGER NOT NULL, max_count INTEGER NOT NULL,
  gave INTEGER NOT NULL, gave_count INTEGER NOT NULL,
  doubt INTEGER NOT NULL, doubt_count INTEGER NOT NULL,
  covered INTEGER NOT NULL, released INTEGER NOT NULL,
  challenge BLOB NOT NULL, answer BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE psam (
  terminal INTEGER NOT NULL, epoch INTEGER NOT NULL, psam BLOB NOT NULL,
  seq INTEGER NOT NULL, proven INTEGER NOT NULL, slack INTEGER NOT NULL,
  PRIMARY KEY (terminal, psam, epoch)
) STRICT, WITHOUT ROWID;

-- What was posted is never changed.
CREATE TRIGGER posting_keep BEFORE UPDATE ON posting BEGIN SELECT RAISE(ABORT, 'postings are never changed'); END;
CREATE TRIGGER posting_stay BEFORE DELETE ON posting BEGIN SELECT RAISE(ABORT, 'postings are never changed'); END;
