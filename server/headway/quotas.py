"""Quotas: how much an owner may keep, queue and run, and how much may be submitted with one API key."""

import re
from typing import Literal, NamedTuple, Self

Measure = Literal["jobs", "bytes", "queued", "running"]
"""What a quota limits."""
Holder = Literal["owner", "key"]
"""Whose quota it is."""

_NUMBER = re.compile(r"(\d{1,15})(?:(?P<unit>[KMGT])(?P<binary>i?)B)?")
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}
_FORM = "must be like jobs=1000,bytes=5GB,queued=100,running=4, with any of the four; or none"


class Quota(NamedTuple):
    """The limits; `None`: there is none."""

    jobs: int | None = None
    """Jobs in the record, whatever their state."""
    bytes: int | None = None
    """What these jobs keep: inputs, uploads, results, output files, log lines, and checkpoints until they end."""
    queued: int | None = None
    running: int | None = None
    """Jobs that run at once. Others stay queued until one of these ends; nothing is refused."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The quota in an operator's words: `jobs=1000,bytes=5GB`, or `none`. Raises `ValueError`."""
        limits: dict[str, int] = {}
        for part in [] if text.strip() in ("", "none") else text.split(","):
            name, _, value = map(str.strip, part.partition("="))
            number = _NUMBER.fullmatch(value)
            if name not in cls._fields or name in limits or number is None or (number["unit"] and name != "bytes"):
                raise ValueError(_FORM)
            step = 1024 if number["binary"] else 1000
            limits[name] = int(number[1]) * step ** _POWERS.get(number["unit"], 0)
        return cls(**limits)

    def __str__(self) -> str:
        limits = [f"{name}={limit}" for name, limit in self._asdict().items() if limit is not None]
        return ",".join(limits) or "none"


NO_QUOTA = Quota()


class Used(NamedTuple):
    """How much of each quota is used."""

    jobs: int = 0
    bytes: int = 0
    queued: int = 0
    running: int = 0


class Account(NamedTuple):
    """The quota of an owner or a key, and how much of it is used."""

    quota: Quota
    used: Used


def utf8_bytes(text: str) -> int:
    """The length of the text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())
