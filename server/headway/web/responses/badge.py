"""A job as a small picture: a badge with its label and its state, for pages and documents that run no script."""

import re
import unicodedata
from html import escape

from ...domain.jobs import Job, Status
from ...service.options import MAX_LABEL_CHARS
from ...text import DIRECTIONS, clean_text

MAX_CHARS = 48
"""Of the label; a longer one is cut."""
CHAR_WIDTH, PADDING, HEIGHT = 7, 8, 20
"""In pixels. The text is fitted to its width, since the reader's font is not known."""

COLORS = {
    Status.QUEUED: "#57606a",
    Status.RUNNING: "#0a5ec2",
    Status.COMPLETED: "#1a6e33",
    Status.FAILED: "#b3202b",
    Status.CANCELLED: "#57606a",
}
"""White text has a contrast of more than 4.5 on each (WCAG 2.2, 1.4.3)."""

_UNFIT = re.compile(rf"[{DIRECTIONS}\ufffe\uffff]")
"""What would turn the text around, and what XML cannot hold (XML 1.0, 2.2)."""


def badge(job: Job) -> str:
    """The badge as SVG 1.1. It has attributes but no styles, which the policy of data would forbid."""
    name = _cut(_UNFIT.sub("", clean_text(job.label or "", MAX_LABEL_CHARS)).strip() or job.type)
    percent = job.progress.percent if job.status is Status.RUNNING else None
    state = job.status.value if percent is None else f"{percent:.1f}%"
    left, right = _width(name) + 2 * PADDING, _width(state) + 2 * PADDING
    bar = "" if percent is None else _rectangle(left, HEIGHT - 3, right * percent / 100, 3, "#9fd0ff")
    width, title = left + right, escape(f"{name}: {state}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}" viewBox="0 0 {width} {HEIGHT}" '
        f'role="img" aria-label="{title}"><title>{title}</title>'
        f'<clipPath id="r"><rect width="{width}" height="{HEIGHT}" rx="3"/></clipPath><g clip-path="url(#r)">'
        f"{_rectangle(0, 0, left, HEIGHT, '#3d444d')}{_rectangle(left, 0, right, HEIGHT, COLORS[job.status])}{bar}</g>"
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{_text(PADDING, name)}{_text(left + PADDING, state)}</g></svg>"
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[: MAX_CHARS - 1]}…"


def _rectangle(x: int, y: int, width: float, height: int, color: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width:g}" height="{height}" fill="{color}"/>'


def _text(x: int, text: str) -> str:
    return f'<text x="{x}" y="14" textLength="{_width(text)}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'


def _width(text: str) -> int:
    """Combining characters take no room, and wide ones (UAX 11) that of two."""
    columns = sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
    return max(columns, 1) * CHAR_WIDTH
