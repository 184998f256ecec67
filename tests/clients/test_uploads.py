"""Stock clients of tus: the programs of the guide upload a file over a line that is cut, and submit a job with it."""

import importlib.metadata
import json
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.cut import CuttingProxy
from tests.docs.pages import Block, blocks_of
from tests.support.client_table import assert_in_the_table
from tests.support.node import install
from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess
from tests.support.uploading import SUM_JOBS, sha256

HERE = Path(__file__).parent
FILE_BYTES = 9 * 1024 * 1024
CUT_AFTER_BYTES = 2 * 1024 * 1024
CUTS = 3


class CutUploads(CuttingProxy):
    """Cuts each of the first connections after it has passed on so many bytes."""

    def __init__(self, port: int) -> None:
        super().__init__(port, Path())

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        while received := client.recv(65536):
            server.sendall(received)
            passed += len(received)
            if passed >= CUT_AFTER_BYTES and self.cuts < CUTS:
                self.cuts += 1
                return

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        while received := server.recv(65536):
            client.sendall(received)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    jobs = tmp_path_factory.mktemp("jobs") / "sum_jobs.py"
    jobs.write_text(SUM_JOBS.replace("sum-file", "csv-report"), "utf-8")
    with ServerProcess(":memory:", "--jobs", str(jobs), env={"HEADWAY_SAMPLES": "false"}) as server:
        yield server


def program(name: str) -> Block:
    """A block of the guide, by the name of the file that it is."""
    (block,) = [block for block in blocks_of(ROOT / "docs" / "http.md") if block.file == name]
    return block


def arrives_whole(server: ServerProcess, folder: Path, name: str, *command: str) -> None:
    """The program's file arrives once and whole, though its connection is cut three times."""
    data = random.Random(7).randbytes(FILE_BYTES)
    (folder / "sales.csv").write_bytes(data)
    before = len(server.request("GET", "/jobs").json["jobs"])
    with CutUploads(server.port) as proxy:
        text = program(name).text.replace("http://localhost:8080", f"http://127.0.0.1:{proxy.port}")
        (folder / name).write_text(text.replace("retry_delay=1", "retry_delay=0"), "utf-8")
        done = subprocess.run(
            [*command, name], capture_output=True, text=True, timeout=WAIT_TIMEOUT_S, check=False, cwd=folder
        )
        assert done.returncode == 0, done.stderr
        assert proxy.cuts == CUTS
    jobs = server.request("GET", "/jobs").json["jobs"]
    assert len(jobs) == before + 1
    job = server.wait_for(jobs[0]["jobId"])
    assert job["result"] == {"sha256": sha256(data), "bytes": FILE_BYTES, "name": "sales.csv"}


def test_tuspy_resumes_where_its_connection_was_cut(server: ServerProcess, tmp_path: Path) -> None:
    arrives_whole(server, tmp_path, "upload.py", sys.executable)
    assert_in_the_table("tuspy", importlib.metadata.version("tuspy"))


def test_tus_js_client_resumes_where_its_connection_was_cut(server: ServerProcess, tmp_path: Path) -> None:
    install(HERE, tmp_path)
    arrives_whole(server, tmp_path, "upload.mjs", "node")
    installed = json.loads((tmp_path / "node_modules" / "tus-js-client" / "package.json").read_text("utf-8"))
    assert_in_the_table("tus-js-client", installed["version"])
