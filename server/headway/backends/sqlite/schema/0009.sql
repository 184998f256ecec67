-- The attempts of jobs, apart from those that the job's own row tells of: one that runs, and the one that ended the job
-- if nothing of it was measured.

CREATE TABLE attempts (
    job_id            TEXT    NOT NULL,
    attempt           INTEGER NOT NULL,
    started_at        INTEGER NOT NULL,
    ended_at          INTEGER NOT NULL,
    outcome           TEXT    NOT NULL
                      CHECK (outcome IN ('completed', 'failed', 'cancelled', 'retry', 'interrupted')),
    error             TEXT,                          -- JSON
    peak_memory_bytes INTEGER,
    cpu_s             REAL,
    PRIMARY KEY (job_id, attempt)
) STRICT, WITHOUT ROWID;

-- Those after which a job was queued again are in its history, though without their errors.
INSERT OR IGNORE INTO attempts (job_id, attempt, started_at, ended_at, outcome)
SELECT jobs.id, CAST(substr(began.message, length('attempt ') + 1) AS INTEGER), began.at, ended.at, iif(
    EXISTS (
        SELECT 1 FROM history AS log
        WHERE log.job_id = jobs.id AND log.kind = 'log'
          AND log.message GLOB began.message || ' failed, the next one starts in *'
    ),
    'retry', 'interrupted'
)
FROM jobs
JOIN history AS began ON began.job_id = jobs.id AND began.kind = 'state' AND began.level = 'running'
JOIN history AS ended ON ended.job_id = jobs.id AND ended.kind = 'state' AND ended.level = 'queued'
                     AND ended.message = began.message
WHERE jobs.attempt > 1 OR (jobs.attempt = 1 AND jobs.status IN ('queued', 'cancelled'));
