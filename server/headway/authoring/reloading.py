"""Loading the author's modules again: all of them at once, as their files are now, beside those that still run.

A running handler keeps the objects of the modules that it began with. Libraries are not loaded again.
"""

import importlib
import linecache
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..tracebacks import Origin, origin
from .declaring import declarations, is_sample, put_declarations
from .job_types import JobType


@dataclass(frozen=True, slots=True)
class Generation:
    """The author's modules as they were loaded at one time, and what they have declared."""

    modules: Mapping[str, types.ModuleType]
    declarations: Mapping[tuple[str, bool], JobType]

    @property
    def files(self) -> set[Path]:
        """The files of the modules."""
        return {Path(file) for module in self.modules.values() if (file := _file_of(module)) is not None}


class AuthorsModules:
    """The modules that the author's files were loaded as: those that came after this was made, and are no library's."""

    def __init__(self) -> None:
        """To be made before the author's modules are loaded."""
        self._before = frozenset(sys.modules)

    def generation(self) -> Generation:
        """Those that can be imported now."""
        return Generation(self._own(), declarations())

    def put_away(self) -> None:
        """Let the next import of each load its file. Of its declarations only those of samples stay."""
        for name in self._own():
            del sys.modules[name]
        put_declarations({key: each for key, each in declarations().items() if is_sample(each.handler)})
        importlib.invalidate_caches()
        linecache.checkcache()

    def bring_back(self, generation: Generation) -> None:
        """Let imports find these modules, and no others of the author's."""
        for name in self._own():
            del sys.modules[name]
        sys.modules.update(generation.modules)
        put_declarations(generation.declarations)

    def _own(self) -> dict[str, types.ModuleType]:
        return {
            name: module
            for name, module in list(sys.modules.items())
            if name not in self._before and (file := _file_of(module)) is not None and _is_own(file)
        }


def _file_of(module: types.ModuleType) -> str | None:
    """The Python file that a module was loaded from, if it was."""
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) and file.endswith(".py") else None


def _is_own(file: str) -> bool:
    """Whether a file is the author's. A bundled sample counts as theirs in tracebacks, but does not change."""
    return origin(file)[0] is Origin.AUTHOR and not file.startswith(_PACKAGE)


_PACKAGE = str(Path(__file__).parents[1])
