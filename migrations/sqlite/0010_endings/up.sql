-- What has ended and is not in the file `endings` yet, which lies outside what a backup brings back. Numbers are never used again.
CREATE TABLE ending (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  what TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT;
