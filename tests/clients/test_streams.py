"""Stock clients of event streams, each in its own process: they resume after a cut, miss nothing, and end."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.cut import JOBS, CuttingProxy
from tests.support.client_table import assert_in_the_table
from tests.support.node import install
from tests.support.process import WAIT_TIMEOUT_S, ServerProcess

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
IN_PYTHON = {"httpx-sse": "with_httpx_sse.py", "sseclient-py": "with_sseclient_py.py"}
IN_PYTHON["aiohttp-sse-client2"] = "with_aiohttp_sse_client2.py"
IN_NODE = {
    "eventsource": "with_eventsource.mjs",
    "eventsource-parser": "with_eventsource_parser.mjs",
    "@microsoft/fetch-event-source": "with_fetch_event_source.mjs",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    jobs = tmp_path_factory.mktemp("jobs") / "two_lines_jobs.py"
    jobs.write_text(JOBS, "utf-8")
    with ServerProcess(":memory:", "--jobs", str(jobs)) as server:
        yield server


@pytest.fixture(scope="module")
def node_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs and the packages that they import."""
    folder = install(HERE, tmp_path_factory.mktemp("node"))
    for program in IN_NODE.values():
        shutil.copy(PROGRAMS / program, folder)
    return folder


@pytest.mark.parametrize("client", IN_PYTHON)
def test_a_client_in_python_reads_a_stream_to_its_end(server: ServerProcess, tmp_path: Path, client: str) -> None:
    reads_to_the_end(server, tmp_path, [sys.executable, str(PROGRAMS / IN_PYTHON[client])])
    assert_in_the_table(client, importlib.metadata.version(client))


@pytest.mark.parametrize("client", IN_NODE)
def test_a_client_in_node_reads_a_stream_to_its_end(
    server: ServerProcess, tmp_path: Path, node_programs: Path, client: str
) -> None:
    reads_to_the_end(server, tmp_path, ["node", str(node_programs / IN_NODE[client])])
    installed = json.loads((node_programs / "node_modules" / client / "package.json").read_text("utf-8"))
    assert_in_the_table(client, installed["version"])


def reads_to_the_end(server: ServerProcess, folder: Path, command: list[str]) -> None:
    """The client's connection is cut after the first log line, and it resumes there."""
    gate = folder / "gate"
    job_id = server.submit("two-lines", {"gate": str(gate)})
    with CuttingProxy(server.port, gate) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/jobs/{job_id}/progress"
        done = subprocess.run(
            [*command, url], capture_output=True, text=True, timeout=WAIT_TIMEOUT_S, check=False, cwd=folder
        )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(event["data"] for event in events), "an event without data"
    data = [(event["event"], json.loads(event["data"])) for event in events]
    assert [line["message"] for name, line in data if name == "log"] == ["first", "second"], (done, proxy.resumed_at)
    states = [state for name, state in data if name == "message"]
    assert (states[-1]["status"], states[-1]["progress"]) == ("completed", 100)
    versions = [state["version"] for state in states]
    assert versions == sorted(versions)
    assert {name for name, _ in data} == {"log", "message"}
    seqs = [line["seq"] for name, line in data if name == "log"]
    assert proxy.cuts == 1
    assert seqs[0] <= proxy.resumed_at[0] < seqs[1]
