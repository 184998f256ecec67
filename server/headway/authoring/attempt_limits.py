"""What one attempt may use, as `@job` declares it; what it leaves open is the server's setting."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from ..errors import JobTypeError


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLimits:
    """What an attempt may use. `None`: as much as it likes."""

    memory_mib: float | None = None
    """Memory that its processes do not share with those of others."""
    cpu_s: float | None = None
    """CPU time of all its processes, those that have ended included."""
    max_output_mib: float | None = None
    """Bytes in its output and working directories."""
    max_pids: int | None = None
    """Processes at one time, its first one included."""

    @property
    def any_of_processes(self) -> bool:
        """Whether its processes must be watched."""
        return not (self.memory_mib is None and self.cpu_s is None and self.max_pids is None)

    @property
    def any(self) -> bool:
        """Whether it must be watched at all."""
        return self.any_of_processes or self.max_output_mib is not None

    def or_else(self, defaults: Self, *, is_async: bool) -> "AttemptLimits":
        """These limits, and the defaults for what they leave open. An `async def` handler has no process to limit."""
        output_mib = defaults.max_output_mib if self.max_output_mib is None else self.max_output_mib
        if is_async:
            return AttemptLimits(max_output_mib=output_mib)
        return AttemptLimits(
            memory_mib=defaults.memory_mib if self.memory_mib is None else self.memory_mib,
            cpu_s=defaults.cpu_s if self.cpu_s is None else self.cpu_s,
            max_output_mib=output_mib,
            max_pids=defaults.max_pids if self.max_pids is None else self.max_pids,
        )


def check_limits(name: str, handler: Callable[..., Any], limits: AttemptLimits) -> None:
    """Raise `JobTypeError` if a limit is no positive number, or cannot be kept for this kind of handler."""
    units = {"memory_mib": "MiB", "cpu_s": "seconds", "max_output_mib": "MiB", "max_pids": "processes"}
    for what, unit in units.items():
        limit = getattr(limits, what)
        if limit is not None and not 0 < limit < math.inf:
            raise JobTypeError(f"{name}: {what} must be a number of {unit} above 0, or None for the server's setting")
    if limits.any_of_processes and inspect.iscoroutinefunction(handler):
        raise JobTypeError(
            f"{name}: memory_mib, cpu_s and max_pids are for def handlers: an async def runs in the server's process, "
            "where its use cannot be told from that of others"
        )
