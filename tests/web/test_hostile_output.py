"""Links in place of a job's directories, on a real server: nothing outside is served or deleted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import ROOT, ServerProcess, eventually
from tests.support.raw import assert_problem, send
from tests.web.conftest import assert_no_unexpected_errors

JOBS = ROOT / "tests" / "job_types" / "hostile_output_jobs.py"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def server(data_dir: Path) -> Iterator[ServerProcess]:
    with ServerProcess(data_dir, "--jobs", str(JOBS)) as server:
        yield server
        assert_no_unexpected_errors(server)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.txt").write_text("outside")
    yield tmp_path
    assert (tmp_path / "folder" / "file.txt").read_text() == "outside"


@pytest.mark.parametrize("job_type", ["replaces-in-process", "replaces-async"])
def test_the_record_is_not_served_through_an_output_directory_that_leads_to_it(
    server: ServerProcess, data_dir: Path, job_type: str
) -> None:
    job_id = server.submit(job_type, {"directory": "output", "target": str(data_dir)})
    job = server.wait_for(job_id, "failed")
    assert (job["error"]["type"], job["files"]) == ("invalid-output", [])
    for name in ("headway.db", "headway.db-wal", "headway.lock"):
        assert (data_dir / name).exists()
        assert_problem(send(server, "GET", f"/jobs/{job_id}/files/{name}"), 404, "not-found")


@pytest.mark.parametrize("directory", ["work", "job"])
def test_a_directory_that_leads_outside_is_deleted_with_its_job(
    server: ServerProcess, data_dir: Path, outside: Path, directory: str
) -> None:
    job_id = server.submit("replaces-in-process", {"directory": directory, "target": str(outside)})
    server.wait_for(job_id, "completed")
    purge(server, data_dir, job_id)


def test_links_that_a_handler_leaves_are_neither_served_nor_followed(
    server: ServerProcess, data_dir: Path, outside: Path
) -> None:
    job_id = server.submit("plants-links", {"target": str(outside)})
    job = server.wait_for(job_id, "completed")
    assert [file["name"] for file in job["files"]] == ["plain.txt"]
    for name in ("link", "link/file.txt", "deep%2Fdeeper%2Flink", "..%2Flink%2Ffolder%2Ffile.txt"):
        assert send(server, "GET", f"/jobs/{job_id}/files/{name}").status == 404
    assert server.request("DELETE", f"/jobs/{job_id}/result").status == 204
    purge(server, data_dir, job_id)


def test_a_published_file_that_becomes_a_link_is_404(server: ServerProcess, data_dir: Path, outside: Path) -> None:
    job_id = server.submit("plants-links", {"target": str(outside)})
    (file,) = server.wait_for(job_id, "completed")["files"]
    published = data_dir / "jobs" / job_id / "files" / "plain.txt"
    published.unlink()
    published.symlink_to(outside / "folder" / "file.txt")
    assert_problem(send(server, "GET", file["url"]), 404, "not-found")


def purge(server: ServerProcess, data_dir: Path, job_id: str) -> None:
    """Delete the job, and wait until nothing of it is left."""
    assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status == 204
    eventually(lambda: job_id not in {path.name for path in (data_dir / "jobs").iterdir()})
