"""No secret stands in any log: every server's is read when the server is over, and whatever tests' own parts said.

A finding fails the test in whose time it was said, so it fails the run, also where several workers share it.
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

scanned = {"servers' logs": 0, "tests' output": 0}


def secrets_in(text: str) -> list[str]:
    """Lines with what looks like a secret, each cut off where the secret's value begins to tell."""
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
    assert not found, "a secret stands in a server's log:\n" + "\n".join(found[:10])
