"""The header `Prefer` (RFC 7240), of which the server knows one preference: `wait`.

A preference may be ignored, so unknown and malformed ones are, and a longer wait than the server grants is shortened.
`Preference-Applied` reports what was done. The waiting itself is `wait_for_job`, for polls and submissions alike.
"""

import re

from aiohttp import web
from multidict import istr

PREFER = istr("Prefer")

# One element of the list. An unterminated quote extends to the end, so that each character is examined once.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
_WAIT = re.compile(r"[ \t]*wait[ \t]*(?:[=;].*)?", re.DOTALL | re.IGNORECASE)
_WAIT_S = re.compile(r'[^=;]*=[ \t]*("?)0*(\d{1,9})\1[ \t]*(?:;.*)?', re.DOTALL | re.ASCII)


def preferred_wait_s(request: web.BaseRequest, most_s: int) -> int | None:
    """The seconds that the client is willing to wait, at most `most_s`; `None` without that preference.

    The first one counts (RFC 7240, 2); seconds are whole numbers (4.3).
    """
    for element in _ELEMENT.findall(", ".join(request.headers.getall(PREFER, ()))):
        if _WAIT.fullmatch(element):
            found = _WAIT_S.fullmatch(element)
            return None if found is None else min(int(found[2]), most_s)
    return None


def applied_wait(wait_s: int) -> dict[str, str]:
    """The header that reports how long the server was willing to wait (RFC 7240, 3)."""
    return {"Preference-Applied": f"wait={wait_s}"}
