"""`headway login`"""

import getpass
import sys
from typing import Annotated

import typer

from ...client import Client
from ..jobs.connecting import SHORT_RETRY_S, find_server
from ..jobs.logins import Logins
from ..jobs.options import AsJson, Quiet
from ..jobs.statuses import refusals
from ..printing import fail, show, show_json


def login(
    url: Annotated[str | None, typer.Argument(metavar="[URL]", help="The server, if it is not the usual one.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Delete the login.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Log in at a server, for the commands to come.

    Asks for the API key, or reads it from stdin without a terminal. It is checked, and kept in the system's keyring if
    the package keyring is installed, else in a file that only you can read. --quiet prints nothing.
    """
    with refusals():
        place = find_server(url)
        with Client(place.url, place.api_key) as client:
            server = client.url
        fields, line = _forgotten(server) if forget else _logged_in(server)
    if as_json:
        show_json({"url": server, **fields})
    elif not quiet:
        show(f"{server}: {line}")


def _forgotten(server: str) -> tuple[dict[str, object], str]:
    known = Logins().forget(server)
    return {"forgotten": known}, "the login was deleted" if known else "there is no login"


def _logged_in(server: str) -> tuple[dict[str, object], str]:
    key = getpass.getpass(f"API key for {server}: ") if sys.stdin.isatty() else sys.stdin.readline()
    key = key.strip() or fail("there is no key: an operator makes one with `headway keys create`")
    with Client(server, key, retry_for_s=SHORT_RETRY_S) as client:
        owner = client.whoami()["owner"]
    where = Logins().remember(server, key)
    return {"owner": owner, "keptIn": where}, f"logged in as {owner}; the key is in {where}"
