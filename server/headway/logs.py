"""Logging: structlog on stderr, for people or as JSON lines, the standard library's loggers included."""

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import structlog
from rich.console import Console
from rich.style import Style
from rich.text import Text

from .text import LogStream
from .tracebacks import Folded, Frame, Origin, folded, formatted, place, shortened

OF_RECORDS = ("attempt", "job_id")
"""Attributes of a record that its line has: a child process adds them."""
INDENT = "  "
"""Before every line that belongs to the one above, so that no exception's text can pass for a line of the log."""

HEAD = frozenset({"timestamp", "level", "event"})
MORE_THAN_PLAIN = frozenset({"logger", "logger_name", "stack", "exc_info", "exception"})
"""Fields that structlog shows in ways of their own."""

_DIM, _BOLD, _ERROR = Style(dim=True), Style(bold=True), Style(bold=True, color="red")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"} | {
    code: f"\\u{code:04x}" for code in (*range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
_QUOTED = re.compile(r"""[ \t=\r\n"']""")
_RAISED = re.compile(r"(?P<margin>[ |]*)(?P<type>[\w.<>]+)(?P<text>.*)")


def configure_logging(log_format: str, processors: Sequence[structlog.typing.Processor] = ()) -> None:
    """Log to stderr. `log_format`: `console`, for people, or `json`, one object per line.

    `processors` add to each line what other rooms know about it, such as the id of the request.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        *processors,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _bounded,
    ]
    renderer = structlog.processors.JSONRenderer() if log_format == "json" else ForPeople(Console(file=sys.stderr))
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder(OF_RECORDS), *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    stream: Any = LogStream(sys.stderr)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.set_name("headway")  # by which `authoring.capturing` knows it
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    structlog.configure(  # not through the standard library's loggers, which would take twice as long for each line
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )


def _formatted(exc_info: structlog.typing.ExcInfo) -> str:
    return formatted(exc_info[1]).rstrip("\n")


_with_exception = structlog.processors.ExceptionRenderer(_formatted)


def _bounded(
    logger: structlog.typing.WrappedLogger, method: str, fields: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Every traceback under one name, an exception's own or the text that a child process sent. No text is endless."""
    if "exc_info" in fields:
        fields = _with_exception(logger, method, fields)
    text = fields.pop("traceback", None) or fields.get("exception")
    if isinstance(text, str):
        fields["exception"] = shortened(text)
    event = fields.get("event")
    if isinstance(event, str):
        fields["event"] = shortened(event)
    return fields


class ForPeople:
    """Renders a line and, below it, the traceback that belongs to it."""

    def __init__(self, console: Console) -> None:
        """`console` decides about colors and links: those that its terminal has and its user wants (`NO_COLOR`)."""
        self._console = console
        self._colors = console.color_system is not None and not console.no_color
        self._render = structlog.dev.ConsoleRenderer(
            colors=self._colors, exception_formatter=structlog.dev.plain_traceback
        )

    def __call__(self, logger: structlog.typing.WrappedLogger, method: str, fields: structlog.typing.EventDict) -> str:
        if self._is_plain(fields) and (line := _plain(fields)).isprintable():
            return line  # nearly always
        traceback, below = fields.pop("exception", None), ""
        for name, value in fields.items():
            if isinstance(value, str) and not value.isprintable():
                fields[name] = _harmless(value)
        event = fields.get("event")
        if isinstance(event, str) and "\n" in event:
            fields["event"], *more = event.split("\n")
            below = "".join(f"\n{INDENT}{line}" for line in more)
        if isinstance(traceback, str):
            below += f"\n{self._rendered(_harmless(traceback))}"
        return f"{_plain(fields) if self._is_plain(fields) else self._render(logger, method, fields)}{below}"

    def _is_plain(self, fields: structlog.typing.EventDict) -> bool:
        return not self._colors and fields.keys() >= HEAD and MORE_THAN_PLAIN.isdisjoint(fields)

    def _rendered(self, traceback: str) -> str:
        text = Text("\n").join(self._lines(traceback))
        if not self._console.is_terminal:
            return text.plain
        with self._console.capture() as captured:
            self._console.print(text, soft_wrap=True, end="")
        return captured.get()

    def _lines(self, traceback: str) -> Iterator[Text]:
        below_frames = False
        for part in folded(traceback):
            match part:
                case Frame():
                    yield from self._frame(part)
                case Folded():
                    yield Text(f"{INDENT}{part.margin}  {part.text}", _DIM)
                case _:
                    yield _exception(part) if below_frames else Text(f"{INDENT}{part}")
            below_frames = not isinstance(part, str)

    def _frame(self, frame: Frame) -> Iterator[Text]:
        """Of the author's own frames, file and function stand out; those of libraries stay in the background."""
        style, standing_out = (Style(), _BOLD) if frame.origin is Origin.AUTHOR else (_DIM, _DIM)
        in_terminal = self._console.is_terminal
        shown = place(frame.filename, None) if in_terminal else frame.filename
        link = Style(link=f"file://{quote(frame.filename)}#{frame.line}") if in_terminal else Style()
        head = Text(f'{INDENT}{frame.margin}  File "', style)
        head.append(shown, standing_out + link).append(f'", line {frame.line}')
        if frame.function:
            head.append(", in ").append(frame.function, standing_out)
        yield head
        for line in frame.below:
            yield Text(f"{INDENT}{line}", style)


def _plain(fields: structlog.typing.EventDict) -> str:
    """What structlog's `ConsoleRenderer` makes of a line without colors, in half the time: each job has a line."""
    values = [
        f"{name}={value if isinstance(value, str) and not _QUOTED.search(value) else repr(value)}"
        for name, value in sorted(fields.items())
        if name not in HEAD
    ]
    head = f"{fields['timestamp']} [{fields['level']:<9}] {fields['event']!s:<30}"
    return " ".join([head, *values]).rstrip(" ")


def _exception(line: str) -> Text:
    """The line that says what was raised: its class stands out."""
    found = _RAISED.fullmatch(line)
    if found is None:
        return Text(f"{INDENT}{line}")
    return Text.assemble(f"{INDENT}{found['margin']}", (found["type"], _ERROR), found["text"])


def _harmless(text: str) -> str:
    """The text with control characters, and those that change its direction, written out.

    What is in it may come from anywhere, and terminals obey them.
    """
    return text.translate(_CONTROLS)
