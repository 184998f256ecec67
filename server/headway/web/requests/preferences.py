"""What a client would like, if it can be had: the header `Prefer` (RFC 7240). The one that is known is `wait`.

A preference is no demand: what is unknown or malformed is ignored, and a longer wait than the server grants is
the longest that it does. `Preference-Applied` says what became of it. The waiting itself is `wait_for_job`,
for polls and for submissions alike.
"""

import re

from aiohttp import web
from multidict import istr

PREFER = istr("Prefer")

# One element of the list. A quote that nothing ends takes in the rest, so each character is looked at once.
_ELEMENT = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+', re.DOTALL)
_WAIT = re.compile(r"[ \t]*wait[ \t]*(?:[=;].*)?", re.DOTALL | re.IGNORECASE)
_WAIT_S = re.compile(r'[^=;]*=[ \t]*("?)0*(\d{1,9})\1[ \t]*(?:;.*)?', re.DOTALL | re.ASCII)


def preferred_wait_s(request: web.BaseRequest, most_s: int) -> int | None:
    """The seconds for which the client is ready to wait, at most `most_s`; `None` if it does not say so.

    If it says so twice, the first counts (RFC 7240, 2); seconds are whole ones (4.3).
    """
    for element in _ELEMENT.findall(", ".join(request.headers.getall(PREFER, ()))):
        if _WAIT.fullmatch(element):
            found = _WAIT_S.fullmatch(element)
            return None if found is None else min(int(found[2]), most_s)
    return None


def applied_wait(wait_s: int) -> dict[str, str]:
    """The header that says that the server was ready to wait so long (RFC 7240, 3)."""
    return {"Preference-Applied": f"wait={wait_s}"}
