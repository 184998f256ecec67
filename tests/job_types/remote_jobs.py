"""Job types without a handler, for the tests of workers elsewhere."""

from headway import Upload, remote_job
from pydantic import BaseModel

LEASE_S = 3.0
LONGER_S = 5.0
"""For workers that are programs, which take their time on a busy machine."""


class Number(BaseModel):
    number: int = 1


class Document(BaseModel):
    document: Upload
    appendix: Upload | None = None
    language: str = "en"


@remote_job("double", max_attempts=2, lease_s=LEASE_S)
def double(input: Number) -> int:
    """Doubles a number, somewhere else."""
    raise AssertionError("the server never calls it")


@remote_job("read-aloud", lease_s=LEASE_S)
def read_aloud(input: Document) -> dict[str, int]:
    raise AssertionError("the server never calls it")


@remote_job("once", lease_s=LEASE_S, on_interrupt="fail")
def once() -> None:
    raise AssertionError("the server never calls it")


@remote_job("hurried", lease_s=600, timeout_s=0.2, concurrency=1)
def hurried() -> None:
    raise AssertionError("the server never calls it")


@remote_job("copy", lease_s=LONGER_S)
def copy(input: Document) -> dict[str, int]:
    raise AssertionError("the server never calls it")


@remote_job("copy-again", max_attempts=2, lease_s=LONGER_S)
def copy_again(input: Document) -> dict[str, int]:
    raise AssertionError("the server never calls it")


@remote_job("compute", lease_s=LONGER_S)
def compute(input: Number) -> int:
    raise AssertionError("the server never calls it")
