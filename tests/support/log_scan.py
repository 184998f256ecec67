"""Checks that no secret is logged: reads each server's log when it has ended, and everything that a test wrote itself.

A secret fails the test during which it was logged, and with it the run, also when several workers share the run.
"""

import re

SECRETS = re.compile(
    r"""
      hw[a-z]_ [A-Za-z0-9_-]{16,}                                    # keys, sessions, tickets
    | whsec_ [A-Za-z0-9+/=_-]{16,}                                   # secrets of webhooks
    | \b (?:bearer|basic) \s+ [A-Za-z0-9._~+/-]{12,}                    # credentials (RFC 9110, 11.4)
    | \b (?:proxy-)? authorization ["']? \s* [:=,] \s* ["'(]* [a-z]+ \s+ \S{8,}
    | \b (?:set-)? cookie ["']? \s* [:=,] \s* ["'(]* [\w!#$%&'*+.^`|~-]+ = [^\s"';,]{8,}
    """,
    re.IGNORECASE | re.VERBOSE,
)
SHOWN_CHARS = 12

_RAISED_BY_A_HANDLER = re.compile(r"the handler raised.*?(?=\n\S|\Z)", re.DOTALL)
"""A line of the log, with the traceback that stands indented below it."""

scanned = {"servers' logs": 0, "tests' output": 0}


def secrets_in(text: str) -> list[str]:
    """Return the lines that hold what looks like a secret, each cut off before it gives the secret away."""
    found = []
    for line in text.splitlines():
        match = SECRETS.search(line)
        if match is not None:
            found.append(f"{line[: match.start()][-200:]}{match[0][:SHOWN_CHARS]}...")
    return found


def check_log(text: str) -> None:
    """Raises `AssertionError` if a server's log holds a secret."""
    scanned["servers' logs"] += 1
    found = secrets_in(text)
    assert not found, "a server's log holds a secret:\n" + "\n".join(found[:10])


def without_handlers_exceptions(log: str) -> str:
    """A server's log without what its handlers raised: a traceback that is left is the server's own."""
    return _RAISED_BY_A_HANDLER.sub("", log)
