"""`headway show`"""

import json
from typing import Any

from ...client import Job, JobState
from ..printing import OF_STATUS, has_colors, painted, show, show_json, write
from .connecting import connected
from .options import AsJson, Ids, Url, ids_of
from .wording import amount, duration, percent, reason, size

NAME_CHARS = 10
MOST_JSON_CHARS = 300
MOST_FILES = 10


def show_jobs(ids: Ids, url: Url = None, as_json: AsJson = False) -> None:
    """Show jobs with all that is known of them.

    --json prints the whole object, as the HTTP guide describes it.
    """
    with connected(url) as client:
        for number, job_id in enumerate(ids_of(ids)):
            job = client.get(job_id)
            if as_json:
                show_json(job.state.raw)
                continue
            if number:
                show("")
            _show(job)


def _show(job: "Job[Any]") -> None:
    for name, value in _lines(job.state):
        if value:
            show_field(name, value)


def show_field(name: str, value: str) -> None:
    line = f"{name:>{NAME_CHARS}}  {value}"
    if name == "status" and has_colors():
        write(painted(line, OF_STATUS[value]))
    else:
        show(line)


def _lines(state: JobState) -> list[tuple[str, str]]:
    return [
        ("id", state.id),
        ("type", state.type),
        ("label", state.label or ""),
        ("status", state.status),
        ("", "a cancel was requested" if state.cancel_requested and not state.ended else ""),
        ("reason", reason(state)),
        ("progress", _progress(state)),
        ("message", state.message or ""),
        ("step", state.step or ""),
        ("attempt", f"{state.attempt} of at most {state.max_attempts}" if state.attempt else ""),
        ("submitted", _instant(state, "createdAt")),
        ("runs at", _instant(state, "runAt") if state.status == "queued" else ""),
        ("started", _instant(state, "startedAt")),
        ("ended", _instant(state, "completedAt")),
        ("expires", _instant(state, "expiresAt")),
        ("repeats", state.retry_of or ""),
        ("metadata", ", ".join(f"{name}={text}" for name, text in state.metadata.items())),
        ("input", _json(state.input)),
        ("result", _json(state.result)),
        *(("file", f"{file.name}  {size(file.size_bytes)}") for file in state.files[:MOST_FILES]),
        ("", f"and {state.files_total - MOST_FILES:,} more files" if state.files_total > MOST_FILES else ""),
    ]


def _progress(state: JobState) -> str:
    parts = [percent(state)]
    if state.done is not None:
        of = "" if state.total is None else f" of {amount(state.total)}"
        parts.append(f"{amount(state.done)}{of} {state.unit or ''}".rstrip())
    if state.rate_per_second is not None and not state.ended:
        parts.append(f"{amount(round(state.rate_per_second, 1))}/s")
    if state.eta_s is not None:
        parts.append(f"{duration(state.eta_s)} left")
    return ", ".join(part for part in parts if part)


def _instant(state: JobState, name: str) -> str:
    text = state.raw.get(name) or ""
    return text.replace("T", " ").partition(".")[0] + " UTC" if text.endswith("Z") else text


def _json(value: Any) -> str:
    if value is None or value == {}:
        return ""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_JSON_CHARS else f"{text[:MOST_JSON_CHARS]}… (all of it with --json)"
