"""The gate for text: what passes it can be stored, sent and shown, and has a limit.

Handlers' text is replaced and cut here, since nobody is there to be told. What names something in a request (a label,
say) is rejected instead, by the same definition of a control character.
"""

import re
from contextlib import suppress
from typing import Any, TextIO

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
CONTROLS = r"\x00-\x1f\x7f-\x9f"
"""C0, DEL and C1 (ECMA-48), for a class of a regular expression in Python or JavaScript."""

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # colors, movements of the cursor
    r"|(?:\x1b[]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)"  # titles, links, device strings
    r"|\x1b[ -/]*+[0-~]"
)
"""Sequences that a terminal obeys (ECMA-48, 5.4 to 5.6)."""
_NEWLINE = re.compile(r"\r\n?")
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and lone surrogates, which UTF-8 cannot hold."""
DIRECTIONS = r"\u202a-\u202e\u2066-\u2069"
"""What changes the direction of text (Unicode, UAX #9, 2), for a class of a regular expression."""
_DIRECTION = re.compile(f"[{DIRECTIONS}]")
_SPACE = re.compile(r"[\t-\r\u2028\u2029]+")


def clean_text(text: str, most: int, *, lines: bool = False, already_cut: int = 0) -> str:
    """`text` with at most `most` characters; if it was longer, its end says so. Cutting comes first, so it is cheap.

    `already_cut`: the characters that it has lost before.

    Escape sequences are removed. Other control characters, and lone surrogates, become U+FFFD. Line breaks and tabs
    stay with `lines`, where a line break is always LF; otherwise they become spaces.
    """
    if already_cut or len(text) > most:
        note = f"… (cut from {len(text) + already_cut:,} characters)"
        return _clean(text[: most - len(note)], lines=lines) + note
    return _clean(text, lines=lines)


def terminal_text(text: str, most: int) -> str:
    """`text` as one line for a terminal: as `clean_text` makes it, and with changes of direction written out.

    A terminal that knows them would show the characters of a line in another order (CVE-2021-42574, "Trojan Source").
    """
    return _DIRECTION.sub(lambda found: f"\\u{ord(found[0]):04x}", clean_text(text, most))


def spoken(value: object) -> str:
    """`value` as text, whatever its `__str__` does; empty if that raises."""
    try:
        return str.__str__(value if isinstance(value, str) else str(value))  # not of a subclass
    except BaseException:  # noqa: BLE001 - it is the author's, and nothing may be raised where an end is made
        return ""


def _clean(text: str, *, lines: bool) -> str:
    if text.isprintable():
        return text
    text = _ESCAPES.sub("", text)
    text = _NEWLINE.sub("\n", text) if lines else _SPACE.sub(" ", text)
    return _ODD.sub(REPLACEMENT, text)


class LogStream:
    """Writes to a stream, and raises nothing: lines that cannot be written are lost, and what logs them goes on.

    The disk may be full, or the program that reads the log gone. Neither is a reason for a server to stop, or for a job
    to fail. `logging` would report the error on stderr, where it is logged again, and structlog raises it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # a closed file is a `ValueError`
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
