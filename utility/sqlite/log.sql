-- The log: everything that was stored, in order. The rest is made from it.
CREATE TABLE log (
  id       INTEGER PRIMARY KEY,
  at       INTEGER NOT NULL,           -- ms since 1970
  kind     INTEGER NOT NULL,
  body     BLOB    NOT NULL,
  hash     BLOB    NOT NULL,           -- chain through this line
  terminal INTEGER NOT NULL,           -- 48 bits; 0 when the line concerns none
  epoch    INTEGER NOT NULL,
  first    INTEGER NOT NULL,           -- sequence of the first entry, or of the entry decided on
  last     INTEGER NOT NULL,
  head     BLOB                        -- terminal's chain after the last entry
) STRICT;
CREATE UNIQUE INDEX log_entries ON log (terminal, epoch, first) WHERE kind = 1;
CREATE INDEX log_decisions ON log (terminal, epoch, first) WHERE kind IN (3, 4);
CREATE INDEX log_master ON log (kind) WHERE kind <> 1;

-- What was recorded is never changed.
CREATE TRIGGER log_keep    BEFORE UPDATE ON log     BEGIN SELECT RAISE(ABORT, 'the log is never changed'); END;
CREATE TRIGGER log_stay    BEFORE DELETE ON log     BEGIN SELECT RAISE(ABORT, 'the log is never changed'); END;
