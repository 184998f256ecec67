"""`run`: one attempt of a handler in memory, which ends as it would end on a server."""

import asyncio
import gc
import logging
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, assert_type

import pytest
import structlog
from headway import BlockingContext, Context, Depends, JobCancelled, JobFailed, Upload, job
from headway.clock import utc_now
from headway.errors import InvalidError, JobTypeError
from headway.testing import Clock, Ran, run, run_async, upload
from pydantic import BaseModel, Field


class Pictures(BaseModel):
    width: int = Field(ge=1)
    archive: Upload | None = None


class Resized(BaseModel):
    width_px: int = Field(serialization_alias="widthPx")
    bytes: int


@job("kit-resize", timeout_s=60, max_attempts=2)
def resize(ctx: BlockingContext, input: Pictures) -> Resized:
    begin = ctx.resumed["picture"] + 1 if ctx.resumed else 0
    for picture in ctx.track(range(begin, 5), unit="pictures", message="resizing"):
        ctx.checkpoint({"picture": picture})
        (ctx.work_dir / f"{picture}").touch()
    print("resized", len(list(ctx.work_dir.iterdir())))
    content = input.archive.path.read_bytes() if input.archive else b""
    (ctx.output_dir / "sheet.html").write_bytes(b"<p>" + content)
    return Resized(width_px=input.width, bytes=len(content))


@job("kit-wait", timeout_s=60)
async def wait(ctx: Context) -> str:
    async for step in ctx.track(range(5)):
        ctx.log(f"step {step}", "debug")
        await asyncio.sleep(7)
    await ctx.checkpoint("waited")
    return "done"


# What comes out


def test_a_run_has_what_the_handler_gave() -> None:
    ran = run(resize, {"width": 3})
    assert_type(ran, Ran[Resized])
    assert ran.status == "completed"
    assert (ran.result, ran.json) == (Resized(width_px=3, bytes=0), {"widthPx": 3, "bytes": 0})
    assert [report.done for report in ran.progress] == [0, 1, 2, 3, 4, 5]
    assert ran.progress[2].percent == 40
    assert (ran.progress[-1].total, ran.progress[-1].unit, ran.progress[-1].message) == (5, "pictures", "resizing")
    assert ran.messages == ["resized 5"]
    assert [line.level for line in ran.logs] == ["info"]
    assert ran.files["sheet.html"].read_text() == "<p>"
    assert ran.checkpoints == [{"picture": picture} for picture in range(5)]
    assert ran.checkpoint == {"picture": 4}
    assert (ran.attempt, ran.exception, ran.will_retry) == (1, None, False)
    with pytest.raises(AssertionError, match="completed> has not failed"):
        ran.error  # noqa: B018 - it raises


def test_an_async_handler_runs_in_a_loop_of_its_own() -> None:
    ran = run(wait, skip_sleeps=True)
    assert_type(ran.result, str)
    assert (ran.result, ran.checkpoint) == ("done", "waited")
    assert [(line.level, line.message) for line in ran.logs] == [("debug", f"step {step}") for step in range(5)]


async def test_in_an_async_test_there_is_the_twin() -> None:
    ran = await run_async(resize, {"width": 3})
    assert_type(ran, Ran[Resized])
    assert ran.result.width_px == 3
    with pytest.raises(RuntimeError, match="run_async"):
        run(resize, {"width": 3})
    with pytest.raises(ValueError, match="skip_sleeps is for `run`"):
        await run_async(wait, skip_sleeps=True)


def test_a_def_handler_runs_in_the_thread_of_the_test_and_outside_of_any_loop() -> None:
    @job("kit-thread")
    def thread(ctx: BlockingContext) -> bool:
        return asyncio.run(asyncio.sleep(0, threading.current_thread() is threading.main_thread()))

    assert run(thread).result is True


def test_output_goes_to_the_log_and_to_the_test(capsys: pytest.CaptureFixture[str]) -> None:
    @job("kit-loud")
    def loud(ctx: BlockingContext) -> None:
        print("out")
        thread = threading.Thread(target=lambda: print("err", file=sys.stderr))
        thread.start()
        thread.join()
        logging.getLogger(__name__).warning("logged")

    ran = run(loud)
    assert [(line.level, line.message) for line in ran.logs] == [
        ("info", "out"), ("warning", "err"), ("warning", "logged")
    ]  # fmt: skip
    assert tuple(capsys.readouterr()) == ("out\n", "err\n"), "the server itself prints nothing"


def test_the_server_s_log_is_printed_neither_before_nor_after_a_test_has_captured_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with structlog.testing.capture_logs() as captured:
        run(resize, {"width": 3})
    assert [line["event"] for line in captured] == ["attempt ended"]
    capsys.readouterr()
    run(resize, {"width": 3})
    assert capsys.readouterr().out == "resized 5\n"


def test_files_are_deleted_with_the_run() -> None:
    ran = run(resize, {"width": 3})
    sheet = ran.files["sheet.html"]
    assert sheet.exists()
    del ran
    gc.collect()
    assert not sheet.exists()


# What goes in


@pytest.mark.parametrize("input", [{"width": "3"}, {"width": 3, "height": 4}, {"width": 0}, {}])
def test_a_wrong_input_is_refused_as_by_the_server(input: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as raised:
        run(resize, input)
    ((pointer, _),) = raised.value.errors
    assert pointer in ("/width", "/height")


def test_a_file_that_is_no_field_is_refused() -> None:
    with pytest.raises(InvalidError):
        run(resize, {"width": 3, "archive": "a text"})


def test_uploads_are_bytes_paths_and_uploads(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(b"12345")
    assert run(resize, {"width": 3, "archive": b"123"}).result.bytes == 3
    assert run(resize, {"width": 3, "archive": path}).result.bytes == 5
    assert run(resize, Pictures(width=3, archive=upload(b"1234", "a.zip"))).result.bytes == 4
    assert run(resize, Pictures(width=3)).result.bytes == 0
    assert path.read_bytes() == b"12345"


def test_an_upload_has_a_name_and_a_type() -> None:
    @job("kit-named")
    def named(ctx: BlockingContext, input: Pictures) -> list[str]:
        file = input.archive
        return [] if file is None else [file.filename, file.content_type]

    assert run(named, {"width": 1, "archive": upload(b"", "a.zip")}).result == ["a.zip", "application/zip"]
    assert run(named, {"width": 1, "archive": upload(b"", "a", "text/x")}).result == ["a", "text/x"]
    assert run(named, {"width": 1, "archive": b""}).result == ["upload", "application/octet-stream"]


def test_what_is_no_job_is_refused() -> None:
    def plain(ctx: BlockingContext) -> None: ...

    with pytest.raises(JobTypeError, match="not decorated"):
        run(plain)
    with pytest.raises(TypeError, match="no option 'timeout'"):
        run(wait, timeout=3)  # type: ignore[call-overload]


def test_the_owner_and_the_data_directory_can_be_chosen(tmp_path: Path) -> None:
    @job("kit-kept")
    def kept(ctx: BlockingContext) -> list[str]:
        (ctx.data_dir / ctx.owner).touch()
        return sorted(path.name for path in ctx.data_dir.iterdir())

    assert run(kept, owner="ann", data_dir=tmp_path).result == ["ann"]
    assert run(kept, owner="bob", data_dir=tmp_path).result == ["ann", "bob"]
    own = run(kept)
    assert (own.result, [path.name for path in own.data_dir.iterdir()]) == (["local"], ["local"])


# Failures


def test_a_failure_is_as_clients_see_it() -> None:
    @job("kit-fails", max_attempts=3)
    def fails(ctx: BlockingContext) -> int:
        raise JobFailed("No pictures", detail="None at all.", status=422, type="no-pictures")

    ran = run(fails)
    assert (ran.status, ran.will_retry) == ("failed", False)
    assert (ran.error.type, ran.error.title, ran.error.status) == ("no-pictures", "No pictures", 422)
    assert isinstance(ran.exception, JobFailed)
    assert ran.messages == ["No pictures: None at all."]
    with pytest.raises(AssertionError, match="failed: No pictures: None at all") as raised:
        ran.result  # noqa: B018 - it raises
    assert raised.value.__cause__ is ran.exception


@pytest.mark.parametrize(("attempt", "status"), [(1, "queued"), (2, "queued"), (3, "failed")])
def test_a_crash_is_tried_again_as_often_as_the_type_says(attempt: int, status: str) -> None:
    @job("kit-crashes", max_attempts=3)
    async def crashes(ctx: Context) -> None:
        raise ValueError(ctx.attempt)

    ran = run(crashes, attempt=attempt)
    assert (ran.status, ran.will_retry) == (status, status == "queued")
    assert (ran.error.type, ran.error.detail) == ("handler-error", f"ValueError: {attempt}")
    assert type(ran.exception) is ValueError


def test_a_result_other_than_declared_fails_the_job() -> None:
    @job("kit-liar")
    def liar(ctx: BlockingContext) -> int:
        return "text"  # type: ignore[return-value]

    ran = run(liar)
    assert (ran.status, ran.error.type, ran.json) == ("failed", "invalid-output", None)


def test_what_is_to_end_the_test_is_no_failure_of_the_job() -> None:
    @job("kit-ended")
    def ended(ctx: BlockingContext) -> None:
        pytest.fail("a fake was used in the wrong way")

    @job("kit-interrupted")
    def interrupted(ctx: BlockingContext) -> None:
        raise KeyboardInterrupt

    with pytest.raises(pytest.fail.Exception, match="wrong way"):
        run(ended)
    with pytest.raises(KeyboardInterrupt):
        run(interrupted)


# Stopping


def test_a_cancel_stops_a_def_handler_at_its_next_step() -> None:
    ran = run(resize, {"width": 3}, cancel_when=lambda report: report.done == 2)
    assert (ran.status, ran.progress[-1].done, ran.checkpoint) == ("cancelled", 2, {"picture": 1})
    assert (ran.files, ran.messages) == ({}, [])


def test_a_cancel_stops_an_async_handler_where_it_waits() -> None:
    ran = run(wait, cancel_when=lambda report: report.done == 2, skip_sleeps=True)
    assert (ran.status, ran.messages) == ("cancelled", ["step 0", "step 1", "step 2"])


def test_a_handler_may_clean_up_before_it_stops() -> None:
    @job("kit-polite")
    def polite(ctx: BlockingContext) -> str:
        ctx.progress(1)
        if ctx.cancelled:
            ctx.log("cleaning up")
            ctx.progress(2)
        return "what does not count any more"

    ran = run(polite, cancel_when=lambda report: report.done == 1)
    assert (ran.status, ran.json, ran.messages, ran.progress[-1].done) == ("cancelled", None, ["cleaning up"], 2)


def test_a_def_handler_that_goes_on_is_interrupted() -> None:
    caught = []

    @job("kit-deaf")
    def deaf(ctx: BlockingContext) -> None:
        try:
            for step in range(1_000_000):
                ctx.progress(step)
        except JobCancelled:
            caught.append(step)
            raise

    with Clock() as clock:
        ran = run(deaf, cancel_when=lambda report: report.done == 2, on_report=lambda _: clock.advance(0.6))
    assert (ran.status, caught) == ("cancelled", [4]), "a second after it was asked"


def test_an_attempt_that_a_stop_of_the_server_interrupts_goes_on_where_it_was() -> None:
    first = run(resize, {"width": 3, "archive": b"1234"}, interrupt_when=lambda report: report.done == 2)
    assert (first.status, first.will_retry, first.checkpoint) == ("queued", False, {"picture": 1})
    second = run(resize, {"width": 3}, after=first)
    assert (second.attempt, second.job_id) == (2, first.job_id)
    assert [report.done for report in second.progress] == [0, 1, 2, 3]
    assert second.messages == ["resized 5"], "the working directory is the same"
    assert second.result.bytes == 4, "and so are the uploads"


def test_a_failed_attempt_counts_for_the_next_one() -> None:
    @job("kit-twice", max_attempts=2)
    def twice(ctx: BlockingContext) -> None:
        ctx.checkpoint(ctx.attempt)
        raise ValueError(ctx.resumed)

    first = run(twice)
    second = run(twice, after=first)
    assert (first.status, second.status) == ("queued", "failed")
    assert second.error.detail == "ValueError: 1"


def test_a_checkpoint_can_be_given() -> None:
    assert run(resize, {"width": 3}, checkpoint={"picture": 3}).checkpoints == [{"picture": 4}]


def test_what_the_tests_own_function_raises_is_the_tests() -> None:
    def looks(report: object) -> bool:
        raise AssertionError("not as expected")

    for options in ({"on_report": looks}, {"cancel_when": looks}):
        with pytest.raises(AssertionError, match="not as expected"):
            run(resize, {"width": 3}, **options)  # type: ignore[call-overload]


# Time


@pytest.mark.parametrize("options", [{}, {"timeout_s": 20}])
def test_a_time_limit_is_passed_without_waiting(options: dict[str, float]) -> None:
    with Clock() as clock:
        ran = run(resize, {"width": 3}, on_report=lambda _: clock.advance(15), **options)  # type: ignore[call-overload]
    assert (ran.status, ran.error.type) == ("queued", "timeout")
    assert len(ran.progress) == (2 if options else 4)


def test_silence_is_passed_without_waiting() -> None:
    @job("kit-silent", stall_timeout_s=30)
    async def silent(ctx: Context) -> None:
        ctx.progress(1)
        await asyncio.sleep(3600)

    ran = run(silent, skip_sleeps=True)
    assert ran.error.type == "stalled"


def test_time_is_skipped_only_where_something_sleeps() -> None:
    @job("kit-hours", timeout_s=200_000)
    async def hours(ctx: Context) -> float:
        began = utc_now()
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(86_400))
        async with asyncio.timeout(120):
            await asyncio.to_thread(threading.Event().wait, 0.05)
        return (utc_now() - began).total_seconds()

    assert 86_400 <= run(hours, skip_sleeps=True).result < 86_400 + 120


async def test_a_test_moves_the_time_of_a_handler_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    with Clock() as clock:
        first = asyncio.Event()
        running = asyncio.create_task(run_async(wait, on_report=lambda _: first.set()))
        await first.wait()
        clock.advance(61)
        ran = await running
    assert ran.error.type == "timeout"


async def test_a_run_that_is_cancelled_with_its_test_is_cancelled() -> None:
    started = asyncio.Event()
    running = asyncio.create_task(run_async(wait, on_report=lambda _: started.set()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


# Dependencies

closed: list[str] = []


def settings() -> str:
    return "real settings"


def connection(settings: Annotated[str, Depends(settings)]) -> Iterator[str]:
    yield f"connection by {settings}"
    closed.append("connection")


async def session(settings: Annotated[str, Depends(settings)]) -> AsyncIterator[str]:
    yield f"session by {settings}"
    closed.append("session")


@job("kit-stores")
def stores(ctx: BlockingContext, connection: Annotated[str, Depends(connection)]) -> str:
    return connection


@job("kit-fetches")
async def fetches(ctx: Context, session: Annotated[str, Depends(session)]) -> str:
    return session


def test_dependencies_are_made_and_cleaned_up() -> None:
    closed.clear()
    assert run(stores).result == "connection by real settings"
    assert run(fetches).result == "session by real settings"
    assert closed == ["connection", "session"]


def test_dependencies_can_be_replaced_and_so_can_theirs() -> None:
    closed.clear()
    assert run(stores, overrides={connection: "a fake"}).result == "a fake"
    assert run(fetches, overrides={session: "a fake"}).result == "a fake"
    assert closed == []
    assert run(stores, overrides={settings: "others"}).result == "connection by others"
    assert run(fetches, overrides={settings: "others"}).result == "session by others"


def test_what_the_handler_does_not_depend_on_cannot_be_replaced() -> None:
    with pytest.raises(ValueError, match=r"kit-stores does not depend on session, but on connection\(\), settings\(\)"):
        run(stores, overrides={session: "a fake"})


def test_a_dependency_that_fails_fails_the_job() -> None:
    def broken() -> None:
        raise OSError("no database")

    @job("kit-broken")
    def needs(ctx: BlockingContext, it: Annotated[None, Depends(broken)]) -> None: ...

    ran = run(needs)
    assert ran.error.detail == "broken(): OSError: no database"
    assert isinstance(ran.exception, OSError)
