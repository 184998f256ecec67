"""Whether a job type has changed from one load of its module to the next: what its handler does, and what is declared.

A handler's fingerprint covers its code, that of the author's functions and classes that it names, and so on.
"""

import hashlib
import inspect
import types
from collections.abc import Collection, Iterator
from contextlib import suppress
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
    for part in _Reading(own).of(*_roots(job_type)):
        digest.update(part.encode("utf-8", "backslashreplace"))
    return digest.digest()


def _roots(job_type: JobType) -> Iterator[Any]:
    """The author's functions and classes that a type was declared with."""
    yield from (job_type.handler, job_type.input_type)
    yield from (factory.function for factory in job_type.dependencies.values())
    if job_type.resource is not None and job_type.resource.readers is not None:
        yield from (job_type.resource.readers.get.function, job_type.resource.readers.list.function)


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
    """Reads each function and class once, and then what it leads to."""

    def __init__(self, own: Collection[str]) -> None:
        self._own = own
        self._left: list[Any] = []
        self._read: dict[int, Any] = {}
        """By its id, which is its own as long as it is kept here."""

    def of(self, *objects: Any) -> Iterator[str]:
        """What the objects are made of, as text."""
        self._left = list(objects)
        while self._left:
            value = self._left.pop()
            if id(value) not in self._read:
                self._read[id(value)] = value
                yield from self._parts(value)

    def _parts(self, value: Any) -> Iterator[str]:
        with suppress(ValueError, AttributeError):  # wrapped in a circle, or by something odd
            value = inspect.unwrap(value)
        if isinstance(value, types.FunctionType):
            if value.__module__ in self._own:
                yield from self._of_function(value)
        elif isinstance(value, type):
            if value.__module__ in self._own:
                yield from self._of_class(value)
        elif isinstance(value, (*PLAIN, dict, set, list)):
            yield _without_addresses(value)

    def _of_class(self, of: type) -> Iterator[str]:
        yield of.__qualname__
        self._left += [*of.__bases__, *vars(of).get("__annotations__", {}).values()]
        for name, member in sorted(vars(of).items()):
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if isinstance(function, types.FunctionType):
                yield name
                self._left.append(function)

    def _of_function(self, function: types.FunctionType) -> Iterator[str]:
        yield f"{function.__qualname__}{_without_addresses(function.__defaults__)}"
        self._left += [cell.cell_contents for cell in function.__closure__ or () if _is_full(cell)]
        for code in _codes(function.__code__):
            yield f"{code.co_code!r}{code.co_names}{[each for each in code.co_consts if isinstance(each, PLAIN)]}"
            self._left += self._named(code, function.__globals__)

    def _named(self, code: types.CodeType, scope: dict[str, Any]) -> Iterator[Any]:
        """What the code refers to by name; of a module of the author's those of its members that the code may mean."""
        for name in code.co_names:
            value = scope.get(name)
            if isinstance(value, types.ModuleType) and value.__name__ in self._own:
                yield from (vars(value)[each] for each in code.co_names if each in vars(value))
            else:
                yield value


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Some code, and that of the functions and comprehensions inside it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)


def _is_full(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # not assigned yet
        return False
