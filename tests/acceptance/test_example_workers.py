"""The workers in the documentation, in bash, JavaScript and Go: they complete, fail, are stopped and killed."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import need
from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess, alive, descendants, eventually
from tests.support.working import Worker

REMOTE_JOBS = ROOT / "tests" / "job_types" / "remote_jobs.py"
BASH_WORKER = ROOT / "docs" / "workers" / "worker.sh"
NODE_WORKER = ROOT / "docs" / "workers" / "worker.mjs"
GO_WORKER = ROOT / "docs" / "workers" / "worker.go"

DOUBLES = """
number=$(grep -o '"number":[0-9]*' | cut -d: -f2)
headway progress '{"done": 1, "total": 2, "message": "halfway"}' > /dev/null
echo "doubling $number" >&2
echo $((2 * number))
"""
COPIES = """
headway inputs/document --output copy.bin
headway files/copy.bin --upload-file copy.bin > /dev/null
printf '{"bytes": %s}' "$(stat --format %s copy.bin)"
"""
REPORTS = 'headway progress \'{"message": "waiting"}\' > /dev/null'
WAITS = f"{REPORTS}; sleep 1000"
LONG = "a long line" * 272 + "a long l"
DROPPED = re.compile("([0-9,]+) log lines were dropped: there were too many")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    env = {"HEADWAY_SAMPLES": "false", "HEADWAY_CANCEL_GRACE_S": "60"}
    with ServerProcess(":memory:", "--jobs", str(REMOTE_JOBS), env=env) as server:
        yield server


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(server: ServerProcess, tmp_path: Path) -> Iterator[Start]:
    """Starts a worker in bash for a type, whose command is a script. All are killed at the end."""
    with ExitStack() as stack:

        def started(job_type: str, script: str, *command: str) -> "subprocess.Popen[bytes]":
            url = f"http://127.0.0.1:{server.port}"
            words = command or (str(BASH_WORKER), url, job_type, "bash", "-c", script)
            process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
            stack.callback(end, process)
            return process

        yield started


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill it with all that it has started, wherever that is."""
    send(process, signal.SIGKILL)
    process.wait(WAIT_TIMEOUT_S)
    if process.stderr is not None:
        process.stderr.close()


def send(process: "subprocess.Popen[bytes]", number: signal.Signals) -> list[int]:
    """Send a signal to it and to all that it has started."""
    pids = [process.pid, *descendants(process.pid)] if process.poll() is None else []
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return pids


def until_message(server: ServerProcess, job_id: str, message: str) -> None:
    """Follow the job's stream until its message is this one."""
    assert any(state["message"] == message for state in server.states(job_id))


def test_a_worker_in_bash_completes_jobs_that_clients_watch(server: ServerProcess, start: Start) -> None:
    first, second = server.submit("compute", {"number": 4}), server.submit("compute", {"number": 5})
    start("compute", DOUBLES)
    events = list(server.events(f"/jobs/{first}/progress"))
    assert "doubling 4" in [event.data["message"] for event in events if event.name == "log"]
    assert (events[-1].data["status"], events[-1].data["message"]) == ("completed", "halfway")
    server.wait_for(second)
    assert [server.request("GET", f"/jobs/{job_id}/result").json for job_id in (first, second)] == [8, 10]


def test_a_worker_in_bash_reads_an_upload_and_sends_a_file(server: ServerProcess, start: Start) -> None:
    content = os.urandom(300_000)
    job_id = server.upload("copy", {"document": content}, {})
    start("copy", COPIES)
    job = server.wait_for(job_id)
    assert (job["status"], job["result"]) == ("completed", {"bytes": len(content)})
    (file,) = job["files"]
    assert server.request("GET", file["url"]).body == content


def logged(server: ServerProcess, job_id: str) -> tuple[list[str], int]:
    """The lines of a job's log, and how many were dropped because there were too many."""
    lines = list[str]()
    after: int | None = 0
    while after is not None:
        page = server.request("GET", f"/jobs/{job_id}/logs?after={after}").json
        lines += [line["message"] for line in page["lines"]]
        after = page["nextAfter"]
    told = DROPPED.fullmatch(lines[-1])
    return (lines[:-1], int(told[1].replace(",", ""))) if told else (lines, 0)


@pytest.mark.parametrize(
    ("script", "count", "first"),
    [
        pytest.param("seq 3000", 3_000, "1", id="lines"),
        pytest.param(
            "yes 'a long line' | tr -d '\\n' | fold --width 3000 | head --lines 1000", 1_000, LONG, id="bytes"
        ),
        pytest.param("seq 3000 | tr '\\n' '\\r'", 3_000, "1", id="progress bars"),
        pytest.param("printf 'caf\\xe9\\n'; seq 2", 3, "caf", id="not UTF-8"),
        pytest.param("printf 'half a '; sleep 3; echo line", 1, "half a line", id="slow line"),
        pytest.param("printf 'no end'", 1, "no end", id="last line"),
    ],
)
def test_the_log_of_a_worker_in_bash_is_sent_in_pieces(
    script: str, count: int, first: str, server: ServerProcess, start: Start
) -> None:
    job_id = server.submit("compute")
    start("compute", f"{{ {script}; }} >&2; echo 1")
    assert server.wait_for(job_id)["status"] == "completed"
    lines, dropped = logged(server, job_id)
    assert (lines[0], len(lines) + dropped) == (first, count)


@pytest.mark.parametrize(
    ("script", "error"), [("exit 2", "Exit status 2"), ("echo nonsense", "The result was refused")]
)
def test_a_worker_in_bash_fails(script: str, error: str, server: ServerProcess, start: Start) -> None:
    job_id = server.submit("compute")
    start("compute", script)
    job = server.wait_for(job_id)
    assert job["status"] == "failed"
    assert error in (job["error"]["title"], job["error"]["detail"])


def test_a_worker_in_bash_is_cancelled(server: ServerProcess, start: Start) -> None:
    job_id = server.submit("compute")
    worker = start("compute", WAITS)
    until_message(server, job_id, "waiting")
    running = descendants(worker.pid)
    server.request("DELETE", f"/jobs/{job_id}")
    assert server.wait_for(job_id)["status"] == "cancelled"
    eventually(lambda: not any(alive(pid) for pid in running))


def test_a_worker_in_bash_is_killed_and_the_next_one_goes_on_at_its_checkpoint(
    server: ServerProcess, start: Start
) -> None:
    job_id = server.submit("compute")
    first = start("compute", f"headway checkpoint '{{\"row\": 7}}' > /dev/null; {WAITS}")
    until_message(server, job_id, "waiting")
    send(first, signal.SIGKILL)
    start("compute", "grep -o '\"row\":[0-9]*' | cut -d: -f2")
    job = server.wait_for(job_id)
    assert (job["status"], job["result"]) == ("completed", 7)
    assert job["attempt"] > 1


def test_a_worker_in_bash_that_was_stopped_beyond_its_lease_changes_nothing(
    server: ServerProcess, start: Start
) -> None:
    job_id = server.submit("compute", {"number": 1})
    first = start("compute", f"{REPORTS}; sleep 1; echo 1")
    until_message(server, job_id, "waiting")
    send(first, signal.SIGSTOP)
    second = Worker(server, "compute").claim()
    assert second.job_id == job_id
    assert second.fields["attempt"] > 1
    send(first, signal.SIGCONT)
    assert first.stderr is not None
    assert any(b"409" in line for line in first.stderr), "its report is refused"
    second.ok("complete", {"result": 2})
    assert server.wait_for(job_id)["result"] == 2


IN_JAVASCRIPT = """
export default async function (claim, { report, signal }) {
  const { number } = claim.input;
  if (number === 0) throw Object.assign(new Error('zero'.repeat(50_000)), { retry: false });
  if (number === 1) return 'large'.repeat(1_000_000);
  await report('progress', { done: 1, total: 2, message: 'halfway' });
  if (number > 99) {
    await new Promise((_, stopped) => signal.addEventListener('abort', () => stopped(signal.reason)));
  }
  await report('logs', { lines: [{ message: `doubling ${number}` }] });
  const message = (at) => (at < 2000 ? `${at}` : 'long'.repeat(750));
  await report('logs', { lines: Array.from({ length: 3000 }, (_, at) => ({ message: message(at) })) });
  return 2 * number;
}
"""
IN_GO = """
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

func work(ctx context.Context, job *Job) (any, error) {
	var input struct{ Number int }
	if err := json.Unmarshal(job.Input, &input); err != nil {
		return nil, Permanent(err)
	}
	if input.Number == 0 {
		return nil, Permanent(errors.New(strings.Repeat("zero", 50_000)))
	}
	if input.Number == 1 {
		return strings.Repeat("large", 1_000_000), nil
	}
	if err := job.Report(ctx, "progress", map[string]any{"done": 1, "total": 2, "message": "halfway"}); err != nil {
		return nil, err
	}
	if input.Number > 99 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	lines := []Line{{Message: fmt.Sprintf("doubling %d", input.Number)}}
	for at := 0; at < 2000; at++ {
		lines = append(lines, Line{Message: fmt.Sprint(at)})
	}
	for at := 0; at < 1000; at++ {
		lines = append(lines, Line{Message: strings.Repeat("long", 750)})
	}
	return 2 * input.Number, job.Log(ctx, lines...)
}
"""


COPIES_IN_JAVASCRIPT = """
import { openAsBlob } from 'node:fs';
import { writeFile } from 'node:fs/promises';

export default async function (claim, { report, send }) {
  if (claim.checkpoint === null) {
    await report('checkpoint', { row: 500 });
    throw new Error('to be tried again');
  }
  const response = await send('inputs/document', { method: 'GET' });
  await writeFile('copy.bin', response.body);
  await send('files/copy.bin', { method: 'PUT', body: await openAsBlob('copy.bin') });
  return { bytes: claim.uploads[0].sizeBytes, row: claim.checkpoint.row };
}
"""
COPIES_IN_GO = """
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
)

func work(ctx context.Context, job *Job) (any, error) {
	var at struct{ Row int }
	if err := json.Unmarshal(job.Checkpoint, &at); err != nil {
		return nil, err
	}
	if at.Row == 0 {
		if err := job.Report(ctx, "checkpoint", map[string]int{"row": 500}); err != nil {
			return nil, err
		}
		return nil, errors.New("to be tried again")
	}
	response, err := job.Send(ctx, "GET", "inputs/document", nil, "")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	file, err := os.Create("copy.bin")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err = io.Copy(file, response.Body); err != nil {
		return nil, err
	}
	if _, err = file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	sent, err := job.Send(ctx, "PUT", "files/copy.bin", file, "")
	if err != nil {
		return nil, err
	}
	sent.Body.Close()
	return map[string]any{"bytes": job.Uploads[0].SizeBytes, "row": at.Row}, nil
}
"""


def in_javascript(folder: Path, url: str, job_type: str = "compute", script: str = IN_JAVASCRIPT) -> list[str]:
    """The command of a worker for a server that runs the script."""
    need("node")
    work = folder / "work.mjs"
    work.write_text(script)
    return ["node", str(NODE_WORKER), url, job_type, str(work)]


def in_go(folder: Path, url: str, job_type: str = "compute", script: str = IN_GO) -> list[str]:
    """The same for one that is compiled with the worker."""
    if shutil.which("go") is None:
        if os.environ.get("TESTS_REQUIRE_GO") == "1":
            pytest.fail("TESTS_REQUIRE_GO=1, and there is no go")
        pytest.skip("NO WORKER IN GO: there is no go (apt-get install golang-go)")
    (folder / "work.go").write_text(script)
    shutil.copy(GO_WORKER, folder)
    env = os.environ | {"GOCACHE": str(folder / "cache"), "GO111MODULE": "off"}
    subprocess.run(["go", "vet", "worker.go", "work.go"], cwd=folder, env=env, check=True)
    subprocess.run(["go", "build", "-o", "worker", "worker.go", "work.go"], cwd=folder, env=env, check=True)
    return [str(folder / "worker"), url, job_type]


@pytest.mark.parametrize("command", [in_javascript, in_go])
def test_a_worker_in_another_language_completes_fails_and_is_cancelled(
    command: Callable[[Path, str], list[str]], server: ServerProcess, start: Start, tmp_path: Path
) -> None:
    words = command(tmp_path, f"http://127.0.0.1:{server.port}")
    jobs: dict[int, str] = {number: server.submit("compute", {"number": number}) for number in (4, 0, 1, 100)}
    start("compute", "", *words)
    ended: Any = server.wait_for(jobs[4])
    assert (ended["status"], ended["result"], ended["message"]) == ("completed", 8, "halfway")
    lines, dropped = logged(server, jobs[4])
    assert (lines[:2], len(lines) + dropped) == (["doubling 4", "0"], 3_001)
    failed = server.wait_for(jobs[0])
    assert (failed["status"], failed["error"]["detail"][:4]) == ("failed", "zero")
    refused = server.wait_for(jobs[1])
    assert (refused["status"], refused["error"]["title"], refused["attempt"]) == ("failed", "The result was refused", 1)
    until_message(server, jobs[100], "halfway")
    server.request("DELETE", f"/jobs/{jobs[100]}")
    assert server.wait_for(jobs[100])["status"] == "cancelled"


@pytest.mark.parametrize(("command", "script"), [(in_javascript, COPIES_IN_JAVASCRIPT), (in_go, COPIES_IN_GO)])
def test_a_worker_in_another_language_goes_on_at_its_checkpoint_reads_an_upload_and_sends_a_file(
    command: Callable[..., list[str]], script: str, server: ServerProcess, start: Start, tmp_path: Path
) -> None:
    content = os.urandom(300_000)
    job_id = server.upload("copy-again", {"document": content}, {})
    start("copy-again", "", *command(tmp_path, f"http://127.0.0.1:{server.port}", "copy-again", script))
    job = server.wait_for(job_id)
    assert (job["status"], job["result"]) == ("completed", {"bytes": len(content), "row": 500})
    (file,) = job["files"]
    assert server.request("GET", file["url"]).body == content
