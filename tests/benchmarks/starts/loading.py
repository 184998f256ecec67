"""What jobs need, for all sides: a model that takes seconds to load, of which each load leaves a line in a file."""

import os
import time
from pathlib import Path

LOADS = "STARTS_BENCHMARK_LOADS"
"""The variable with the file."""
LOAD_S = "STARTS_BENCHMARK_LOAD_S"
MIB = "STARTS_BENCHMARK_MIB"
"""The variable with the size of the buffer in `buffer_jobs`."""


def model() -> str:
    """Waits instead of computing: how long it takes must not depend on what else runs."""
    with Path(os.environ[LOADS]).open("a", encoding="utf-8") as loads:
        loads.write(f"{os.getpid()}\n")
    time.sleep(float(os.environ[LOAD_S]))
    return "loaded"
