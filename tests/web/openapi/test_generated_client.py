"""A client that openapi-python-client generates from `/openapi.json`: it submits a job and reads it."""

import importlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support.client_table import assert_in_the_table
from tests.support.process import ServerProcess, eventually

NAME = "generated_headway_client"
CONFIG = """
post_hooks: [] # it would be formatted; nobody reads it
content_type_overrides:
  application/offset+octet-stream: application/octet-stream
  text/plain: application/octet-stream
"""


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess(":memory:") as server:
        yield server


@pytest.fixture
def package(server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the generated package, which can be imported."""
    document = tmp_path / "openapi.json"
    document.write_bytes(server.request("GET", "/openapi.json").body)
    config = tmp_path / "config.yml"
    config.write_text(CONFIG)
    done = subprocess.run(
        [Path(sys.executable).with_name("openapi-python-client"), "generate", "--path", document,
         "--output-path", tmp_path / NAME, "--meta", "none", "--config", config],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr, "a piece of the document was left out"
    monkeypatch.syspath_prepend(str(tmp_path))
    return NAME


def test_a_generated_client_submits_a_job_and_reads_its_result(server: ServerProcess, package: str) -> None:
    def part(path: str) -> ModuleType:
        return importlib.import_module(f"{package}.{path}")

    models = part("models")
    with part("client").Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        accepted = part("api.submit.submit_ping").sync_detailed(
            client=client, body=models.SubmitPingJsonPing(message="hello"), label="by a generated client"
        )
        assert (accepted.status_code, type(accepted.parsed)) == (202, models.JobView)
        assert accepted.parsed.label == "by a generated client"

        def ended() -> Any:
            read = part("api.jobs.read_job").sync_detailed(accepted.parsed.job_id, client=client, wait=10)
            return read.status_code == 200 and read.parsed

        job = eventually(ended)
        assert (type(job), job.status, job.progress) == (models.JobDetail, "completed", 100)
        result = part("api.outputs.read_result").sync_detailed(job.job_id, client=client)
        assert json.loads(result.content)["message"] == "hello"
        file = part("api.outputs.download_file").sync_detailed(job.job_id, job.files[0].name, client=client)
        assert json.loads(file.content)["reply"] == "pong"
        unknown = part("api.jobs.read_job").sync_detailed("nothing", client=client)
        assert (unknown.status_code, unknown.parsed.type_) == (404, "/problems/not-found")
    assert_in_the_table("openapi-python-client", importlib.metadata.version("openapi-python-client"))
