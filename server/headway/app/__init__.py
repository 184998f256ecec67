"""The server as an object. This room alone names concrete adapters: it opens them in order and closes them in reverse.

A second backend, another store of files or another way to run jobs is chosen here and nowhere else. Its names are
loaded when they are first used (PEP 562): `preparing` is for a process that has not imported the rest yet.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .headway import Headway
    from .offline import operate
    from .rooms import Rooms, opened

__all__ = ["Headway", "Rooms", "opened", "operate"]

_HOMES = {"Headway": ".headway", "Rooms": ".rooms", "opened": ".rooms", "operate": ".offline"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)
