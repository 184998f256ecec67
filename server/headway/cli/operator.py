"""Commands on a data directory, carried out by the server that owns it or, without one, in this process."""

import asyncio
from typing import Any

from ..errors import HeadwayError
from .options import make_settings
from .printing import fail


def operate(data_dir: str | None, command: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The command's answer. Exits with a line for the operator if it cannot be carried out."""
    from ..app import operate as carry_out  # noqa: PLC0415 - aiohttp and the adapters: `--help` is quick without them
    from ..logs import configure_logging  # noqa: PLC0415

    configure_logging("console")
    try:
        return asyncio.run(carry_out(make_settings(data_dir=data_dir), command, fields))
    except HeadwayError as error:
        fail(str(error))


def ask_server(data_dir: str | None, command: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The answer of the server that owns the directory, as `operate` gives it. Raises `SetupError` without one.

    It blocks, so that Ctrl-C ends it at once.
    """
    from ..app.offline import ask_owner  # noqa: PLC0415 - `--help` is quick without it

    return ask_owner(make_settings(data_dir=data_dir), command, fields)
