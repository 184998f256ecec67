"""`Depends`: what a handler needs besides its context and input, made by the author's factories."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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

    With `before_fork=True`, for `def` handlers, it is called once, before the processes of the handler's job type are
    forked: they share what it made, and its memory. It and what it depends on are functions or generators without
    `async`, and are cleaned up when the server stops. Where processes cannot be forked it is called once per process.
    """

    factory: Callable[..., Any]
    before_fork: bool = field(default=False, kw_only=True)


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
    before_fork: bool = False
    """Whether it is marked so where it is depended on; see `made_before_fork`."""

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


def made_before_fork(needs: Mapping[str, Factory]) -> tuple[Factory, ...]:
    """The factories that are called before processes are forked: each once, and what one depends on before it.

    That is so for one that is marked anywhere in the tree, and for everything that it depends on.
    """
    found: dict[Callable[..., Any], Factory] = {}

    def look_at(factory: Factory, *, implied: bool) -> None:
        before = implied or factory.before_fork
        for needed in factory.needs.values():
            look_at(needed, implied=before)
        if before:
            found.setdefault(factory.function, factory)

    for factory in needs.values():
        look_at(factory, implied=False)
    return tuple(found.values())


def checked_factory(
    where: str, depends: Depends, *, in_loop: bool, within: tuple[Callable[..., Any], ...] = ()
) -> Factory:
    """A factory and those that it depends on. Raises `JobTypeError` for one that cannot be called.

    `in_loop`: for an `async def` handler. `within`: the factories that depend on this one.
    """
    function = depends.factory
    kind = _kind(where, function)
    name = _name(function)
    if depends.before_fork and in_loop:
        raise JobTypeError(
            f"{where}: {name!r} cannot be called before processes are forked: the handler is an async def, which runs "
            "in the server's process, and nothing is forked for it. Leave out before_fork, or make the handler a def"
        )
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
        needed = dependency_in(its_own, parameter.annotation, parameter)
        if needed is not None and parameter.kind is not parameter.POSITIONAL_ONLY:
            needs[parameter.name] = checked_factory(where, needed, in_loop=in_loop, within=(*within, function))
        elif needed is not None or (parameter.default is parameter.empty and parameter.kind not in _VARIADIC):
            raise JobTypeError(f"{its_own} can only take dependencies by name; {parameter.name!r} is none")
    return Factory(function, kind, needs, depends.before_fork)


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
