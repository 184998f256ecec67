"""`GET /jobs/{id}?wait=` and `Prefer: wait=`: responses that wait for a change."""

import asyncio
import contextlib
import http.client
import signal
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from headway.app import Rooms, opened
from headway.authoring.loading import load_job_types
from headway.ports.events import Bell
from headway.settings import Settings

from tests.support.process import WAIT_TIMEOUT_S, Reply, ServerProcess, calm_s
from tests.support.raw import assert_problem, request_bytes, send
from tests.support.representation import assert_representation
from tests.support.serving import LATER, TEST_JOBS, UNKNOWN, Serving

# WAIT_TIMEOUT_S ends a request that is never answered: an answer to `wait=50` came because something had changed.


class LongPoll:
    """A request that the server has, and whose answer is read later."""

    def __init__(self, server: ServerProcess, path: str, headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_TIMEOUT_S)
        self._connection.request("GET", path, headers=headers or {})
        server.request("GET", "/healthz")  # asked for later, answered: the server reads in the order of arrival

    def answer(self) -> Reply:
        response = self._connection.getresponse()
        reply = Reply(response.status, response.headers, response.read())
        self._connection.close()
        return reply


def etag(server: ServerProcess, job_id: str) -> str:
    return str(server.request("GET", f"/jobs/{job_id}").headers["ETag"])


def test_it_answers_when_the_job_ends_and_not_before(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 10_000, "step_s": 0.01})
    poll = LongPoll(server, f"/jobs/{job_id}?wait=50")
    states = server.states(job_id)
    versions = {next(states)["version"] for _ in range(5)}
    assert len(versions) == 5  # news all the time, and none of it is the end
    assert server.request("DELETE", f"/jobs/{job_id}").status == 204
    reply = poll.answer()
    assert (reply.status, reply.json["status"]) == (200, "cancelled")
    assert "Retry-After" not in reply.headers
    assert_representation(reply.json, detail=True)


def test_with_a_condition_it_answers_when_the_version_differs(server: ServerProcess) -> None:
    job_id = server.submit("steps-async", {"steps": 10_000, "step_s": 0.01})
    seen: tuple[int, str] = (0, "")
    held = '"0"'
    for _ in range(5):
        reply = LongPoll(server, f"/jobs/{job_id}?wait=50", {"If-None-Match": held}).answer()
        assert reply.status == 202
        version, updated_at = reply.json["version"], reply.json["updatedAt"]
        assert version > seen[0]
        assert updated_at >= seen[1]  # to the millisecond, in which more than one thing can happen
        assert int(reply.headers["Retry-After"]) >= 1
        seen, held = (version, updated_at), reply.headers["ETag"]
    server.request("DELETE", f"/jobs/{job_id}")


def test_with_a_condition_it_waits_while_the_version_is_the_same(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    held = etag(server, job_id)
    poll = LongPoll(server, f"/jobs/{job_id}?wait=50", {"If-None-Match": held})
    server.request("DELETE", f"/jobs/{job_id}")
    reply = poll.answer()
    assert (reply.status, reply.json["status"]) == (200, "cancelled")
    assert reply.headers["ETag"] != held


@pytest.mark.parametrize(("conditional", "status"), [(False, 202), (True, 304)])
def test_without_news_it_answers_like_a_poll_when_its_time_is_up(
    server: ServerProcess, conditional: bool, status: int
) -> None:
    job_id = server.submit("noop", query=LATER)
    headers = [("If-None-Match", etag(server, job_id))] if conditional else []
    before_s = time.monotonic()
    reply = send(server, "GET", f"/jobs/{job_id}?wait=0.3", headers)
    assert time.monotonic() - before_s >= 0.3
    assert (reply.status, reply.headers["ETag"]) == (status, etag(server, job_id))
    assert bool(reply.body) == (status == 202)
    assert int(reply.headers["Retry-After"]) >= 1
    server.request("DELETE", f"/jobs/{job_id}")


def test_a_job_that_has_ended_is_answered_at_once(server: ServerProcess) -> None:
    job_id = server.submit("noop")
    server.wait_for(job_id)
    assert server.request("GET", f"/jobs/{job_id}?wait=50").status == 200
    held = {"If-None-Match": etag(server, job_id)}
    assert server.request("GET", f"/jobs/{job_id}?wait=50", headers=held).status == 304
    assert server.request("HEAD", f"/jobs/{job_id}?wait=50").status == 200
    assert_problem(server.request("GET", f"/jobs/{UNKNOWN}?wait=50"), 404, "not-found")


def test_a_preference_means_the_same_and_is_reported_as_applied(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    poll = LongPoll(server, f"/jobs/{job_id}", {"Prefer": "wait=30"})
    capped = LongPoll(
        server, f"/jobs/{job_id}", {"Prefer": "respond-async, wait=3600", "If-None-Match": etag(server, job_id)}
    )
    server.request("DELETE", f"/jobs/{job_id}")
    reply = poll.answer()
    assert (reply.status, reply.headers["Preference-Applied"]) == (200, "wait=30")
    reply = capped.answer()
    assert (reply.status, reply.headers["Preference-Applied"]) == (200, "wait=50")
    held = {"Prefer": "wait=30", "If-None-Match": reply.headers["ETag"]}
    reply = server.request("GET", f"/jobs/{job_id}", headers=held)
    assert (reply.status, reply.headers["Preference-Applied"]) == (304, "wait=30")


def test_the_parameter_is_a_demand_and_wins_over_the_preference(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    reply = server.request("GET", f"/jobs/{job_id}?wait=0", headers={"Prefer": "wait=60"})
    assert reply.status == 202
    assert "Preference-Applied" not in reply.headers


def test_with_redirect_it_leads_on_to_the_result_when_the_job_ends(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    polls = [
        LongPoll(server, f"/jobs/{job_id}?wait=50&redirect=true"),
        LongPoll(server, f"/jobs/{job_id}?redirect=true", {"Prefer": "wait=60"}),
    ]
    server.request("DELETE", f"/jobs/{job_id}")
    for poll in polls:
        reply = poll.answer()
        assert (reply.status, reply.headers["Location"]) == (303, f"/jobs/{job_id}/result")
    assert reply.headers["Preference-Applied"] == "wait=50"


def test_a_result_can_be_waited_for(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    polls = [
        LongPoll(server, f"/jobs/{job_id}/result?wait=50"),
        LongPoll(server, f"/jobs/{job_id}/result", {"Prefer": "wait=60"}),
    ]
    assert_problem(server.request("GET", f"/jobs/{job_id}/result?wait=0.01"), 409, "not-finished")
    assert_problem(server.request("GET", f"/jobs/{job_id}/result?wait=51"), 422, "validation-failed", "/wait")
    server.request("DELETE", f"/jobs/{job_id}")
    for poll in polls:
        assert_problem(poll.answer(), 410, "gone")
    job_id = server.submit("steps-async", {"steps": 2, "step_s": 0.2})
    reply = server.request("GET", f"/jobs/{job_id}/result", headers={"Prefer": "wait=60"})
    assert (reply.status, reply.headers["Preference-Applied"]) == (200, "wait=50")


def test_a_preference_that_is_not_understood_is_ignored(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    reply = server.request("GET", f"/jobs/{job_id}", headers={"Prefer": "wait=soon, return=minimal"})
    assert reply.status == 202
    assert "Preference-Applied" not in reply.headers


@pytest.mark.parametrize("value", ["50.1", "60", "3600", "-1", "soon", "", "nan", "inf", "1e999"])
def test_a_wait_out_of_range_is_refused(server: ServerProcess, value: str) -> None:
    job_id = server.submit("noop", query=LATER)
    assert_problem(server.request("GET", f"/jobs/{job_id}?wait={value}"), 422, "validation-failed", "/wait")


def test_a_job_that_is_purged_meanwhile_is_not_found(server: ServerProcess) -> None:
    job_id = server.submit("noop", query=LATER)
    polls = [
        LongPoll(server, f"/jobs/{job_id}?wait=50"),
        LongPoll(server, f"/jobs/{job_id}", {"Prefer": "wait=60", "If-None-Match": etag(server, job_id)}),
    ]
    assert server.request("DELETE", f"/jobs/{job_id}?purge=true").status == 204
    for poll in polls:
        assert_problem(poll.answer(), 404, "not-found")


def test_it_ends_with_the_server_and_returns_the_current_state(serving: Serving) -> None:
    server = serving()
    job_id = server.submit("noop", query=LATER)
    held = etag(server, job_id)
    polls = [LongPoll(server, f"/jobs/{job_id}?wait=50") for _ in range(3)]
    conditional = LongPoll(server, f"/jobs/{job_id}?wait=50", {"If-None-Match": held})
    server.process.send_signal(signal.SIGTERM)
    signalled_s = calm_s()
    replies = [poll.answer() for poll in polls]
    assert [(reply.status, reply.json["status"]) for reply in replies] == [(202, "queued")] * 3
    assert conditional.answer().status == 304
    assert calm_s() - signalled_s < 1
    assert server.process.wait(WAIT_TIMEOUT_S) == 0


@contextlib.asynccontextmanager
async def served(rooms: Rooms) -> AsyncIterator[int]:
    """The application on a port, run as the real server runs it."""
    runner = web.AppRunner(rooms.app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def hold(port: int, path: str) -> asyncio.StreamWriter:
    """A connection with a request on it whose answer nobody reads."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes("GET", path))
    return writer


async def test_clients_that_go_away_leave_nothing_behind() -> None:
    """In this process, on real sockets, so that one can look inside."""
    async with opened(Settings(data_dir=":memory:"), load_job_types([str(TEST_JOBS)])) as rooms, served(rooms) as port:
        async with aiohttp.ClientSession() as session:
            accepted = await session.post(f"http://127.0.0.1:{port}/jobs/noop{LATER}", json={})
        path = accepted.headers["Location"]

        def held() -> tuple[int, int]:
            """Listeners to the job, and the tasks of this process."""
            listeners = rooms.hub._to_one[Bell.CHANGED].get(path.removeprefix("/jobs/"), ())
            return len(listeners), len(asyncio.all_tasks())

        before = held()
        writers = [await hold(port, f"{path}?wait=50") for _ in range(100)]
        while held()[0] < 100:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)
        for number, writer in enumerate(writers):
            if number % 2:
                writer.transport.abort()
            writer.close()
        async with asyncio.timeout(WAIT_TIMEOUT_S):
            while held()[0] > before[0] or held()[1] > before[1]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
