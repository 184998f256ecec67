"""The log, as people read it in a terminal or a file, and as programs read it: tracebacks above all."""

import io
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog
from headway import tracebacks
from headway.authoring.capturing import capture, capturing
from headway.authoring.reporting import LogBuffer
from headway.limits import TRACEBACK_CHARS
from headway.logs import ForPeople, configure_logging
from rich.console import Console

from tests.support.process import ServerProcess

FRAMEWORK = f"""\
  File "{Path(tracebacks.__file__).parent / "running/calling.py"}", line 69, in call_async
    return _returned(job_type, await job_type.call(context, parsed), context.result_url)
"""
LIBRARY = f"""\
  File "{json.__file__}", line 346, in loads
    return _default_decoder.decode(s)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^
"""


def a_traceback(folder: Path, *frames: str, raised: str = "ValueError: broken") -> str:
    own = f"""\
  File "{folder}/my jobs.py", line 7, in resize
    return 1 / 0
           ~~^~~
"""
    return f"Traceback (most recent call last):\n{''.join(frames).replace('OWN', own)}{raised}\n"


def shown(text: str, *, terminal: bool, **options: Any) -> str:
    if terminal:
        options = {"color_system": "standard", **options}
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80, _environ={}, **options)
    return ForPeople(console)(None, "warning", {"event": "the handler raised", "exception": text, "job_id": "1"})


def test_a_traceback_stands_below_its_line_with_the_frameworks_frames_folded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = shown(a_traceback(tmp_path, FRAMEWORK * 2, "OWN", LIBRARY, FRAMEWORK), terminal=False)
    first, _, rest = text.partition("\n")
    assert first.split() == ["the", "handler", "raised", "job_id=1"]
    assert (
        rest
        == f"""\
  Traceback (most recent call last):
    [2 frames in headway]
    File "{tmp_path}/my jobs.py", line 7, in resize
      return 1 / 0
             ~~^~~
    File "{json.__file__}", line 346, in loads
      return _default_decoder.decode(s)
             ^^^^^^^^^^^^^^^^^^^^^^^^^^
    [1 frame in headway]
  ValueError: broken"""
    )


def test_in_a_terminal_the_authors_frames_stand_out_and_their_paths_are_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = shown(a_traceback(tmp_path, FRAMEWORK, "OWN", LIBRARY), terminal=True)
    lines = text.splitlines()[1:]
    assert lines[1] == "\x1b[2m    [1 frame in headway]\x1b[0m"
    link = f";file://{tmp_path}/my%20jobs.py#7\x1b\\\x1b[1mmy jobs.py\x1b[0m\x1b]8;;\x1b\\"
    assert lines[2].startswith('    File "\x1b]8;id=')
    assert link in lines[2]
    assert lines[2].endswith('", line 7, in \x1b[1mresize\x1b[0m')
    assert lines[5].startswith("\x1b[2m    File "), "a library's are dim"
    assert lines[-1] == "  \x1b[1;31mValueError\x1b[0m: broken"


def test_a_terminal_without_colors_gets_none(tmp_path: Path) -> None:
    text = shown(a_traceback(tmp_path, "OWN"), terminal=True, color_system=None)
    assert "\x1b" not in text
    assert "my jobs.py" in text


def test_the_servers_own_exception_keeps_all_its_frames(tmp_path: Path) -> None:
    text = shown(a_traceback(tmp_path, FRAMEWORK * 2, LIBRARY), terminal=False)
    assert text.count("running/calling.py") == 2
    assert "[" not in text


def test_exceptions_in_a_group_and_causes_are_all_there(tmp_path: Path) -> None:
    def fails() -> None:
        try:
            int("cause")
        except ValueError as error:
            raise ExceptionGroup("several", [ValueError("one"), OSError("two")]) from error

    with pytest.raises(ExceptionGroup) as caught:
        fails()
    text = "".join(traceback.format_exception(caught.value))
    assert shown(text, terminal=False).partition("\n")[2].splitlines() == [f"  {line}" for line in text.splitlines()]


def test_what_is_in_an_exceptions_text_can_neither_command_a_terminal_nor_pass_for_a_line(tmp_path: Path) -> None:
    raised = "ValueError: \x1b]0;title\x07\x9b31m\n2026-11-28T18:00:00Z [info     ] a forged line"
    for terminal in (False, True):
        text = shown(a_traceback(tmp_path, "OWN", raised=raised), terminal=terminal)
        assert "\\x1b]0;title\\x07\\x9b31m" in text
        assert text.splitlines()[-1] == "  2026-11-28T18:00:00Z [info     ] a forged line"


def test_a_line_of_several_lines_is_indented_and_holds_no_control_characters() -> None:
    text = ForPeople(Console(file=io.StringIO()))(None, "info", {"event": "one\ntwo\x1b[31m"})
    assert text == "one\n  two\\x1b[31m"


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "attempt ended", "job_id": "0199", "run_s": 0.001, "attempt": 1, "outcome": "completed"},
        {"event": "an event that is longer than its column of thirty", "reason": "it's full", "b": None, "a": "x=y"},
        {"event": "", "level": "critical", "tab": "a\tb", "empty": "", "quoted": '"', "list": ["a", 1]},
        {"event": 7, "level": "warning"},
        {"event": "of a library", "logger": "aiohttp.server", "level": "error"},
        {"event": "with a stack", "stack": "Stack:\n  here"},
    ],
)
def test_a_line_without_colors_is_what_structlog_would_write(fields: dict[str, Any]) -> None:
    line = {"timestamp": "2026-01-31T12:00:00.000001Z", "level": "info", **fields}
    structlogs = structlog.dev.ConsoleRenderer(colors=False)(None, "info", dict(line))
    assert ForPeople(Console(file=io.StringIO()))(None, "info", dict(line)) == structlogs


def test_the_fields_of_a_line_hold_no_control_characters_and_do_not_change_its_direction() -> None:
    odd = {"event": "said", "filename": "a\x1b[31m\u202eb\u2028c"}
    text = ForPeople(Console(file=io.StringIO()))(None, "info", odd)
    assert "a\\x1b[31m\\u202eb\\u2028c" in text


@contextmanager
def logging_to(stream: TextIO, log_format: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configured = structlog.get_config()
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        configure_logging(log_format)
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.configure(**configured)


def test_json_lines_have_every_traceback_in_one_field(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with logging_to(stream, "json", monkeypatch):
        structlog.get_logger().warning("from a child", traceback="Traceback\nValueError: one")
        try:
            int("two")
        except ValueError:
            structlog.get_logger().exception("caught")
            logging.getLogger("a.library").exception("caught by a library")
        structlog.get_logger().warning("long", traceback="x" * 100_000 + "ValueError: at the end")
        logging.getLogger("mine").warning("y" * 100_000)
    child, caught, library, long, line = (json.loads(line) for line in stream.getvalue().splitlines())
    assert child["exception"] == "Traceback\nValueError: one"
    assert "traceback" not in child
    assert caught["exception"].endswith("base 10: 'two'")
    assert library["exception"].endswith("base 10: 'two'")
    assert "50,082 characters are left out" in long["exception"]
    assert long["exception"].endswith("ValueError: at the end")
    assert len(long["exception"]) <= TRACEBACK_CHARS
    assert len(line["event"]) <= TRACEBACK_CHARS


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_log_that_cannot_be_written_is_no_error_of_what_logs(
    monkeypatch: pytest.MonkeyPatch, log_format: str
) -> None:
    with open("/dev/full", "w", buffering=1) as stream:  # noqa: PTH123 - as stderr is
        with logging_to(stream, log_format, monkeypatch), capturing(), capture(LogBuffer()):
            structlog.get_logger().error("from the server")
            logging.getLogger("a.library").error("from a library")
            print("from a handler")  # noqa: T201
        with suppress(OSError):
            stream.close()


def test_a_log_that_nobody_reads_any_more_is_no_error_of_what_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with logging_to(stream, "json", monkeypatch):
        stream.close()
        structlog.get_logger().error("from the server")


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_a_handler_raises_is_in_the_servers_log_over_several_lines(tmp_path: Path, kind: str) -> None:
    (tmp_path / "my_jobs.py").write_text(
        "from headway import BlockingContext, Context, job\n\n\n"
        f"@job('fails')\n{kind} fails(ctx: {'Context' if 'async' in kind else 'BlockingContext'}) -> None:\n"
        "    secret = 'sesame-42'\n    raise ValueError('broken')\n"
    )
    with ServerProcess(tmp_path / "data", "--jobs", str(tmp_path / "my_jobs.py"), from_scratch=True) as server:
        assert server.wait_for(server.submit("fails"))["status"] == "failed"
        assert server.stop() == 0
        log = server.log()
    assert "\x1b" not in log
    assert (
        f"""in headway]
    File "{tmp_path}/my_jobs.py", line 7, in fails
      raise ValueError('broken')
  ValueError: broken
"""
        in log
    )
    assert "sesame" not in log, "no local variables: they may be secret"
