"""Whether a job type has changed from one load of its module to the next: what its handler does, and what is declared.

A handler's fingerprint covers its code, that of the author's functions and classes that it names, and so on.
"""

import hashlib
import inspect
import types
from collections.abc import Collection, Iterator
from dataclasses import fields
from typing import Any

from pydantic_core import to_json

from ...authoring.job_types import JobType

PLAIN = (str, bytes, int, float, complex, bool, type(None), tuple, frozenset)
DERIVED = frozenset({"handler", "input_type", "output", "unavailable"})
"""Fields that hold the author's objects, or are made of them."""


def fingerprint(job_type: JobType, own: Collection[str]) -> bytes:
    """A digest that changes with the type. `own` are the names of the author's modules."""
    digest = hashlib.sha256()
    for part in _declared(job_type):
        digest.update(part.encode("utf-8", "backslashreplace"))
    factories = [factory.function for factory in job_type.dependencies.values()]
    for part in _Reading(own).of(job_type.handler, *factories):
        digest.update(part.encode("utf-8", "backslashreplace"))
    return digest.digest()


def _declared(job_type: JobType) -> Iterator[str]:
    yield to_json([job_type.input_schema, job_type.output_schema]).decode()
    for field in fields(job_type):
        if field.name not in DERIVED:
            yield f"{field.name}={_without_addresses(getattr(job_type, field.name))}\n"


def _without_addresses(value: Any) -> str:
    """A value as text that is the same after it has been loaded again."""
    if isinstance(value, (*PLAIN, dict, set, list)):
        return repr(value) if " at 0x" not in repr(value) else str(type(value))
    if hasattr(type(value), "__dataclass_fields__"):
        return ",".join(f"{each.name}={_without_addresses(getattr(value, each.name))}" for each in fields(value))
    return getattr(value, "__qualname__", str(type(value)))


class _Reading:
    """Reads each function and class once."""

    def __init__(self, own: Collection[str]) -> None:
        self._own = own
        self._read: set[int] = set()

    def of(self, *objects: Any) -> Iterator[str]:
        """What the objects are made of, as text."""
        for each in objects:
            if id(each) not in self._read:
                self._read.add(id(each))
                yield from self._of(each)

    def _of(self, value: Any) -> Iterator[str]:
        value = inspect.unwrap(value) if callable(value) else value
        if isinstance(value, types.FunctionType):
            yield from self._of_function(value)
        elif isinstance(value, type) and value.__module__ in self._own:
            yield value.__qualname__
            for name, member in sorted(vars(value).items()):
                if not name.startswith("__") or callable(member):
                    yield name
                    yield from self.of(_function_in(member))
        elif isinstance(value, PLAIN):
            yield repr(value)

    def _of_function(self, function: types.FunctionType) -> Iterator[str]:
        if function.__module__ not in self._own:
            return
        yield f"{function.__qualname__}{function.__defaults__!r}" if _plain(function.__defaults__) else ""
        cells = [cell.cell_contents for cell in function.__closure__ or () if _is_full(cell)]
        yield from self.of(*cells)
        for code in _codes(function.__code__):
            yield f"{code.co_code!r}{code.co_names}{[each for each in code.co_consts if isinstance(each, PLAIN)]}"
            yield from self._named(code, function.__globals__)

    def _named(self, code: types.CodeType, scope: dict[str, Any]) -> Iterator[str]:
        """What the code refers to by name; of a module of the author's those of its members that the code may mean."""
        for name in code.co_names:
            value = scope.get(name)
            if isinstance(value, types.ModuleType) and value.__name__ in self._own:
                yield from self.of(*(vars(value)[each] for each in code.co_names if each in vars(value)))
            else:
                yield from self.of(value)


def _function_in(member: Any) -> Any:
    """The function of a method or property, whatever it is wrapped in."""
    if isinstance(member, property):
        return member.fget
    return getattr(member, "__func__", member)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Some code, and that of the functions and comprehensions inside it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)


def _plain(values: Any) -> bool:
    return values is None or all(isinstance(each, PLAIN) for each in values)


def _is_full(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # not assigned yet
        return False
