"""The server as an object. This room alone names concrete adapters: it opens them in order and closes them in reverse.

A second backend, another store of files or another way to run jobs is chosen here and nowhere else.
"""

from .headway import Headway
from .offline import operate
from .rooms import Rooms, opened

__all__ = ["Headway", "Rooms", "opened", "operate"]
