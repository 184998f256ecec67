"""The data directory beside the record: what a job has is there, and what crashes have left behind is not."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.kills.promises import Promises
from tests.kills.record import Row
from tests.support.process import eventually
from tests.support.record import TERMINAL


def check_leftovers(data_dir: Path, rows: Mapping[str, Row], started_at_s: float) -> None:
    """Soon after a start nothing is left of uploads that were not accepted and of jobs that are not in the record."""

    def left() -> list[Path]:
        return [*_older(data_dir / "incoming", started_at_s), *_orphans(data_dir, rows)]

    eventually(lambda: not left(), lambda: f"left behind: {left()}")


def _older(folder: Path, started_at_s: float) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.stat().st_mtime < started_at_s:
            yield path


def _orphans(data_dir: Path, rows: Mapping[str, Row]) -> list[Path]:
    return [path for path in (data_dir / "jobs").iterdir() if path.name not in rows]


def check_at_rest(data_dir: Path, rows: Mapping[str, Row], promises: Promises, started_at_s: float) -> None:
    """When nothing runs: each job has its uploads and the output that the record names, and soon nothing else.

    A lock that a dying process still held when the server was started is deleted at the next start.
    """

    def wrong() -> list[str]:
        held = set(_older(data_dir / "locks", started_at_s))
        left = [str(path) for name in ("incoming", "locks") for path in (data_dir / name).iterdir() if path not in held]
        orphans = [f"{path} belongs to no job" for path in _orphans(data_dir, rows)]
        return left + orphans + list(_wrong_files(data_dir, rows, promises))

    eventually(lambda: not wrong(), lambda: "\n".join(wrong()))
    promises.checked["promises"] += len(rows)


def _wrong_files(data_dir: Path, rows: Mapping[str, Row], promises: Promises) -> Iterator[str]:
    for job_id, row in rows.items():
        job = promises.jobs[job_id]
        may_go = job.may_be_gone or job.order.short
        if row.status not in TERMINAL or may_go or (job.output_may_be_gone and not job.output_gone):
            continue
        own = data_dir / "jobs" / job_id
        names = {path.name for path in own.iterdir()} if own.exists() else set()
        inputs = {"inputs"} if "sha256" in row.input else set()
        files = {"files"} if job.files and not job.output_gone else set()
        if names != inputs | files:
            yield f"{job_id} ({row.type}, {row.status}): its directory has {names}, not {inputs | files}"
        for name, size_bytes in job.files if files else ():
            path = own / "files" / name
            if not path.exists() or path.stat().st_size != size_bytes:
                yield f"{job_id}: {name} does not have {size_bytes} bytes"
