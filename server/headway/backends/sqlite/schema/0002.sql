-- The number of jobs, maintained by triggers, so that a million jobs need not be counted at start.

CREATE TABLE counts (
    owner  TEXT    NOT NULL,
    type   TEXT    NOT NULL,
    status TEXT    NOT NULL,
    jobs   INTEGER NOT NULL,
    PRIMARY KEY (owner, type, status)
) STRICT, WITHOUT ROWID;

INSERT INTO counts SELECT owner, type, status, count(*) FROM jobs GROUP BY owner, type, status;

CREATE TRIGGER jobs_counted AFTER INSERT ON jobs BEGIN
    INSERT INTO counts VALUES (new.owner, new.type, new.status, 1)
    ON CONFLICT (owner, type, status) DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER jobs_recounted AFTER UPDATE OF status ON jobs WHEN old.status <> new.status BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE owner = old.owner AND type = old.type AND status = old.status;
    INSERT INTO counts VALUES (new.owner, new.type, new.status, 1)
    ON CONFLICT (owner, type, status) DO UPDATE SET jobs = jobs + 1;
END;

CREATE TRIGGER jobs_discounted AFTER DELETE ON jobs BEGIN
    UPDATE counts SET jobs = jobs - 1 WHERE owner = old.owner AND type = old.type AND status = old.status;
END;
