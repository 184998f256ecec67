"""Dependencies of a handler under test: what the test gives in their place."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..authoring.dependencies import Factory, Kind
from ..authoring.job_types import JobType

Overrides = Mapping[Callable[..., Any], Any]
"""What to give in place of what factories make, by factory."""


def overridden(job_type: JobType, overrides: Overrides) -> JobType:
    """The type with other dependencies, also of its dependencies. Raises `ValueError` for what it does not need."""
    needed = {factory.function: factory for factory in _all(job_type.dependencies)}
    for function in overrides:
        if function not in needed:
            known = ", ".join(factory.name for factory in needed.values()) or "nothing"
            name = getattr(function, "__name__", repr(function))
            raise ValueError(f"{job_type.name} does not depend on {name}, but on {known}")
    others = {function: _giving(needed[function], value) for function, value in overrides.items()}
    return replace(job_type, dependencies=_replaced(job_type.dependencies, others))


def _all(needs: Mapping[str, Factory]) -> Iterator[Factory]:
    for factory in needs.values():
        yield factory
        yield from _all(factory.needs)


def _giving(factory: Factory, value: Any) -> Factory:
    return Factory(lambda: value, Kind.FUNCTION, {}, factory.before_fork)


def _replaced(needs: Mapping[str, Factory], others: Mapping[Callable[..., Any], Factory]) -> dict[str, Factory]:
    return {
        parameter: others.get(factory.function) or replace(factory, needs=_replaced(factory.needs, others))
        for parameter, factory in needs.items()
    }
