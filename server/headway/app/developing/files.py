"""The files that job types are made of: where they are, and whether they are still as they were loaded."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

Contents = Mapping[Path, bytes]
"""A digest of each file; that of a missing one is empty."""


class JobFiles:
    """Those that were given or loaded. While they cannot be loaded, all Python files beside them matter, too."""

    def __init__(self, sources: Iterable[str]) -> None:
        """`sources` are the modules that were given, by name or path."""
        self._given = {file for source in sources for file in _file_of(source)}
        self._served: set[Path] = set()
        self._broken = False
        self._read: dict[Path, tuple[object, bytes]] = {}
        self._known: dict[Path, bytes] = {}

    def directories(self) -> set[Path]:
        """Where to watch for changes. A directory that is gone is none of them."""
        return {file.parent for file in self._files if file.parent.is_dir()}

    def contents(self) -> Contents:
        """What is in all files that may come to matter."""
        return {file: self._content(file) for file in self._files | self._beside()}

    def changed(self) -> set[Path]:
        """The files that matter and are not as they were at the last attempt to load them."""
        files = self._files | self._beside() | self._known.keys() if self._broken else self._files
        return {file for file in files if self._content(file) != self._known.get(file, b"")}

    def are_still(self, contents: Contents, loaded: Iterable[Path]) -> bool:
        """Whether these have been loaded as they are now."""
        files = (self._given | set(loaded)) & contents.keys()
        return all(self._content(file) == contents[file] for file in files)

    def were_loaded(self, contents: Contents, loaded: Iterable[Path]) -> None:
        """They were loaded with these contents, and are served."""
        self._served, self._broken = set(loaded), False
        self._attempted(contents)

    def were_broken(self, contents: Contents, loaded: Iterable[Path]) -> None:
        """They could not be loaded with these contents. `loaded` are those that were tried."""
        self._served, self._broken = self._served | set(loaded), True
        self._attempted(contents)

    def _attempted(self, contents: Contents) -> None:
        self._known = {file: self._content(file) for file in self._files} | dict(contents)

    @property
    def _files(self) -> set[Path]:
        return self._given | self._served

    def _beside(self) -> set[Path]:
        return {file for directory in self.directories() for file in directory.glob("*.py")}

    def _content(self, file: Path) -> bytes:
        """A digest of what is in a file. It is read only if the system says that it may have changed."""
        try:
            found = file.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_ctime_ns)
            known, digest = self._read.get(file, (None, b""))
            if known != stamp:
                digest = hashlib.sha256(file.read_bytes()).digest()
                self._read[file] = (stamp, digest)
        except OSError:  # deleted, or on its way to be replaced
            self._read.pop(file, None)
            return b""
        return digest


def _file_of(source: str) -> list[Path]:
    """The file of a source that is a path. Those that are names are found when they have been loaded."""
    if not source.endswith((".py", ".json")) and "/" not in source:
        return []
    path = Path(source).resolve()
    return [path / "__init__.py" if path.is_dir() else path]
