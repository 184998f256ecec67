"""The numbers that bound how jobs run, as engine and executor take them."""

from dataclasses import dataclass

CLEAN_UP_WITHIN_S = 5.0
"""How long a dependency may take to clean up in the server, or all of an attempt's in its process."""
DIE_WITHIN_S = 60.0
"""How long killed processes may take to be gone. On a busy machine they wait for a core; only the kernel can hold one
up for ever, in a dead NFS mount say. Then the end is recorded all the same, and the job's log says so."""

MAX_LEASES = 10_000
"""How many jobs workers may do at once, of all types together: each is held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """What an operator sets for running jobs. Durations are seconds."""

    max_tasks: int
    """How many attempts of `async def` handlers run at once, of all types together."""
    max_processes: int
    """How many attempts of `def` handlers run at once, each in its process."""
    max_recoveries: int
    """How many crashes of the server a job survives, unless its type says otherwise."""
    cancel_grace_s: float
    """How long a handler that was asked to stop may take before it is killed or abandoned."""
    tick_s: float
    """How often progress and log lines of one job are published at most; 0: at every turn of the event loop."""
