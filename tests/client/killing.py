"""`map` against a server that is killed again and again. `python -m tests.client.killing` is the long run: 500
submissions of jobs that last a second, with a kill every two seconds.
"""

import argparse
import random
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from headway.client import Client

from tests.client.client_jobs import Moment, square
from tests.client.twins import KINDS, closed, opened
from tests.support.process import ServerProcess

CONCURRENCY = 20


def free_port() -> int:
    """A port that no outgoing connection is given: while nobody listens, one to itself could take it."""
    while True:
        port = random.randint(20_000, 30_000)
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Mortal:
    """A durable server on a port of its own that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        jobs = Path(__file__).with_name("client_jobs.py")
        self.port, self.kills = free_port(), 0
        self.process = ServerProcess(folder / "data", "--jobs", str(jobs), "--port", str(self.port))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.kills += 1
        self.process.restart()


def squares(client: Any, inputs: Iterable[Moment], ended: Callable[[int], object]) -> dict[int, int]:
    """The results of the jobs, by input. `ended` is told how many have ended."""
    found: dict[int, int] = {}
    for outcome in client.map(square, inputs, concurrency=CONCURRENCY, label="squares"):
        assert outcome.input.number not in found, "an input twice"
        found[outcome.input.number] = outcome.result
        ended(len(found))
    return found


def assert_each_once(url: str, found: dict[int, int], count: int) -> None:
    """Every input has its result, and the server has exactly one completed job for each."""
    assert found == {number: number**2 for number in range(count)}
    with Client(url) as client:
        inputs = [client.get(job.id).state for job in client.jobs(label="squares")]
    assert sorted(state.input["number"] for state in inputs) == list(range(count))
    assert {state.status for state in inputs} == {"completed"}


def main(arguments: Iterable[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.client.killing", description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--every-s", type=float, default=2.0)
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    parser.add_argument("--lasts-s", type=float, default=1.0)
    options = parser.parse_args(list(arguments))
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        server = Mortal(Path(folder))
        with server.process:

            def kill_again() -> None:
                while not over.wait(options.every_s):
                    server.kill()

            killing = threading.Thread(target=kill_again)
            killing.start()
            client = opened(options.kind, server.url)
            try:
                moments = (Moment(number=number, lasts_s=options.lasts_s) for number in range(options.count))
                found = squares(client, moments, lambda _: None)
            finally:
                over.set()
                killing.join()
                closed(client)
            assert_each_once(server.url, found, options.count)
    print(f"{options.count} submissions, {server.kills} kills: each exactly once, {len(found)} results")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
