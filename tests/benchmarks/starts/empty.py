"""Empty jobs: milliseconds from submission to the end with one client, and jobs a second with many.

Headway's clients send a POST with `Prefer: wait` and receive the finished job, over HTTP; each job is on a real disk
before it starts. The peers' clients wait for the result of each task: SAQ's in Redis, by its coroutines; Celery's in
Redis; the pool's in memory. Headway plays three times: as it is, with a new interpreter for each attempt, and at a
commit that had no other way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.support.process import ServerProcess

from ..comparing import checkout
from ..report import Play, Table, median_of, median_ratio
from . import peers
from .over_http import closed_loop, cores, serving

CLIENTS = 32
CLIENTS_OF_THE_SLOW = 8
"""At a few jobs a second, more clients would only make the end of a run longer."""
SECONDS = 2.5
BEFORE = "a289194"
"""A commit at which each attempt still got a new interpreter."""
ASYNC, FORKED, KEPT = "headway, async", "headway, def", "headway, def in a process that stays"
SPAWNED, TODAY = "headway, def in a new interpreter", f"headway at {BEFORE}, def"
INTERPRETERS, POOL, SAQ = "python -c 'import pydantic.main'", "ProcessPoolExecutor", "SAQ"
CELERY, CELERY_TUNED = "Celery prefork by default", "Celery prefork, tuned"

Measured = dict[str, float]
Results = dict[str, list[Measured]]


@dataclass(frozen=True)
class Side:
    """A server or a library: its name for `--sides`, why it cannot run, and a round of it (of seconds), by rows."""

    name: str
    missing: Callable[[], str | None]
    play: Callable[[float], Iterator[tuple[str, Measured]]]


def run(play: Play, seconds: float = SECONDS) -> Table:
    table = Table(
        f"Empty jobs: p50_ms with one client, per_second with {CLIENTS} ({CLIENTS_OF_THE_SLOW} of new interpreters); "
        f"{cores()} processes at once, {play.rounds} rounds"
    )
    sides = [side for side in SIDES if not play.sides or side.name in play.sides]
    missing = {side.name: why for side in sides if (why := side.missing())}
    table.notes += [f"{name} does not play: {why}" for name, why in missing.items()]
    found: Results = {}
    for _ in range(play.rounds):
        for side in sides:
            if side.name not in missing:
                for row, measured in side.play(seconds):
                    found.setdefault(row, []).append(measured)
    for row, rounds in found.items():
        table.add(side=row, p50_ms=median_of(rounds, "p50_ms"), per_second=median_of(rounds, "per_second"))
    _expect(table, found)
    return table


def _expect(table: Table, found: Results) -> None:
    def ratio(ours: str, theirs: str, figure: str) -> float | None:
        return median_ratio(found[ours], found[theirs], figure) if {ours, theirs} <= set(found) else None

    table.expect("starts: p50 of an empty job, def/async", ratio(FORKED, ASYNC, "p50_ms"), at_most=3)
    for other, at_least in ((TODAY, 15), (INTERPRETERS, 8)):
        table.expect(f"starts: a second, {FORKED}/{other}", ratio(FORKED, other, "per_second"), at_least=at_least)
    celery = [one for name in (CELERY, CELERY_TUNED) if (one := ratio(KEPT, name, "per_second")) is not None]
    table.expect(f"starts: a second, {KEPT}/Celery prefork at its best", min(celery, default=None), at_least=0.5)


def _headway(seconds: float) -> Iterator[tuple[str, Measured]]:
    with serving("empty_jobs", "starting_jobs") as server:
        for row, job_type in ((ASYNC, "empty-async"), (FORKED, "empty"), (KEPT, "empty-kept")):
            yield row, _measured(server, job_type, seconds)


def _spawning(seconds: float) -> Iterator[tuple[str, Measured]]:
    with serving("empty_jobs", env={"HEADWAY_PROCESS_START": "spawn"}) as server:
        yield SPAWNED, _measured(server, "empty", seconds, CLIENTS_OF_THE_SLOW)


def _today(seconds: float) -> Iterator[tuple[str, Measured]]:
    with checkout.checked_out(BEFORE) as tree, serving("empty_jobs", tree=tree) as server:
        yield TODAY, _measured(server, "empty", seconds, CLIENTS_OF_THE_SLOW)


def _measured(server: ServerProcess, job_type: str, seconds: float, clients: int = CLIENTS) -> Measured:
    one = closed_loop(server, job_type, 1, seconds)
    return {"p50_ms": one["p50_ms"], "per_second": closed_loop(server, job_type, clients, seconds)["per_second"]}


def _celery(seconds: float) -> Iterator[tuple[str, Measured]]:
    for row, options in ((CELERY, ()), (CELERY_TUNED, peers.TUNED)):
        with peers.celery(*options) as port:
            yield row, _both(partial(_asked, peers.CELERY, "client", port, seconds))


def _saq(seconds: float) -> Iterator[tuple[str, Measured]]:
    with peers.saq() as port:
        yield SAQ, _both(partial(_asked, peers.SAQ, "waiting-client", port, seconds))


def _pool(seconds: float) -> Iterator[tuple[str, Measured]]:
    yield POOL, _both(lambda at_once: peers.pool(at_once, seconds))


def _interpreters(seconds: float) -> Iterator[tuple[str, Measured]]:
    one = peers.interpreters(1, seconds)
    yield INTERPRETERS, {"p50_ms": one["p50_ms"], "per_second": peers.interpreters(cores(), seconds)["per_second"]}


def _asked(module: str, part: str, port: int, seconds: float, at_once: int) -> Measured:
    found: Measured = peers.asked(module, part, port, at_once, seconds)
    return found


def _both(measure: Callable[[int], Measured]) -> Measured:
    return {"p50_ms": measure(1)["p50_ms"], "per_second": measure(CLIENTS)["per_second"]}


def _nothing_missing() -> None:
    return None


def _commit_missing() -> str | None:
    try:
        checkout.described(BEFORE)
    except checkout.CheckoutError as error:
        return str(error)
    return None


SIDES = [
    Side("headway", _nothing_missing, _headway),
    Side("spawn", _nothing_missing, _spawning),
    Side("before", _commit_missing, _today),
    Side("interpreters", _nothing_missing, _interpreters),
    Side("celery", lambda: peers.missing("celery", "redis"), _celery),
    Side("saq", lambda: peers.missing("saq", "redis"), _saq),
    Side("pool", _nothing_missing, _pool),
]
