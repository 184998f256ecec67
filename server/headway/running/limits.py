"""The numbers that bound how jobs run, as engine and executor take them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLimits:
    """What an operator sets for running jobs. Durations are seconds."""

    max_running: int
    """How many attempts run at once, of all types together."""
    max_recoveries: int
    """How many crashes of the server a job survives, unless its type says otherwise."""
    cancel_grace_s: float
    """How long a handler that was asked to stop may take before it is killed or abandoned."""
    tick_s: float
    """How often progress and log lines of one job are published at most; 0: at every turn of the event loop."""
