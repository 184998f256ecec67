"""What lists cost with a million jobs, by each filter, in each order and by search: latency against a small file.

Each list fills its page in both files, apart from those that say that nothing matches: otherwise the ratio would be
that of the lengths. The jobs are made by SQL. Large and small alternate in one run.
"""

import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from headway.backends.sqlite.opening.connection import open_writer
from headway.domain.filters import ORDERS, SortKey
from headway.domain.instants import to_ms

from tests.support.process import ROOT, ServerProcess

from .growth import latency_ms
from .report import Play, Table

JOBS = 1_000_000
FEW_JOBS = 5_000
DAYS = 29

NUMBERS = "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :jobs)"
MADE = f"""
INSERT INTO jobs (id, owner, type, label, status, priority, created_at, run_at, started_at, updated_at, completed_at,
                  expires_at, attempt, max_attempts, retain_s, last_seq, state_seq, version, message, input, metadata)
{NUMBERS}, moments (n, at) AS (SELECT n, :first + n * :step FROM numbers)
SELECT
    printf('%08x-%04x-7%03x-8000-%012x', at >> 16, at & 65535, n & 4095, n), 'local',
    iif(n % 2, 'lottery', iif(n % 4, 'weather', 'csv-report')),
    iif(n % 4, NULL, 'Label ' || (n % 20)), iif(n % 10 = 8, 'failed', iif(n % 10 = 9, 'cancelled', 'completed')),
    n % 7 - 3, at, at, at, at + 900, at + 900, at + 31536000000, 1, 1, 31536000, 4, 4, 4,
    iif(n % 4, NULL, 'Imported ' || (n % 25) || ' rows'), '{{}}',
    iif(n % 3, NULL, json_object('order', '' || (n % 30), 'env', 'prod'))
FROM moments
"""  # noqa: S608 - constants
FURTHER = (
    """
    INSERT INTO job_metadata SELECT owner, pair.key, pair.value, jobs.id FROM jobs, json_each(metadata) AS pair
    WHERE metadata IS NOT NULL ORDER BY 1, 2, 3, 4
    """,
    """
    INSERT INTO job_words SELECT owner, said.value, jobs.id
    FROM jobs, json_each(words_of(CAST(label AS BLOB), CAST(message AS BLOB))) AS said
    WHERE label IS NOT NULL ORDER BY 1, 2, 3
    """,
    "INSERT INTO counts SELECT owner, '', type, status, count(*), sum(bytes) FROM jobs GROUP BY 1, 3, 4",
)
LISTS = {
    "all": "",
    "status": "status=failed",
    "statuses": "status=failed,cancelled",
    "type": "type=lottery",
    "types": "type=weather,csv-report",
    "type and status": "type=weather&status=failed",
    "type and status, none": "type=lottery&status=failed",
    "label": "label=Label%204",
    "label and status": "label=Label%208&status=failed",
    "metadata": "metadata.order=12",
    "metadata, two names": "metadata.order=12&metadata.env=prod",
    "metadata and status": "metadata.env=prod&status=failed",
    "metadata, none": "metadata.order=4711",
    "search, a word": "q=imported",
    "search, two words": "q=imported%2012",
    "search, a beginning": "q=impo*",
    "search, a beginning of many words": "q=1*",
    "search, none": "q=nothing",
    "search, by end": "q=imported&sort=-completedAt",
    "search and status": "q=rows&status=failed",
    "created after": "createdAfter={after}",
    "created before": "createdBefore={before}",
    "updated after": "updatedAfter={after}",
    "updated after, by update": "updatedAfter={after}&sort=updatedAt",
    **{f"by {order}": f"sort={order}" for order in ORDERS if order.key is not SortKey.CREATED or not order.descending},
    "status, by priority": "status=failed&sort=-priority",
    "status, by end": "status=failed&sort=-completedAt",
    "label, by priority": "label=Label%204&sort=-priority",
}


def run(play: Play) -> Table:
    table = Table(
        f"Lists of {JOBS:,} jobs against {FEW_JOBS:,}: median ms of a page of 50, {play.rounds} rounds of 200 requests"
    )
    now = datetime.now(UTC)
    moments = {"after": _text(now - timedelta(days=DAYS - 1)), "before": _text(now - timedelta(days=2))}
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        full, few = Path(folder) / "full", Path(folder) / "few"
        make(full, JOBS, now)
        make(few, FEW_JOBS, now)
        measured: dict[str, tuple[list[float], list[float]]] = {}
        with ServerProcess(full) as big, ServerProcess(few) as small:
            for _ in range(play.rounds):
                for name, query in LISTS.items():
                    path = f"/jobs?limit=50&{query.format(**moments)}"
                    for server, found in zip((big, small), measured.setdefault(name, ([], [])), strict=True):
                        found.append(latency_ms(server, path))
    for name, (of_all, of_few) in measured.items():
        ratios = [one / other for one, other in zip(of_all, of_few, strict=True)]
        table.add(list=name, full_ms=median(of_all), few_ms=median(of_few), full_by_few=median(ratios))
    most = max(row["full_by_few"] for row in table.rows)
    table.expect("lists: a page of a million jobs by one of a few thousand, the worst list", most, at_most=1.2)
    return table


def make(folder: Path, jobs: int, now: datetime) -> None:
    """A data directory with this many jobs, which ended during the last thirty days."""
    (folder / "jobs").mkdir(parents=True)
    with closing(open_writer(folder / "headway.db")) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        first, step = to_ms(now - timedelta(days=30)), DAYS * 24 * 3600 * 1000 // jobs
        connection.execute(MADE, {"jobs": jobs, "first": first, "step": step})
        for statement in FURTHER:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
