"""Whether the cgroup that this process is in has been delegated to it: may it have children there?

Sources: cgroups(7) and the kernel's cgroup-v2, "Delegation"; systemd's CGROUP_DELEGATION; proc_pid_mountinfo(5).
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_SELF = Path("/proc/self")
_MARKS = ("user.delegate", "trusted.delegate")
"""What systemd sets on the cgroup of a unit with `Delegate=yes`. Others must not make cgroups below its units."""


class OwnCgroup(NamedTuple):
    """The cgroup that this process is in."""

    path: Path
    """Its directory."""
    is_root_of_namespace: bool
    """Whether this process sees none above, as in a container."""


def delegated_cgroup() -> Path | None:
    """The directory of this process's own cgroup, if it is delegated to it and can be written."""
    own = own_cgroup()
    if own is None:
        return None
    path = own.path
    # Linux has `cgroup.kill` since 5.14, and never at the root of the hierarchy.
    if not (path / "cgroup.kill").exists() or not os.access(path, os.W_OK | os.X_OK):
        return None
    return path if own.is_root_of_namespace or _is_given_to_user(path) or _is_marked(path) else None


def own_cgroup() -> OwnCgroup | None:
    """The cgroup of version 2 that this process is in, where that can be seen."""
    try:
        lines = (_SELF / "cgroup").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    names = [line.removeprefix("0::") for line in lines if line.startswith("0::")]
    for name in names:
        for root, mounted_at in _mounts():
            with suppress(ValueError, OSError):
                path = mounted_at / PurePosixPath(name).relative_to(root)
                if str(os.getpid()) in (path / "cgroup.procs").read_text("ascii").split():
                    return OwnCgroup(path, name == "/")
    return None


def _mounts() -> Iterator[tuple[str, Path]]:
    """Where hierarchies of version 2 are mounted: the cgroup that is the root of the mount, and the directory."""
    for line in (_SELF / "mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            root, mounted_at = before.split()[3:5]
            yield root, Path(_unescaped(mounted_at))


def _unescaped(text: str) -> str:
    for character in " \t\n\\":
        text = text.replace(f"\\{ord(character):03o}", character)
    return text


def _is_given_to_user(path: Path) -> bool:
    """Whether the user owns it, and not what is above: the cgroups of a desktop belong to the user's own systemd."""
    user = os.geteuid()
    return user != 0 and path.stat().st_uid == user and path.parent.stat().st_uid != user


def _is_marked(path: Path) -> bool:
    for name in _MARKS:
        with suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False
