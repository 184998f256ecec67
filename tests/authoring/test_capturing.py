"""What a handler prints and logs: lines of its own job's log and of no other, still in the server's log."""

import asyncio
import io
import json
import logging
import subprocess
import sys
import textwrap
import threading
import traceback
import tracemalloc
import types
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from headway import BlockingContext, job, tracebacks
from headway.authoring import capturing as capturing_module
from headway.authoring.capturing import SERVERS_HANDLER, capture, capture_process, capturing
from headway.authoring.reporting import LogBuffer
from headway.limits import LOG_BURST_LINES, LOG_LINE_CHARS

from tests.support.process import ROOT, ServerProcess

logger = logging.getLogger("my.jobs")


@pytest.fixture
def logs() -> LogBuffer:
    return LogBuffer()


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    before = logging.root.level
    logging.root.setLevel(logging.INFO)
    yield
    logging.root.setLevel(before)
    logger.setLevel(logging.NOTSET)


@contextmanager
def captured(logs: LogBuffer) -> Iterator[None]:
    """A handler's output, in a server."""
    with capturing(), capture(logs):
        yield


class ServersLog(logging.Handler):
    """Stands for the handler that writes the server's log."""

    def __init__(self) -> None:
        super().__init__()
        self.set_name(SERVERS_HANDLER)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(record.levelname, record.getMessage()) for record in self.records]


@pytest.fixture
def servers_log() -> Iterator[ServersLog]:
    with closing(ServersLog()) as handler:
        logging.root.addHandler(handler)
        yield handler
        logging.root.removeHandler(handler)


def lines(logs: LogBuffer) -> list[tuple[str, str]]:
    return [(line.level, line.message) for line in logs.take()]


def messages(logs: LogBuffer) -> list[str]:
    return [message for _, message in lines(logs)]


# What becomes a line


def test_what_is_printed_and_logged_becomes_lines_with_their_levels(logs: LogBuffer) -> None:
    with captured(logs):
        print("row", 1)
        print("careful", file=sys.stderr)
        logger.info("read %d rows", 2)
        logger.warning("slow")
        logger.error("broken")
        logger.critical("worse")
        logging.info("of the root")  # noqa: LOG015 - as authors do
    assert lines(logs) == [
        ("info", "row 1"), ("warning", "careful"), ("info", "read 2 rows"), ("warning", "slow"), ("error", "broken"),
        ("error", "worse"), ("info", "of the root"),
    ]  # fmt: skip


def test_what_is_below_the_configured_level_is_no_line(logs: LogBuffer) -> None:
    with captured(logs):
        logger.debug("unseen")
        logger.setLevel(logging.DEBUG)
        logger.debug("seen")
    assert lines(logs) == [("debug", "seen")]


def test_a_line_ends_with_its_line_break_or_with_the_handler(logs: LogBuffer) -> None:
    with captured(logs):
        print("one", end=" ")
        print("two\nthree", "four")
        print()
        print("five", end="")
        assert messages(logs) == ["one two", "three four"]
    assert messages(logs) == ["five"]


def test_threads_do_not_mix_their_lines(logs: LogBuffer) -> None:
    with captured(logs):
        print("main", end=" ")
        asyncio.run(asyncio.to_thread(print, "a", "thread"))
        print("line")
    assert messages(logs) == ["a thread", "main line"]


def test_colors_and_progress_bars_leave_what_a_terminal_would_show(logs: LogBuffer) -> None:
    with captured(logs):
        for percent in range(0, 101, 10):
            print(f"\r{percent:3}% \x1b[32m|#|\x1b[0m", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        print("Windows\r")
        assert not sys.stderr.isatty()
    assert lines(logs) == [("warning", "100% |#|"), ("info", "Windows")]


def test_a_line_without_end_is_bounded(logs: LogBuffer) -> None:
    with captured(logs):
        for _ in range(100):
            sys.stdout.write("x" * 1_000)
        print("end")
    (line,) = messages(logs)
    assert len(line) == LOG_LINE_CHARS
    assert line.endswith("x… (cut from 100,003 characters)")


def test_the_limits_of_a_jobs_log_apply() -> None:
    logs = LogBuffer(clock=lambda: 0.0)
    with captured(logs):
        for number in range(LOG_BURST_LINES + 10):
            print(number)
    assert len(logs.take()) == LOG_BURST_LINES
    assert [line.message for line in logs.take(final=True)] == ["10 log lines were dropped: there were too many"]


def test_one_print_of_very_many_lines_is_limited_too() -> None:
    logs = LogBuffer(clock=lambda: 0.0)
    text = "\n".join(f"{number}" for number in range(1_000_000))
    with captured(logs):
        tracemalloc.start()
        print(text, end="\nthe end")
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 5 * len(text), "not a string for each line"
    found = messages(logs)
    assert found == [f"{number}" for number in range(LOG_BURST_LINES)]
    (line,) = logs.take(final=True)
    assert line.message == f"{1_000_001 - LOG_BURST_LINES:,} log lines were dropped: there were too many"


def test_the_servers_log_is_limited_for_what_is_printed_and_what_is_logged(
    logs: LogBuffer, servers_log: ServersLog
) -> None:
    with captured(logs):
        for number in range(2 * LOG_BURST_LINES):
            print(number)
            logger.info("%d", number)
    logger.info("of nobody")
    *written, dropped, of_nobody = [record.getMessage() for record in servers_log.records]
    assert LOG_BURST_LINES <= len(written) < 1.5 * LOG_BURST_LINES
    assert dropped.endswith(" lines were dropped: the handler wrote too many")
    assert of_nobody == "of nobody"


def test_a_handler_that_was_abandoned_adds_no_lines_that_nobody_takes(logs: LogBuffer) -> None:
    logs.take(final=True)
    logs.add("info", "too late")
    assert logs.take() == []


def test_what_is_no_text_is_an_error_as_ever(logs: LogBuffer) -> None:
    with captured(logs), pytest.raises(TypeError):
        sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    assert lines(logs) == []


# What clients do not see


def test_tracebacks_are_for_the_operator(logs: LogBuffer, servers_log: ServersLog) -> None:
    with captured(logs):
        try:
            int("x")
        except ValueError:
            logger.exception("it failed")
            traceback.print_exc()
    assert lines(logs) == [("error", "it failed: ValueError: invalid literal for int() with base 10: 'x'")]
    printed = [line for _, line in servers_log.lines]
    assert printed[:2] == ["it failed", "Traceback (most recent call last):"]


def test_warnings_are_for_the_operator() -> None:
    done = in_a_fresh_process("""
        import logging, warnings
        from headway.authoring.capturing import capture, capturing
        from headway.authoring.reporting import LogBuffer
        logs = LogBuffer()
        with capturing(), capture(logs):
            warnings.warn("is old")
            logging.root.addHandler(logging.StreamHandler())
            logging.captureWarnings(True)
            warnings.warn("is older")
        assert logs.take() == []
    """)
    assert "UserWarning: is old\n" in done.stderr
    assert "UserWarning: is older\n" in done.stderr


def logging_module(path: Path, name: str) -> types.ModuleType:
    """A module at `path` whose `say(level)` logs."""
    module = types.ModuleType(name)
    text = "import logging\ndef say(level): logging.getLogger(__name__).log(level, __name__)"
    exec(compile(text, str(path), "exec"), vars(module))  # noqa: S102 - as an import does
    return module


def test_of_libraries_only_warnings_are_lines(logs: LogBuffer) -> None:
    library = logging_module(Path("/usr/lib/python3/site-packages/httpx/client.py"), "httpx.client")
    with captured(logs):
        library.say(logging.INFO)
        library.say(logging.WARNING)
    assert lines(logs) == [("warning", "httpx.client")]


def test_the_frameworks_records_are_no_lines(logs: LogBuffer) -> None:
    with captured(logs):
        logging_module(Path(tracebacks.__file__).parent / "running/engine.py", "headway.running").say(logging.ERROR)
        logging_module(Path(asyncio.__file__), "asyncio").say(logging.ERROR)
    assert lines(logs) == []


def test_a_package_that_declares_jobs_is_the_authors_though_it_is_installed(
    logs: LogBuffer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "site-packages" / "shop"
    monkeypatch.setattr(tracebacks, "_claimed", [])
    tracebacks.origin.cache_clear()
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "jobs.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    __import__("shop")
    module = logging_module(package / "jobs.py", "shop.jobs")
    with captured(logs):
        module.say(logging.INFO)

        def handler(ctx: BlockingContext) -> None: ...

        handler.__module__ = "shop.jobs"
        job("shop")(handler)
        module.say(logging.INFO)
    assert lines(logs) == [("info", "shop.jobs")]


# Whose lines


async def test_handlers_in_one_loop_keep_their_lines_apart() -> None:
    all_logs = {name: LogBuffer() for name in ("one", "two")}
    both = asyncio.Barrier(2)

    async def handler(name: str) -> None:
        with captured(all_logs[name]):
            await both.wait()
            print(name, end=" ")
            await both.wait()
            print("itself")
            async with asyncio.TaskGroup() as group:
                group.create_task(part(name, "task"))
            await asyncio.to_thread(logger.info, "%s in a thread", name)

    async def part(name: str, where: str) -> None:
        await both.wait()
        print(name, "in a", where)

    await asyncio.gather(handler("one"), handler("two"))
    print("of the server")
    for name, logs in all_logs.items():
        assert messages(logs) == [f"{name} itself", f"{name} in a task", f"{name} in a thread"]


async def test_what_a_task_prints_that_was_left_behind_is_no_line(logs: LogBuffer) -> None:
    ended = asyncio.Event()

    async def left_behind() -> None:
        await ended.wait()
        print("too late")

    with capturing():
        with capture(logs):
            task = asyncio.create_task(left_behind())
        ended.set()
        await task
    assert lines(logs) == []


# The server's log


@pytest.mark.parametrize("how", ["in a task that was left", "in a thread of nobody", "by asyncio"])
async def test_the_servers_log_is_limited_for_what_belongs_to_no_running_handler(
    logs: LogBuffer, servers_log: ServersLog, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing_module, "_of_nobody", capturing_module._Nobodys())

    def floods() -> None:
        for number in range(10 * LOG_BURST_LINES):
            print(number)
            logger.info("%d", number)

    async def left_behind() -> None:
        await ended.wait()
        floods()

    with capturing():
        ended = asyncio.Event()
        if how == "by asyncio":
            for number in range(10 * LOG_BURST_LINES):
                logging.getLogger("asyncio").error("%d: never retrieved", number)
        elif how == "in a thread of nobody":
            thread = threading.Thread(target=floods)
            thread.start()
            await asyncio.to_thread(thread.join)
        else:
            with capture(logs):
                task = asyncio.create_task(left_behind())
            ended.set()
            await task
    assert LOG_BURST_LINES <= len(servers_log.records) < 3 * LOG_BURST_LINES
    assert lines(logs) == []


def test_it_stays_in_the_servers_log(logs: LogBuffer, servers_log: ServersLog) -> None:
    with captured(logs):
        print("printed")
        print("to stderr", file=sys.stderr)
        logger.info("logged")
        print("begun", end="")
    assert servers_log.lines == [("INFO", "printed"), ("WARNING", "to stderr"), ("INFO", "logged"), ("INFO", "begun")]
    assert len(lines(logs)) == 4, "nothing is captured twice"


def test_what_a_logging_handler_writes_has_been_captured_already(logs: LogBuffer) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logging.root.addHandler(handler)
    try:
        with captured(logs):
            logger.warning("once")
    finally:
        logging.root.removeHandler(handler)
    assert messages(logs) == ["once"]


def test_several_servers_in_one_process_capture_once(logs: LogBuffer) -> None:
    before = (sys.stdout, sys.stderr, *logging.root.handlers)
    with capturing():
        installed = (sys.stdout, sys.stderr, *logging.root.handlers)
        with capturing():
            assert (sys.stdout, sys.stderr, *logging.root.handlers) == installed
        with capture(logs):
            print("once")
    assert messages(logs) == ["once"]
    assert (sys.stdout, sys.stderr, *logging.root.handlers) == before


def test_a_stream_that_somebody_has_put_in_its_place_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with capturing():
        sys.stdout = other = io.StringIO()
    assert sys.stdout is other


def in_a_fresh_process(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PYTHONPATH": f"{ROOT / 'server'}:{':'.join(sys.path)}"},
        capture_output=True,
        text=True,
        check=True,
    )


def test_a_program_that_has_not_configured_logging_keeps_its_streams_and_pythons_last_resort() -> None:
    done = in_a_fresh_process("""
        import logging, sys
        from headway.authoring.capturing import capture, capturing
        from headway.authoring.reporting import LogBuffer
        logs, before = LogBuffer(), (sys.stdout, sys.stderr)
        with capturing():
            print("outside")
            with capture(logs):
                print("a \\x1b[1mbold\\x1b[0m", "line", end="!\\n")
                logging.getLogger("mine").warning("a warning")
        assert (sys.stdout, sys.stderr) == before
        assert not logging.root.handlers
        assert [line.message for line in logs.take()] == ["a bold line!", "a warning"]
    """)
    assert done.stdout == "outside\na \x1b[1mbold\x1b[0m line!\n"
    assert done.stderr == "a warning\n"


def test_a_child_process_captures_all_its_threads_and_loads_neither_asyncio_nor_structlog() -> None:
    done = in_a_fresh_process("""
        import logging, sys, threading
        from headway.authoring.capturing import capture_process
        from headway.authoring.reporting import LogBuffer
        for number in (1, 2):  # a process may run several attempts
            logs = LogBuffer()
            with capture_process(logs, {"job_id": number}):
                print("printed")
                logging.getLogger("mine").info("logged")
                thread = threading.Thread(target=print, args=("in a thread",))
                thread.start()
                thread.join()
            print("between")
            assert [line.message for line in logs.take()] == ["printed", "logged", "in a thread"]
        assert not {"asyncio", "structlog"} & sys.modules.keys()
    """)
    assert done.stdout == "printed\nin a thread\nbetween\n" * 2
    assert done.stderr == "INFO mine: logged\n" * 2


def test_a_childs_records_have_the_fields_of_its_job(logs: LogBuffer, servers_log: ServersLog) -> None:
    make = logging.getLogRecordFactory()
    with capture_process(logs, {"job_id": "7", "attempt": 1}):
        logger.info("logged")
        print("printed")
    assert [(vars(record)["job_id"], vars(record)["attempt"]) for record in servers_log.records] == [("7", 1)] * 2
    assert messages(logs) == ["logged", "printed"]
    assert logging.getLogRecordFactory() is make


def test_a_server_has_what_its_handler_prints_in_both_logs_and_not_on_stdout(tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text(
        textwrap.dedent("""
            import logging
            from headway import Context, job

            @job("chatty")
            async def chatty(ctx: Context) -> None:
                print("printed", 1)
                logging.getLogger("mine").warning("logged %s", 2)
        """)
    )
    arguments = ("--jobs", str(tmp_path / "chatty.py"), "--log-format", "json")
    with ServerProcess(":memory:", *arguments, from_scratch=True) as server:
        job_id = server.submit("chatty")
        server.wait_for(job_id)
        found = server.request("GET", f"/jobs/{job_id}/logs").json["lines"]
        assert server.stop() == 0
        entries = [json.loads(line) for line in server.log().splitlines()]
        assert server.process.stdout is not None
        assert server.process.stdout.read() == b""
    assert [(line["level"], line["message"]) for line in found] == [("info", "printed 1"), ("warning", "logged 2")]
    own = [(entry["event"], entry["level"]) for entry in entries if entry.get("job_id") == job_id]
    assert own[:2] == [("printed 1", "info"), ("logged 2", "warning")]


def test_a_thread_of_nobody_is_not_captured(logs: LogBuffer) -> None:
    with captured(logs):
        thread = threading.Thread(target=print, args=("of nobody",))
        thread.start()
        thread.join()
    assert lines(logs) == []
