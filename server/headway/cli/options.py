"""What several commands take, and how a wrong value is refused: one line on stderr and exit code 2."""

import re
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ..errors import SetupError
from ..settings import DAY_S, PREFIX, Settings
from .printing import fail

LONGEST_S = 36_500 * DAY_S
"""A century. Python's clock begins in the year 1."""

DataDir = Annotated[str | None, typer.Option(help="The server's data directory. (default: headway-data)")]


def make_settings(**given: Any) -> Settings:
    """The settings, with the flags that were given. Exits if one is out of range or no longer exists."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except SetupError as error:
        fail(str(error))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        source = f"{PREFIX}{name.upper()}" if given.get(name) is None else f"--{name.replace('_', '-')}"
        fail(f"{source}: {first['msg'].removeprefix('Value error, ')}")


def seconds(text: str, option: str) -> float:
    """Seconds of '90s', '15m', '12h' or '30d'. Exits if `text` is none of these."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        fail(f"{option}: write a number and a unit, like 90s, 15m, 12h or 30d")
    given_s = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]
    if given_s > LONGEST_S:
        fail(f"{option}: at most {LONGEST_S // DAY_S}d")
    return given_s
