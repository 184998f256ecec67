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


def check_at_rest(data_dir: Path, rows: Mapping[str, Row], promises: Promises) -> None:
    """When nothing runs: each job has its uploads and the output that the record names, and nothing else."""
    for path in _orphans(data_dir, rows):
        promises.breach(f"{path} belongs to no job")
    for folder in ("incoming", "locks"):
        left = list((data_dir / folder).iterdir())
        promises.expect(not left, f"left in {folder}: {left}")
    for job_id, row in rows.items():
        job = promises.jobs.get(job_id)
        if job is None or row.status not in TERMINAL:
            continue
        own = data_dir / "jobs" / job_id
        names = {path.name for path in own.iterdir()} if own.exists() else set()
        files = {"files"} if job.files and not job.output_gone else set()
        inputs = {"inputs"} if "sha256" in row.input else set()
        where = f"{job_id} ({row.type}, {row.status}): its directory has {names}"
        if not job.output_may_be_gone or job.output_gone:
            promises.expect(files | inputs <= names, where)
        for name, size_bytes in job.files if "files" in names else ():
            promises.expect((own / "files" / name).stat().st_size == size_bytes, f"{where}: {name} has another size")
