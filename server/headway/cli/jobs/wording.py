"""Jobs, times and amounts in words that fit a terminal's line."""

from datetime import UTC, datetime

from ...client import JobState

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
SHORT_ID_CHARS = 6
KIB = 1024


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 10:  # noqa: PLR2004 - below it, tenths matter
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def age(at: datetime | None) -> str:
    """How long ago an instant was, in its largest unit: `5s`, `3m`, `2h`, `4d`."""
    if at is None:
        return "-"
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "m")):
        if seconds >= unit_s:
            return f"{seconds // unit_s}{unit}"
    return f"{seconds}s"


def size(size_bytes: float) -> str:
    """`512 B`, `1.4 KiB`, `20.0 MiB`."""
    if size_bytes < KIB:
        return f"{size_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size_bytes /= KIB
        if size_bytes < KIB:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / KIB:.1f} TiB"


def percent(state: JobState) -> str:
    """The progress in whole percent, rounded down; empty while it is not known."""
    return "" if state.progress is None else f"{int(state.progress)}%"


def amount(number: float) -> str:
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"


def details(state: JobState) -> str:
    """What a job does, or how it has ended, in one line."""
    if state.status == "queued":
        return "queued" if state.queue_position is None else f"queued, position {state.queue_position:,}"
    if state.ended:
        return outcome(state)
    parts = []
    if state.done is not None and state.total is not None:
        parts.append(f"{amount(state.done)}/{amount(state.total)}{f' {state.unit}' if state.unit else ''}")
    elif state.done is not None:
        parts.append(f"{amount(state.done)}{f' {state.unit}' if state.unit else ''}")
    if state.eta_s is not None:
        parts.append(f"{duration(state.eta_s).replace('.0', '')} left")
    if state.cancel_requested:
        parts.append("cancelling")
    if text := state.message or state.step:
        parts.append(text)
    return " · ".join(parts) or "running"


def outcome(state: JobState) -> str:
    """How a job has ended, after how long, and why if it failed."""
    took = ""
    if state.started_at is not None and state.completed_at is not None:
        took = f" after {duration((state.completed_at - state.started_at).total_seconds())}"
    if state.error is None:
        return f"{state.status}{took}"
    return f"{state.status}{took}: {reason(state)}"


def reason(state: JobState) -> str:
    """Why a job has failed."""
    error = state.error
    if error is None:
        return ""
    return f"{error.title}: {error.detail}" if error.detail else error.title


def names_of(states: list[JobState]) -> dict[str, str]:
    """A short name for each job by its id: label or type, and the end of the id where that is not enough."""
    plain = {state.id: state.label or state.type for state in states}
    seen = list(plain.values())
    return {id: name if seen.count(name) == 1 else f"{name} {id[-SHORT_ID_CHARS:]}" for id, name in plain.items()}
