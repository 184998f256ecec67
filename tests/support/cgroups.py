"""A cgroup of version 2 that is delegated to tests, where they may make one."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from headway.running.cgroups.cgroup import Cgroup
from headway.running.cgroups.delegation import own_cgroup

MOVE = 'echo 0 > "$0/cgroup.procs" && exec "$@"'


@contextmanager
def delegated(*, marked: bool = True) -> Iterator[Path]:
    """A cgroup, with the mark that systemd sets on those that it delegates. Skips the test where none can be made."""
    own = own_cgroup()
    try:
        path = Path(tempfile.mkdtemp(prefix="tests-of-headway-", dir=None if own is None else own.path))
        if not (path / "cgroup.kill").exists():
            path.rmdir()
            pytest.skip("there is no cgroup v2, or it is older than Linux 5.14")
        if marked:
            os.setxattr(path, "user.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error.strerror}")
    yield path
    Cgroup(path).end()


def moved_into(cgroup: Path, command: Sequence[str]) -> list[str]:
    """A command line that runs `command` in a cgroup."""
    return ["/bin/sh", "-c", MOVE, str(cgroup), *command]
