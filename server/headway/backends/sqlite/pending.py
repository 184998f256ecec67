"""What waits for the writer: operations and rows, in batches; and what follows in memory when a batch is durable."""

from abc import ABC, abstractmethod
from asyncio import Future
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import structlog

from .transaction import Transaction

log = structlog.get_logger(__name__)
T = TypeVar("T")
R = TypeVar("R")

Operation = Callable[[Transaction], T]
"""One change, carried out in the writer's thread in a transaction that others may share. It must not commit."""


class Rows(ABC, Generic[T, R]):
    """Rows of one kind, which are written many at a time, at half the cost for each.

    In a batch they come before all operations. One of these may depend on such a row; such a row depends on none.
    """

    @abstractmethod
    def write(self, tx: Transaction, rows: Sequence[T]) -> None:
        """Write them, in the writer's thread. It must not commit."""

    @abstractmethod
    def committed(self, rows: Sequence[T]) -> Sequence[R]:
        """They are durable: bring memory up to date, in the loop. Returns the answer for each."""

    @abstractmethod
    def failed(self, rows: Sequence[T]) -> None:
        """They were not written."""


@dataclass(slots=True)
class Batched(Generic[T, R]):
    """An operation that is carried out together with those beside it that have the same `perform`.

    It keeps its place among the operations of its batch. `perform` returns a result for each item, in their order.
    """

    perform: Callable[[Transaction, Sequence[T]], Sequence[R]]
    item: T

    def __call__(self, tx: Transaction) -> R:
        return self.perform(tx, [self.item])[0]


@dataclass(slots=True)
class PendingRow:
    kind: Rows[Any, Any]
    row: Any
    future: Future[Any]


@dataclass(slots=True)
class Pending:
    operation: Operation[Any]
    committed: Callable[[Any], Any]
    failed: Callable[[], None] | None
    future: Future[Any] | None


@dataclass(slots=True)
class Batch:
    """What is committed together. Its results are those of the rows, which are `None` or errors, then the others'."""

    rows: list[PendingRow] = field(default_factory=list)
    operations: list[Pending] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows) + len(self.operations)

    def take(self, most: int) -> Self:
        """Take out the first `most` rows, and as many operations."""
        taken = type(self)(self.rows[:most], self.operations[:most])
        self.rows, self.operations = self.rows[most:], self.operations[most:]
        return taken

    def one_by_one(self) -> Iterator[Self]:
        for row in self.rows:
            yield type(self)(rows=[row])
        for pending in self.operations:
            yield type(self)(operations=[pending])

    def settle(self, results: Sequence[Any]) -> None:
        """Bring memory up to date and give the callers their answers, in the order in which the batch was written."""
        _settle_rows(self.rows, results[: len(self.rows)])
        for pending, result in zip(self.operations, results[len(self.rows) :], strict=True):
            _settle(pending, result)


def by_kind(rows: Iterable[PendingRow]) -> Mapping[Rows[Any, Any], Sequence[PendingRow]]:
    kinds: defaultdict[Rows[Any, Any], list[PendingRow]] = defaultdict(list)
    for pending in rows:
        kinds[pending.kind].append(pending)
    return kinds


def _settle_rows(rows: Sequence[PendingRow], errors: Sequence[Exception | None]) -> None:
    written: list[PendingRow] = []
    for pending, error in zip(rows, errors, strict=True):
        if error is None:
            written.append(pending)
        else:
            _answer(pending.future, _followed(pending.kind.failed, [pending.row]) or error)
    for kind, some in by_kind(written).items():
        answers = _followed(kind.committed, [pending.row for pending in some])
        if isinstance(answers, Exception):
            answers = [answers] * len(some)
        for pending, answer in zip(some, answers, strict=True):
            _answer(pending.future, answer)


def _settle(pending: Pending, result: Any) -> None:
    if not isinstance(result, Exception):
        _answer(pending.future, _followed(pending.committed, result))
    else:
        failure = None if pending.failed is None else _followed(pending.failed)
        _answer(pending.future, failure or result)


def _followed(step: Callable[..., Any], *arguments: Any) -> Any:
    """What the step returns. An error in it is logged and returned: the write is on disk, and others must go on."""
    try:
        return step(*arguments)
    except Exception as error:
        log.exception("memory could not follow the disk")
        return error


def _answer(future: Future[Any] | None, answer: Any) -> None:
    if future is None or future.done():  # done: its caller was cancelled
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
