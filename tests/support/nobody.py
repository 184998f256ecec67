"""Acting as another user than root, whose rights nothing limits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def as_nobody() -> Iterator[None]:
    """The whole process, if the tests run as root. Paths below directories that are private to root do not work."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def give_to_nobody(root: Path) -> None:
    """If the tests run as root, whose rights nothing limits."""
    if os.geteuid() == 0:
        for path in (root, *root.rglob("*")):
            os.chown(path, NOBODY, -1)
