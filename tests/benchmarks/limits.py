"""The CPU time that it takes to look at what a limited attempt uses, by its memory and its processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from headway.running.bounds.process_tree import ProcessTree

from .report import Play, Table

LOOKS_PER_ROUND = 10
HUNGRY = """
import os, sys, time
filled = bytearray(int(sys.argv[1]) * 1024 * 1024)
filled[::4096] = bytes(b"x") * len(filled[::4096])
for _ in range(int(sys.argv[2]) - 1):
    if os.fork() == 0:
        time.sleep(600)
print(flush=True)
time.sleep(600)
"""
"""Touches every page, and forks processes that share them."""


def run(play: Play) -> Table:
    table = Table(f"one look at an attempt: ms of CPU time, medians of {play.rounds * LOOKS_PER_ROUND} looks")
    for mib, processes in ((10, 1), (100, 1), (400, 1), (1600, 1), (100, 10), (10, 100)):
        command = [sys.executable, "-ISc", HUNGRY, str(mib), str(processes)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as hungry:
            assert hungry.stdout is not None
            hungry.stdout.readline()
            try:
                table.add(mib=mib, processes=processes, **_looks(ProcessTree(hungry.pid), play.rounds))
            finally:
                os.killpg(hungry.pid, signal.SIGKILL)
    return table


def _looks(tree: ProcessTree, rounds: int) -> dict[str, float]:
    """Finding the processes; adding up their resident memory; and their own memory, if that is over the limit."""
    family = tree.read()
    looks: dict[str, Callable[[], object]] = {
        "find_ms": tree.read,
        "quick_ms": lambda: tree.mib_over(1e9, family),
        "close_ms": lambda: tree.mib_over(0, family),
    }
    return {name: median(_cpu_ms(look) for _ in range(rounds * LOOKS_PER_ROUND)) for name, look in looks.items()}


def _cpu_ms(look: Callable[[], object]) -> float:
    began_s = time.thread_time()
    look()
    return (time.thread_time() - began_s) * 1000
