"""Celery on Redis, as processes of their own.

- `python -m tests.benchmarks.starts.celery_queue worker PORT OPTION …` runs tasks in forked processes that stay, with
  these options of `celery worker`.
- `… client PORT AT_ONCE SECONDS` keeps this many tasks submitted for this long, and prints `{"p50_ms": …, …}`.
- `… models PORT COUNT` submits this many tasks that need the model, twice, and prints the seconds of both.
"""

import json
import sys
import time
from functools import cache

from celery import Celery
from celery.result import AsyncResult
from celery.signals import worker_ready

from .loading import model
from .window import closed_loop

TIME_LIMIT_S = 120.0
"""Limits each wait, in case Celery loses a task."""


def _nothing() -> None:
    """The empty task."""


@cache
def _loaded() -> str:
    """Loaded by the first task in each process, as Celery's users do it."""
    return model()


def _predict() -> str:
    return _loaded()


def _application(port: str) -> Celery:
    app = Celery("benchmark", broker=f"redis://127.0.0.1:{port}/0", backend=f"redis://127.0.0.1:{port}/1")
    app.conf.update(broker_connection_retry_on_startup=True, worker_redirect_stdouts=False)
    app.task(_nothing, name="empty")
    app.task(_predict, name="predicts")
    return app


def _work(app: Celery, options: list[str]) -> None:
    @worker_ready.connect(weak=False)  # type: ignore[untyped-decorator]
    def report(**_: object) -> None:
        print("ready", flush=True)

    app.worker_main(["--quiet", "worker", "--pool", "prefork", "--loglevel", "ERROR", *options])


def _wait(result: AsyncResult) -> object:
    return result.get(timeout=TIME_LIMIT_S)


def _ask(app: Celery, at_once: int, seconds: float) -> dict[str, float]:
    return closed_loop(app.tasks["empty"].delay, _wait, at_once, seconds)


def _seconds_for(app: Celery, count: int) -> float:
    began_s = time.perf_counter()
    results = [app.tasks["predicts"].delay() for _ in range(count)]
    for result in results:
        _wait(result)
    return time.perf_counter() - began_s


def main() -> None:
    part, port, *rest = sys.argv[1:]
    app = _application(port)
    match part:
        case "worker":
            _work(app, rest)
        case "client":
            print(json.dumps(_ask(app, int(rest[0]), float(rest[1]))))
        case "models":
            print(json.dumps([_seconds_for(app, int(rest[0])) for _ in range(2)]))


if __name__ == "__main__":
    main()
