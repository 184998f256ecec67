"""`Depends`: which dependencies a handler may declare, and how it gets them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import pytest
from headway import BlockingContext, Context, Depends, job
from headway.authoring.declaring import declared
from headway.authoring.dependencies import Factory, Kind
from headway.authoring.job_types import JobType
from headway.errors import JobTypeError
from pydantic import BaseModel


class Width(BaseModel):
    width: int


class Pool:
    def __init__(self, size: int = 5) -> None:
        self.size = size


def number() -> int:
    return 7


def text(n: Annotated[int, Depends(number)], *, prefix: str = "n") -> Iterator[str]:
    yield f"{prefix}{n}"


async def later() -> int:
    return 7


async def stream(n: Annotated[int, Depends(later)]) -> AsyncIterator[int]:
    yield n


def declare(handler: Callable[..., Any]) -> JobType:
    job("a-job")(handler)
    return declared("a-job")


def shape(needs: Any) -> Any:
    """The factories by parameter, as nested pairs of a kind and what it needs."""
    return {name: (factory.kind, shape(factory.needs)) for name, factory in needs.items()}


# What a handler may declare


def test_a_handler_declares_what_it_depends_on() -> None:
    async def handler(
        ctx: Context,
        input: Width,
        a: Annotated[int, Depends(number)],
        b: Annotated[str, "a remark", Depends(text)],
        c: Annotated[int, Depends(later)],
        d: Annotated[int, Depends(stream)],
    ) -> None: ...

    found = declare(handler)
    assert found.input_type is Width
    assert shape(found.dependencies) == {
        "a": (Kind.FUNCTION, {}),
        "b": (Kind.GENERATOR, {"n": (Kind.FUNCTION, {})}),
        "c": (Kind.COROUTINE, {}),
        "d": (Kind.ASYNC_GENERATOR, {"n": (Kind.COROUTINE, {})}),
    }
    assert [factory.name for factory in found.dependencies.values()] == ["number()", "text()", "later()", "stream()"]


def test_a_class_or_a_partial_is_a_factory_too() -> None:
    def handler(
        ctx: BlockingContext,
        small: Annotated[Pool, Depends(Pool)],
        large: Annotated[Pool, Depends(partial(Pool, size=50))],
    ) -> None: ...

    dependencies = declare(handler).dependencies
    assert [(factory.kind, factory.name) for factory in dependencies.values()] == [(Kind.FUNCTION, "Pool()")] * 2
    assert dependencies["large"].function().size == 50


def test_annotations_may_be_written_as_text() -> None:
    def handler(ctx: "BlockingContext", n: "Annotated[int, Depends(number)]") -> None: ...

    def written(n: "Annotated[int, Depends(number)]") -> int:
        return n

    def nested(ctx: BlockingContext, n: Annotated[int, Depends(written)]) -> None: ...

    assert shape(declare(handler).dependencies) == {"n": (Kind.FUNCTION, {})}
    job("nested")(nested)
    assert shape(declared("nested").dependencies) == {"n": (Kind.FUNCTION, {"n": (Kind.FUNCTION, {})})}


def test_clients_see_nothing_of_dependencies() -> None:
    def with_one(ctx: BlockingContext, input: Width, n: Annotated[int, Depends(number)]) -> None: ...

    def without(ctx: BlockingContext, input: Width) -> None: ...

    job("with-one")(with_one)
    job("without")(without)
    one, none = declared("with-one"), declared("without")
    assert (one.input_schema, one.output_schema) == (none.input_schema, none.output_schema)


# Before processes are forked


def early(n: Annotated[int, Depends(number)]) -> int:
    return n


def late(n: Annotated[int, Depends(early, before_fork=True)], p: Annotated[Pool, Depends(Pool)]) -> int:
    return n


def made_first(handler: Callable[..., Any]) -> list[str]:
    return [factory.name for factory in declare(handler).before_fork]


def test_what_a_factory_depends_on_is_made_before_the_fork_too_and_first() -> None:
    def handler(ctx: BlockingContext, e: Annotated[int, Depends(early, before_fork=True)]) -> None: ...

    assert made_first(handler) == ["number()", "early()"]


def test_a_factory_may_depend_on_one_that_is_called_before_the_fork() -> None:
    def handler(ctx: BlockingContext, n: Annotated[int, Depends(late)]) -> None: ...

    assert made_first(handler) == ["number()", "early()"]


def test_what_is_made_before_the_fork_in_one_place_is_so_in_all_and_once() -> None:
    def handler(
        ctx: BlockingContext,
        n: Annotated[int, Depends(number)],
        s: Annotated[str, Depends(text)],
        e: Annotated[int, Depends(early)],
        same: Annotated[int, Depends(number, before_fork=True)],
    ) -> None: ...

    assert made_first(handler) == ["number()"]


def test_without_a_mark_nothing_is_made_before_the_fork() -> None:
    def handler(ctx: BlockingContext, e: Annotated[int, Depends(early)]) -> None: ...

    assert made_first(handler) == []


def test_nothing_is_made_before_a_fork_for_an_async_handler() -> None:
    async def direct(ctx: Context, n: Annotated[int, Depends(number, before_fork=True)]) -> None: ...

    async def nested(ctx: Context, n: Annotated[int, Depends(late)]) -> None: ...

    for handler, name in ((direct, "number"), (nested, "early")):
        with pytest.raises(
            JobTypeError, match=f"a-job: '{name}' cannot be called before processes are forked: .*async"
        ):
            declare(handler)


def test_an_async_factory_cannot_be_called_before_the_fork() -> None:
    def handler(ctx: BlockingContext, n: Annotated[int, Depends(later, before_fork=True)]) -> None: ...

    with pytest.raises(JobTypeError, match="'later' is a coroutine function, and the handler is a def"):
        declare(handler)


# How it gets them


def between(ctx: Any, n: Annotated[int, Depends(number)], input: Width) -> Any:
    return ctx, input, n


def first(n: Annotated[int, Depends(number)], ctx: Any, input: Width) -> Any:
    return ctx, input, n


def named(ctx: Any, input: Width, *, n: Annotated[int, Depends(number)]) -> Any:
    return ctx, input, n


def placed(ctx: Any, n: Annotated[int, Depends(number)], input: Width, /) -> Any:
    return ctx, input, n


def without_input(ctx: Any, *, n: Annotated[int, Depends(number)]) -> Any:
    return ctx, None, n


@pytest.mark.parametrize("handler", [between, first, named, placed, without_input])
def test_dependencies_stand_anywhere_among_the_parameters(handler: Callable[..., Any]) -> None:
    found = declare(handler)
    parsed = None if handler is without_input else Width(width=1)
    assert found.call("context", parsed, {"n": 7}) == ("context", parsed, 7)


def test_a_test_passes_the_value_itself() -> None:
    @job("a-job")
    async def handler(ctx: Context, n: Annotated[int, Depends(later)]) -> int:
        return n + 1

    assert asyncio.run(handler(None, 1)) == 2  # type: ignore[arg-type]


# What cannot work


def in_a_circle(n: "Annotated[int, Depends(back)]") -> int:
    return n


def back(n: Annotated[int, Depends(in_a_circle)]) -> int:
    return n


def needs_later(n: Annotated[int, Depends(later)]) -> int:
    return n


def needs_more(path: str) -> str:
    return path


def needs_it_by_place(n: Annotated[int, Depends(number)], /) -> int:
    return n


def unknown_annotation(n: "Nowhere") -> int:  # type: ignore[name-defined]  # noqa: F821
    return 1


@contextmanager
def managed() -> Iterator[int]:
    yield 1


@asynccontextmanager
async def managed_later() -> AsyncIterator[int]:
    yield 1


@dataclass
class AnObject:
    value: int

    def __call__(self) -> int:
        return self.value


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (later, "'later' is a coroutine function, and the handler is a def"),
        (stream, "'stream' is an async generator, and the handler is a def"),
        (needs_later, "'later' is a coroutine function, and the handler is a def"),
        (in_a_circle, "depends on itself: in_a_circle → back → in_a_circle"),
        (needs_more, "'needs_more' can only take dependencies by name; 'path' is none"),
        (needs_it_by_place, "'needs_it_by_place' can only take dependencies by name; 'n' is none"),
        (unknown_annotation, "the signature of 'unknown_annotation' cannot be read: .*Nowhere"),
        (dict, "the signature of 'dict' cannot be read"),
        (managed, "'managed' is decorated: give Depends the generator itself"),
        (managed_later, "'managed_later' is decorated: give Depends the async generator itself"),
        (AnObject(1), "Depends takes a function"),
        (7, "Depends takes a function, not 7"),
    ],
)
def test_a_factory_that_cannot_work_in_a_def_is_rejected(factory: Any, words: str) -> None:
    def handler(ctx: BlockingContext, n: Annotated[Any, Depends(factory)]) -> None: ...

    with pytest.raises(JobTypeError, match=f"a-job: .*{words}"):
        declare(handler)


def by_default(ctx: BlockingContext, n: int = Depends(number)) -> None: ...  # type: ignore[assignment]


def not_called(ctx: BlockingContext, n: Annotated[int, Depends]) -> None: ...


def two(ctx: BlockingContext, n: Annotated[int, Depends(number), Depends(Pool)]) -> None: ...


@pytest.mark.parametrize("handler", [by_default, not_called, two])
def test_a_dependency_that_is_written_differently_is_rejected(handler: Callable[..., Any]) -> None:
    with pytest.raises(JobTypeError, match=r"a-job: write 'n' as Annotated\[\.\.\., Depends\(factory\)\]"):
        declare(handler)


def test_a_dependency_is_no_context() -> None:
    def handler(n: Annotated[int, Depends(number)]) -> None: ...

    with pytest.raises(JobTypeError, match=r"must take \(ctx\)"):
        declare(handler)


def test_a_factory_is_itself_and_no_other() -> None:
    def handler(ctx: BlockingContext, a: Annotated[int, Depends(number)], b: Annotated[str, Depends(text)]) -> None: ...

    dependencies = declare(handler).dependencies
    inner: Factory = dependencies["b"].needs["n"]
    assert dependencies["a"].function is inner.function is number
