"""Dependencies in a real server: one per process, of both kinds of handler, cleaned up at its end."""

from pathlib import Path

from tests.support.process import ServerProcess

JOBS = """
import asyncio, os
from collections.abc import AsyncIterator, Iterator
from typing import Annotated
from headway import BlockingContext, Context, Depends, job

def note(entry: str) -> None:
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(f"{entry}\\n")

async def session() -> AsyncIterator[str]:
    note("session opened")
    await asyncio.sleep(0)
    yield f"session {os.getpid()}"
    await asyncio.sleep(0)
    note("session closed")

def connection() -> Iterator[str]:
    note("connection opened")
    yield f"connection {os.getpid()}"
    note("connection closed")

async def unreachable() -> str:
    raise ConnectionError("no route")

@job("waits")
async def waits(ctx: Context, the_session: Annotated[str, Depends(session)]) -> str:
    return the_session

@job("runs-on")
async def runs_on(ctx: Context, the_session: Annotated[str, Depends(session)]) -> None:
    ctx.progress(message="running")
    try:
        await asyncio.Event().wait()
    finally:
        note("handler ended")

@job("computes")
def computes(ctx: BlockingContext, *, the_connection: Annotated[str, Depends(connection)]) -> str:
    return the_connection

@job("cannot-connect")
async def cannot_connect(ctx: Context, it: Annotated[str, Depends(unreachable)]) -> str:
    return it
"""


def test_dependencies_live_as_long_as_the_process_of_their_handler(tmp_path: Path) -> None:
    module = tmp_path / "dependent_jobs.py"
    module.write_text(JOBS, "utf-8")
    diary = tmp_path / "diary"
    with ServerProcess(tmp_path / "data", "--jobs", str(module), env={"DIARY": str(diary)}) as server:
        ended = [server.wait_for(each) for each in [server.submit("waits") for _ in range(5)]]
        assert {job["status"] for job in ended} == {"completed"}
        assert len({job["result"] for job in ended}) == 1
        assert diary.read_text("utf-8").splitlines() == ["session opened"]
        ended = [server.wait_for(each) for each in [server.submit("computes") for _ in range(2)]]
        assert len({job["result"] for job in ended}) == 2
        entries = diary.read_text("utf-8").splitlines()
        assert sorted(entries) == [*["connection closed"] * 2, *["connection opened"] * 2, "session opened"]

        failed = server.wait_for(server.submit("cannot-connect"))
        assert (failed["status"], failed["error"]["type"]) == ("failed", "handler-error")
        assert failed["error"]["detail"] == "unreachable(): ConnectionError: no route"
        assert "in unreachable" in server.log()

        for path in ("/job-types", "/openapi.json"):
            described = server.request("GET", path).body
            assert b"computes" in described
            assert b"the_connection" not in described
            assert b"the_session" not in described

        running = server.submit("runs-on")
        assert next(state for state in server.states(running) if state["message"] == "running")
        assert server.stop() == 0
    assert diary.read_text("utf-8").splitlines()[-2:] == ["handler ended", "session closed"]
