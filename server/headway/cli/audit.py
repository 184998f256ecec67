"""`headway audit`"""

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from ..clock import utc_now
from ..domain.audit import OK, Action
from ..errors import SetupError
from ..text import terminal_text
from .operator import ask_server, operate
from .options import DataDir, seconds
from .printing import LINE_CHARS, fail

WAIT_S = 20
RESTARTING_S = 1.0
PAGE = 500
KEY_ID_CHARS = 8


def audit(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line, with all fields.")] = False,
    owner: Annotated[str | None, typer.Option(help="Only what was done to this owner's jobs and keys.")] = None,
    actor: Annotated[
        str | None, typer.Option(help="Only what this owner, key id or kind of actor did: operator, local, ….")
    ] = None,
    action: Annotated[Action | None, typer.Option(help="Only this action.")] = None,
    since: Annotated[str | None, typer.Option(help="All since then: '2h', '7d', or 2026-03-01T12:00:00Z.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=PAGE, help="Without --since: how many of the newest.")] = 50,
    data_dir: DataDir = None,
) -> None:
    """Print who did what, from where, when, and with what outcome. Works while a server runs, too."""
    wanted = {"owner": owner, "actor": actor, "action": action, "since": _since(since)}
    lines = Lines()
    try:
        for entry in _entries(data_dir, wanted, None if since else limit, follow=follow):
            for line in [json.dumps(entry)] if as_json else lines.of(entry):
                print(line, flush=True)  # noqa: T201
    except KeyboardInterrupt:
        raise SystemExit(0) from None


def _entries(
    data_dir: str | None, wanted: dict[str, Any], limit: int | None, *, follow: bool
) -> Iterator[dict[str, Any]]:
    """The entries that are there, then with `follow` those that are added, over restarts of the server."""
    if limit is None:
        after, left = 0, True
        while left:
            answer = operate(data_dir, "audit", wanted | {"after": after, "limit": PAGE})
            after, left = answer["after"], bool(answer["entries"])
            yield from answer["entries"]
    else:
        answer = operate(data_dir, "audit", wanted | {"limit": limit})
        after = answer["after"]
        yield from answer["entries"]
    while follow:
        try:
            answer = ask_server(data_dir, "audit", wanted | {"after": after, "limit": PAGE, "wait_s": WAIT_S})
        except SetupError:  # no server, or one that is stopping
            time.sleep(RESTARTING_S)
            continue
        after = answer["after"]
        yield from answer["entries"]


def _since(text: str | None) -> str | None:
    """The instant, as the server takes it. Exits if `text` is none."""
    if text is None:
        return None
    if re.fullmatch(r"[\d.]+[smhd]", text):
        return (utc_now() - timedelta(seconds=seconds(text, "--since"))).isoformat()
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        fail("--since: write a number and a unit, like 90s, 2h or 7d, or an instant like 2026-03-01T12:00:00Z")
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat()


class Lines:
    """Entries as lines for people: a heading for each day (UTC), then time, who, from where, and what."""

    def __init__(self) -> None:
        self._day = ""

    def of(self, entry: dict[str, Any]) -> Iterator[str]:
        day, clock = entry["at"][:10], entry["at"][11:19]
        if day != self._day:
            self._day = day
            yield f"{day} (UTC)"
        line = f"{clock}  {_who(entry):<16}  {entry['address'] or '-':<15}  {_what(entry)}".rstrip()
        yield terminal_text(line, LINE_CHARS)


def _who(entry: dict[str, Any]) -> str:
    if entry["actorOwner"] is None:
        return str(entry["actor"])
    return f"{entry['actorOwner']}/{(entry['keyId'] or '')[:KEY_ID_CHARS]}"


def _what(entry: dict[str, Any]) -> str:
    words = [entry["action"], entry["jobType"], entry["subject"]]
    if entry["subject"] is None and entry["owner"] not in (None, entry["actorOwner"]):
        words.append(f"of {entry['owner']}")
    words.append(entry["detail"])
    if entry["outcome"] != OK:
        words.append(f"-> {entry['outcome']}")
    if entry["times"] > 1:
        words.append(f"({entry['times']:,} more like this)")
    return " ".join(word for word in words if word)
