-- The pool of slots that the turns of each type's queued jobs belong to: the place of its kind of handler, tasks or
-- processes. Another one after a restart says that their turns are of the wrong line.

CREATE TABLE pools (
    type TEXT    NOT NULL PRIMARY KEY,
    pool INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
