"""The dependencies of `def` handlers, made and cleaned up in the child process.

Child processes import this module, so it loads neither asyncio nor logging.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Any

from ....authoring.dependencies import Factory, Kind
from ....tracebacks import describe, formatted
from ...calling import DependencyFailedError, Needs
from ..messages import CleanUpFailed
from .forks import end_if_forked

Made = Mapping[Callable[..., Any], Any]
"""Dependencies by the author's factories."""
NOTHING: Made = MappingProxyType({})


class Dependencies:
    """One dependency per factory, made when it is first needed. One for the process; used by its main thread."""

    def __init__(self, made: Made = NOTHING) -> None:
        """`made`: what is there already, and is cleaned up elsewhere."""
        self._pid = os.getpid()
        self._made = dict(made)
        self._open: list[tuple[Factory, AbstractContextManager[Any]]] = []

    def get(self, needs: Needs) -> dict[str, Any]:
        """What the factories make, by parameter. Raises `DependencyFailedError`."""
        return {parameter: self._get(factory) for parameter, factory in needs.items()}

    def _get(self, factory: Factory) -> Any:
        if factory.function not in self._made:
            needed = self.get(factory.needs)
            try:
                self._made[factory.function] = self._make(factory, needed)
            except BaseException as error:
                end_if_forked(self._pid, error)
                raise DependencyFailedError(factory, error) from error
            end_if_forked(self._pid)
        return self._made[factory.function]

    def _make(self, factory: Factory, needed: dict[str, Any]) -> Any:
        if factory.kind is Kind.FUNCTION:
            return factory.function(**needed)
        manager = contextmanager(factory.function)(**needed)
        made = manager.__enter__()
        self._open.append((factory, manager))
        return made

    @property
    def made(self) -> Made:
        """What has been made."""
        return self._made

    @property
    def to_clean_up(self) -> bool:
        """Whether there is anything for `clean_up` to do."""
        return bool(self._open)

    def clean_up(self) -> Iterator[CleanUpFailed]:
        """Clean up in the reverse order of creation, and go on after a failure. Yields the failures."""
        self._made.clear()
        while self._open:
            factory, manager = self._open.pop()
            try:
                manager.__exit__(None, None, None)
                end_if_forked(self._pid)
            except BaseException as error:  # noqa: BLE001 - SystemExit too: the process has more to clean up
                end_if_forked(self._pid, error)
                text = formatted(error)
                yield CleanUpFailed(factory.name, describe(error), text)
