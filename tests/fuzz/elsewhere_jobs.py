"""A job type for the fuzzer whose jobs it does itself, over HTTP."""

from headway import remote_job
from pydantic import BaseModel


class Number(BaseModel):
    number: int = 1


@remote_job("count-elsewhere", lease_s=3600)
def count_elsewhere(input: Number) -> int:
    """Counts, somewhere else."""
    raise AssertionError("the server never calls it")
