"""Calling a handler: how its input is parsed, its result encoded, its errors described."""

from typing import Any

from pydantic import ValidationError

MAX_RESULT_BYTES = 16 * 1024 * 1024


def invalid_input(error: ValidationError) -> dict[str, Any]:
    """The stored input no longer fits the handler's model: the words for `JobFailed`."""
    return {
        "type": "invalid-input",
        "title": "The stored input does not fit the job type any more",
        "detail": _first(error),
        "status": 422,
    }


def invalid_output(error: ValidationError) -> dict[str, Any]:
    """The handler returned something else than it declared: the words for `JobFailed`."""
    return {
        "type": "invalid-output",
        "title": "The handler returned something else than it declares",
        "detail": _first(error),
        "status": 500,
    }


def result_too_large() -> dict[str, Any]:
    """The return value is over the limit: the words for `JobFailed`."""
    return {
        "type": "invalid-output",
        "title": "The result is too large",
        "detail": f"It is over {MAX_RESULT_BYTES:,} bytes: write a file into ctx.output_dir instead.",
        "status": 500,
    }


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'/'.join(str(part) for part in first['loc'])}: {first['msg']}"


def describe(error: BaseException) -> str:
    """An exception in one line, for clients: its class and message, never a traceback."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__
