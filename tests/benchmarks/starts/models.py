"""Jobs that need a model which takes seconds to load: how long all of them take, and how often it is loaded.

`cold_s` begins when the server listens, or the worker is ready; `warm_s` is the same once more. Where each job loads a
model of its own, twice would show nothing new.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..report import Play, Table, median_of
from . import peers
from .loading import LOAD_S, LOADS
from .over_http import cores, seconds_for, serving

JOBS = 20
SECONDS = 3.0
PLAIN, SHARED, KEPT = "headway, def", "headway, def, before_fork", "headway, def in a process that stays"
CELERY = "Celery prefork, a cached global"

Environment = dict[str, str]


def run(play: Play, jobs: int = JOBS, load_s: float = SECONDS) -> Table:
    table = Table(f"{jobs} jobs with a model that loads for {load_s:g} s; {cores()} processes, {play.rounds} rounds")
    sides: dict[str, Callable[[Environment], list[float]]] = {
        PLAIN: lambda env: _headway("starting_jobs", "predicts", [jobs], env),
        SHARED: lambda env: _headway("shared_jobs", "predicts-shared", [jobs, jobs], env),
        KEPT: lambda env: _headway("starting_jobs", "predicts-kept", [jobs, jobs], env),
        CELERY: lambda env: _celery(env, jobs),
    }
    why = peers.missing("celery", "redis")
    if why:
        table.notes.append(f"Celery does not play: {why}")
    if why or (play.sides and "celery" not in play.sides):
        del sides[CELERY]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(play.rounds):
        for name, side in sides.items():
            found[name].append(_counted(side, load_s))
    for name, rounds in found.items():
        table.add(side=name, **{figure: median_of(rounds, figure) for figure in ("cold_s", "warm_s", "loads")})
    most = {name: max(one["loads"] for one in rounds) for name, rounds in found.items()}
    table.expect("starts: loads of a model with before_fork", most[SHARED], at_most=1)
    table.expect("starts: loads of a model by each process that stays", most[KEPT] / cores(), at_most=1)
    return table


def _counted(play: Callable[[Environment], list[float]], load_s: float) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile() as loads:
        seconds = play({LOADS: loads.name, LOAD_S: str(load_s)})
        lines = Path(loads.name).read_text("utf-8").splitlines()
    return {"cold_s": seconds[0], "warm_s": seconds[1] if len(seconds) > 1 else None, "loads": len(lines)}


def _headway(module: str, job_type: str, batches: list[int], env: Environment) -> list[float]:
    with serving(module, env=env) as server:
        return [seconds_for(server, job_type, jobs) for jobs in batches]


def _celery(env: Environment, jobs: int) -> list[float]:
    with peers.celery(**env) as port:
        seconds: list[float] = peers.asked(peers.CELERY, "models", port, jobs)
        return seconds
