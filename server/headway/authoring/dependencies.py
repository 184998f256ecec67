"""`Depends`: what a handler needs besides its context and input, made by the author's factories."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Annotated, Any

from ..errors import JobTypeError

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Depends:
    """Marks a parameter of a handler, or of a factory, as a dependency: `Annotated[Session, Depends(session)]`.

    `factory` is a function, a generator that yields once, or an async twin of either. It is called once per process,
    when a handler first needs it. What a generator does after its `yield` is its clean-up, at the end of the process.
    """

    factory: Callable[..., Any]


class Kind(Enum):
    """How a factory makes its dependency."""

    FUNCTION = "function"
    GENERATOR = "generator"
    COROUTINE = "coroutine function"
    ASYNC_GENERATOR = "async generator"

    @property
    def is_async(self) -> bool:
        """Whether it needs an event loop."""
        return self in (Kind.COROUTINE, Kind.ASYNC_GENERATOR)


@dataclass(frozen=True, slots=True, eq=False)
class Factory:
    """A factory whose declaration has been checked."""

    function: Callable[..., Any]
    """The author's. There is one dependency of it per process."""
    kind: Kind
    needs: Mapping[str, "Factory"]
    """What it depends on itself, by parameter."""

    @property
    def name(self) -> str:
        """For people: `http()`."""
        return f"{_name(self.function)}()"


def dependency_in(where: str, annotation: Any, parameter: inspect.Parameter) -> Depends | None:
    """The `Depends` of a parameter, if it has one. Raises `JobTypeError` for one that is written differently.

    `where`: whose parameter it is, for the message.
    """
    written = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ()
    found = [each for each in written if isinstance(each, Depends)]
    if isinstance(parameter.default, Depends) or Depends in (annotation, *written) or len(found) > 1:
        raise JobTypeError(f"{where}: write {parameter.name!r} as Annotated[..., Depends(factory)]")
    return found[0] if found else None


def checked_factory(
    where: str, function: Callable[..., Any], *, in_loop: bool, within: tuple[Callable[..., Any], ...] = ()
) -> Factory:
    """A factory and those that it depends on. Raises `JobTypeError` for one that cannot be called.

    `in_loop`: for an `async def` handler. `within`: the factories that depend on this one.
    """
    kind = _kind(where, function)
    name = _name(function)
    if function in within:
        circle = " → ".join(_name(each) for each in (*within[within.index(function) :], function))
        raise JobTypeError(f"{where}: a dependency depends on itself: {circle}")
    if kind.is_async and not in_loop:
        raise JobTypeError(
            f"{where}: the factory {name!r} is {_with_article(kind)}, and the handler is a def, which runs in a "
            "process without an event loop: give it a def factory, or make the handler an async def"
        )
    needs: dict[str, Factory] = {}
    for parameter in _parameters(where, function):
        its_own = f"{where}: the factory {name!r}"
        depends = dependency_in(its_own, parameter.annotation, parameter)
        if depends is not None and parameter.kind is not parameter.POSITIONAL_ONLY:
            inner = checked_factory(where, depends.factory, in_loop=in_loop, within=(*within, function))
            needs[parameter.name] = inner
        elif depends is not None or (parameter.default is parameter.empty and parameter.kind not in _VARIADIC):
            raise JobTypeError(f"{its_own} can only take dependencies by name; {parameter.name!r} is none")
    return Factory(function, kind, needs)


def _parameters(where: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function, eval_str=True).parameters.values())
    except (ValueError, TypeError, NameError) as error:  # a class that was not written in Python; an unknown name
        raise JobTypeError(f"{where}: the signature of {_name(function)!r} cannot be read: {error}") from error


def _kind(where: str, function: Callable[..., Any]) -> Kind:
    if not (inspect.isroutine(function) or inspect.isclass(function) or isinstance(function, partial)):
        raise JobTypeError(f"{where}: Depends takes a function, not {function!r}")
    kind, plain = _kind_of(function), _kind_of(inspect.unwrap(function))
    if kind is not plain:  # @contextmanager, most likely
        raise JobTypeError(f"{where}: {_name(function)!r} is decorated: give Depends the {plain.value} itself")
    return kind


def _kind_of(function: Callable[..., Any]) -> Kind:
    if inspect.isasyncgenfunction(function):
        return Kind.ASYNC_GENERATOR
    if inspect.iscoroutinefunction(function):
        return Kind.COROUTINE
    return Kind.GENERATOR if inspect.isgeneratorfunction(function) else Kind.FUNCTION


def _with_article(kind: Kind) -> str:
    return f"an {kind.value}" if kind is Kind.ASYNC_GENERATOR else f"a {kind.value}"


def _name(function: Callable[..., Any]) -> str:
    if isinstance(function, partial):
        return _name(function.func)
    return getattr(function, "__name__", None) or repr(function)
