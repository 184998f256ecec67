"""The JavaScript client in Node.js against real servers that refuse, lose connections, restart and are full."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from tests.browser.conftest import JOBS
from tests.browser.keyed import KeyedServer
from tests.browser.tab import PageServer
from tests.clients.cut import JOBS as TWO_LINES
from tests.clients.cut import CuttingProxy
from tests.javascript.conftest import Program
from tests.support.process import ServerProcess, eventually
from tests.support.raw import RawStream

LOG = """
const client = new Client(args[0]);
const [lines, states, connections] = [[], [], []];
const onConnection = (state) => connections.push(state);
for await (const event of client.job(args[1]).events({ onConnection })) {
  if (event.type === "log") lines.push(event.line.message);
  if (event.type === "state") states.push([event.state.version, event.state.status]);
}
tell({ lines, states, connections });
"""


def url_of(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.port}"


def assert_in_order(told: Any, status: str) -> None:
    versions = [version for version, _ in told["states"]]
    assert versions == sorted(set(versions))
    assert told["states"][-1][1] == status


def test_a_stream_that_is_cut_goes_on_after_the_last_event(program: Program, tmp_path: Path) -> None:
    (tmp_path / "two_lines_jobs.py").write_text(TWO_LINES, "utf-8")
    gate = tmp_path / "gate"
    with ServerProcess(":memory:", "--jobs", str(tmp_path / "two_lines_jobs.py")) as server:
        job_id = server.submit("two-lines", {"gate": str(gate)})
        with CuttingProxy(server.port, gate) as proxy:
            told = program(LOG, f"http://127.0.0.1:{proxy.port}", job_id)
    assert told["lines"] == ["first", "second"]
    assert proxy.cuts == 1
    assert proxy.resumed_at
    assert told["connections"][:4] == ["connecting", "live", "reconnecting", "live"]
    assert_in_order(told, "completed")


def test_a_job_is_followed_across_the_death_of_its_server(program: Program, tmp_path: Path) -> None:
    with PageServer(tmp_path / "data", "--jobs", str(JOBS)) as server:
        job_id = server.submit("steady", {"steps": 2, "log_lines": 3}, "?runAt=2099-01-01T00:00:00Z")
        told: list[Any] = []
        following = threading.Thread(target=lambda: told.append(program(LOG, url_of(server), job_id)))
        following.start()
        eventually(lambda: streams(server) == 1)
        server.kill()
        server.restart()
        eventually(lambda: streams(server) == 1)
        edited = server.request("PATCH", f"/jobs/{job_id}", {"runAt": None})
        assert edited.status == 200, edited.body
        following.join()
    assert told[0]["lines"] == ["line 1 of 3", "line 2 of 3", "line 3 of 3"]
    assert "reconnecting" in told[0]["connections"]
    assert_in_order(told[0], "completed")


def streams(server: ServerProcess) -> int:
    """How many are open."""
    found = re.search(r"^headway_streams_open (\d+)", server.request("GET", "/metrics").body.decode(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_without_a_stream_events_are_polled_with_an_etag(program: Program) -> None:
    with ServerProcess(":memory:", "--jobs", str(JOBS), env={"HEADWAY_MAX_STREAMS": "1"}) as server:
        job_id = server.submit("steady", {"steps": 60, "pause_s": 0.05, "log_lines": 250})
        with RawStream(server, "/jobs/progress"):
            counting = """
            const plain = globalThis.fetch;
            globalThis.sent = [];
            globalThis.fetch = async (url, init) => {
              const response = await plain(url, init);
              const etag = init.headers["If-None-Match"] ?? "";
              globalThis.sent.push([url.pathname.split("/").at(-1), etag, response.status]);
              return response;
            };
            """
            told = program(counting + LOG.replace("tell({", "tell({ sent,"), url_of(server), job_id)
    assert told["lines"] == [f"line {number} of 250" for number in range(1, 251)]
    assert "polling" in told["connections"]
    assert "live" not in told["connections"]
    assert_in_order(told, "completed")
    polls = [(etag, status) for name, etag, status in told["sent"] if name == job_id]
    assert len(polls) > 1
    assert [bool(etag) for etag, _ in polls] == [False] + [True] * (len(polls) - 1)
    assert ("progress", "", 429) in [tuple(each) for each in told["sent"]]


class UnreliableProxy:
    """Refuses the first POST with a 503, loses the response to the second, and passes all others on."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.keys: list[str] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client:
                self._answer(client)

    def _answer(self, client: socket.socket) -> None:
        request = b""
        while not request.endswith(b"}"):
            request += client.recv(65536)
        (key,) = re.findall(rb"idempotency-key: *([^\r]+)", request, re.IGNORECASE)
        self.keys.append(key.decode())
        if len(self.keys) == 1:
            client.sendall(b"HTTP/1.1 503 Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(self._to) as server:
            server.sendall(request.replace(b"keep-alive", b"close"))
            response = b""
            with suppress(ConnectionError):
                while received := server.recv(65536):
                    response += received
        if len(self.keys) > 2:
            client.sendall(response)


def test_a_submission_whose_response_is_lost_is_repeated_and_is_one_job(
    server: ServerProcess, program: Program
) -> None:
    with UnreliableProxy(server.port) as proxy:
        submit = """
        const job = await new Client(args[0]).submit("ping", { message: "once" }, { label: "once" });
        tell(job.id);
        """
        job_id = program(submit, f"http://127.0.0.1:{proxy.port}")
    assert len(proxy.keys) == 3
    assert len(set(proxy.keys)) == 1
    assert proxy.keys[0][0] == proxy.keys[0][-1] == '"'
    assert [job["jobId"] for job in server.request("GET", "/jobs?label=once").json["jobs"]] == [job_id]


def test_a_submission_is_not_repeated_when_that_would_not_help_or_take_too_long(program: Program) -> None:
    tried = """
    const tried = [];
    for (const [status, after] of [[422, "1"], [429, "3600"], [503, null]]) {
      let times = 0;
      const fetch = async () => {
        times += 1;
        const headers = after ? { "Retry-After": after } : {};
        return new Response(JSON.stringify({ title: "No", status }), { status, headers });
      };
      const client = new Client("http://headway.invalid", { fetch });
      const problem = await client.submit("ping", {}, { retries: 1 }).catch((error) => error);
      tried.push([problem instanceof Problem, problem.status, problem.retryAfter, times]);
    }
    tell(tried);
    """
    assert program(tried) == [[True, 422, 1, 1], [True, 429, 3600, 1], [True, 503, None, 2]]


def test_many_jobs_share_a_stream_and_each_gets_its_own_states(program: Program) -> None:
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
        follow = """
        const paths = [];
        const fetch = (url, init) => {
          paths.push(url.pathname + (url.searchParams.get("ids") ?? ""));
          return globalThis.fetch(url, init);
        };
        const client = new Client(args[0], { fetch });
        const jobs = await Promise.all(Array.from({ length: 50 }, (_, steps) =>
          client.submit("steady", { steps: steps + 1, pause_s: 0.01 })));
        paths.length = 0;
        const seen = await Promise.all(jobs.map(async (job) => {
          const states = [];
          for await (const state of job.states()) states.push(state);
          return [states.every((state) => state.jobId === job.id), states.at(-1).status, states.at(-1).total];
        }));
        tell({ seen, paths });
        """
        told = program(follow, url_of(server))
    # Those that had ended before the stream began are in it too, or are fetched.
    assert told["seen"] == [[True, "completed", steps] for steps in range(1, 51)]
    alone = [path for path in told["paths"] if re.fullmatch(r"/jobs/[^/]+/progress", path)]
    shared = [path for path in told["paths"] if path.startswith("/jobs/progress")]
    assert (len(alone), len(shared)) == (3, 1)
    assert shared[0].count(",") == 46


def test_who_shares_a_stream_is_told_of_jobs_that_are_missing_or_deleted_and_can_leave(program: Program) -> None:
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
        follow = """
        const client = new Client(args[0]);
        const submit = () => client.submit("steady", { steps: 100000 });
        const own = await Promise.all([submit(), submit(), submit()]);
        const stop = new AbortController();
        const watch = (job) => job.wait({ signal: stop.signal }).then(() => "ended", (error) => error.status ?? error);
        const outcomes = own.map(watch);
        const unknown = "01a1fa65-5e24-7000-907c-ce2934a25611";
        const [deleted, left] = [await submit(), await submit()];
        let begun;
        const running = new Promise((resolve) => (begun = resolve));
        const missing = watch(client.job(unknown));
        const gone = deleted.wait({ onState: begun }).catch((error) => error.status);
        const leaves = watch(left);
        await running;
        await deleted.delete();
        const told = [await missing, await gone];
        stop.abort("left");
        tell([...told, await leaves, ...await Promise.all(outcomes)]);
        """
        missing, gone, *rest = program(follow, url_of(server))
    assert missing == 404
    assert gone in (404, 410)  # 404: its end was sent before it was gone, and then it was read
    assert rest == ["left"] * 4


def test_a_job_that_is_deleted_while_it_is_followed_is_gone(server: ServerProcess, program: Program) -> None:
    follow = """
    const job = await new Client(args[0]).submit("ping", {}, { runAt: "2099-01-01T00:00:00Z" });
    const states = [];
    try {
      for await (const { state } of job.events()) {
        states.push(state.status);
        await job.delete();
      }
      tell(states);
    } catch (problem) {
      tell([problem.status, (await job.read().catch((error) => error)).status, await job.delete()]);
    }
    """
    told = program(follow, url_of(server))
    # Its end may be sent before it is gone.
    assert told in ([410, 404, True], ["queued", "cancelled"])


def test_a_failed_and_a_cancelled_job_have_no_result_but_a_reason(server: ServerProcess, program: Program) -> None:
    ask = """
    const client = new Client(args[0]);
    const failed = await client.submit("doomed").then((job) => job.result()).catch((problem) => problem);
    const job = await client.submit("ping", {}, { runAt: "2099-01-01T00:00:00Z" });
    const stopped = await job.cancel();
    const cancelled = await job.result().catch((problem) => problem);
    const conflict = await (await client.submit("ping")).wait().then(({ jobId }) => client.job(jobId).cancel())
      .catch((problem) => problem);
    tell([[failed.status, failed.jobError.title, failed.message], stopped, cancelled.status, conflict.status]);
    """
    told = program(ask, url_of(server))
    assert told[0][:2] == [422, "No pictures"]
    assert "No pictures" in told[0][2]
    assert told[1:] == [True, 410, 409]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    with KeyedServer(tmp_path_factory.mktemp("keyed") / "data") as server:
        yield server


def test_a_key_is_sent_to_its_own_server_alone(keyed: KeyedServer, server: ServerProcess, program: Program) -> None:
    ask = """
    const sent = [];
    const fetch = (url, init) => {
      sent.push([url.port, init.headers.Authorization ?? null]);
      return globalThis.fetch(url, init);
    };
    const client = new Client(args[0], { key: args[1], fetch });
    const job = await client.submit("ping");
    await client.job(job.state.progressUrl.replace("http://headway.test", args[0])).wait();
    const refused = await new Client(args[0], { key: "hwk_wrong" }).submit("ping").catch(({ status }) => status);
    await client.job(args[2]).read();
    tell({ sent, refused });
    """
    key = keyed.make_key("backend")
    job_id = server.submit("ping")
    told = program(ask, keyed.url, key, f"{url_of(server)}/jobs/{job_id}")
    assert told["refused"] == 401
    *own, other = told["sent"]
    assert {tuple(each) for each in own} == {(str(keyed.port), f"Bearer {key}")}
    assert other == [str(server.port), None]


def test_a_ticket_gives_access_to_its_job_and_is_renewed_when_it_is_no_longer_valid(
    keyed: KeyedServer, program: Program
) -> None:
    ask = """
    const backend = new Client(args[0], { key: args[1] });
    const job = await backend.submit("steady", { steps: 30 });
    const other = await backend.submit("ping");
    let times = 0;
    const getTicket = async () => (times += 1, (await job.ticket(60)).ticket);
    const visitor = new Client(args[0]);
    const stale = visitor.job(`${args[0]}/jobs/${job.id}?ticket=hwt_stale`, { getTicket });
    const [ended, read] = await Promise.all([stale.wait(), stale.read()]);
    const { ticket } = await job.ticket();
    const denied = await visitor.job(other.id, { ticket }).read().catch(({ status }) => status);
    const none = await visitor.job(job.id).wait().catch(({ status }) => status);
    const fails = { getTicket: () => { throw new RangeError("not for you"); } };
    const failed = await visitor.job(job.id, fails).wait().catch((error) => [error.status, String(error.cause)]);
    tell({ status: ended.status, steps: ended.result.steps, read: read.jobId === job.id, times, denied, none, failed });
    """
    told = program(ask, keyed.url, keyed.make_key("tickets"))
    assert told.pop("denied") in (401, 403, 404)
    assert told == {
        "status": "completed", "steps": 30, "read": True, "times": 1, "none": 401,
        "failed": [401, "RangeError: not for you"],
    }  # fmt: skip


def test_leaving_the_loop_closes_the_connection(program: Program) -> None:
    with ServerProcess(":memory:", "--jobs", str(JOBS)) as server:
        leave = """
        const job = await new Client(args[0]).submit("steady", { steps: 100000 });
        for await (const event of job.events()) if (event.state?.status === "running") break;
        tell(job.state.status);
        """
        # The program could not end while a connection is open.
        assert program(leave, url_of(server)) == "running"


@pytest.fixture
def stream(program: Program) -> Callable[[str, str], Any]:
    """What `follow` makes of the bytes of a stream, which are sent in two pieces."""
    read = r"""
    const [first, second] = args.map((text) => new TextEncoder().encode(JSON.parse(text)));
    let answers = 0;
    const fetch = async () => {
      if ((answers += 1) > 1) return new Response(null, { status: 204 });
      const pieces = async function* () { yield first; yield second; };
      return new Response(ReadableStream.from(pieces()), { headers: { "Content-Type": "text/event-stream" } });
    };
    const seen = [];
    const poll = async function* () { return 1; };
    for await (const event of new Client("http://headway.invalid", { fetch }).follow("x", { poll })) seen.push(event);
    tell(seen);
    """

    def call(first: str, second: str) -> Any:
        return program(read, json.dumps(first), json.dumps(second))

    return call


def test_a_stream_is_read_by_the_standard(stream: Callable[[str, str], Any]) -> None:
    # Pieces end anywhere, a colon may have no space behind it, unknown fields and events without data are ignored.
    sent = (
        'retry: 1\n: comment\r\nid: 7\nevent: log\ndata: {"a":\ndata:"\u2028é"}\nodd\n\nid: 9\n\ndata: 1\n\ndata: 2\n'
    )
    expected = [{"name": "log", "id": "7", "data": {"a": "\u2028é"}}, {"name": "message", "data": 1}]
    for cut in range(1, len(sent)):
        if cut % 13 == 0:
            assert stream(sent[:cut], sent[cut:]) == expected
