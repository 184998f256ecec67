"""`map`: many inputs, so many at a time, results as they end."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from headway.client import JobFailedError, ValidationFailedError

from tests.client.client_jobs import Moment, square
from tests.client.killing import Mortal, assert_each_once, squares
from tests.client.twins import Opening
from tests.support.process import ServerProcess

KILL_AFTER = (20, 45, 70, 85)


def test_results_come_as_they_end_and_refusals_are_outcomes(url: str, opening: Opening, tmp_path: Path) -> None:
    client, gate = opening(url), tmp_path / "gate"
    outcomes = {}
    for outcome in client.map("two-lines", [{"gate": str(gate)}, {"gate": str(tmp_path)}, {"door": 1}], concurrency=3):
        outcomes[outcome.index] = outcome
        if {1, 2} <= outcomes.keys():
            gate.touch()
    assert (outcomes[0].result, outcomes[1].result) == ("done", "done")
    assert list(outcomes)[-1] == 0
    assert outcomes[2].job is None
    with pytest.raises(ValidationFailedError):
        _ = outcomes[2].result
    (failed,) = client.map("unlucky", [{"number": 3}])
    assert isinstance(failed.error, JobFailedError)
    assert failed.job is not None
    assert failed.job.status == "failed"


def test_inputs_are_taken_when_there_is_room_and_no_more_once_the_loop_is_left(url: str, opening: Opening) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[Moment]:
        for number in itertools.count():
            taken.append(number)
            yield Moment(number=number)

    outcomes = opening(url).map(square, numbers(), concurrency=4)
    first = [next(outcomes).input.number for _ in range(6)]
    outcomes.close()  # type: ignore[attr-defined]
    assert set(first) <= set(taken)
    assert len(taken) <= 6 + 4
    assert not [each for each in threading.enumerate() if each.name.startswith("headway-map") and _outlives(each)]


def _outlives(thread: threading.Thread) -> bool:
    thread.join()
    return thread.is_alive()


def test_the_same_call_again_finds_its_jobs(url: str, opening: Opening) -> None:
    client = opening(url)
    twice: list[dict[int, str]] = []
    for _ in range(2):
        outcomes = client.map(square, [Moment(number=number) for number in range(5)], idempotency_key="m 1")
        twice.append({outcome.index: outcome.job.id for outcome in outcomes if outcome.job is not None})
    assert twice[0] == twice[1]
    assert len(set(twice[0].values())) == 5


def test_a_concurrency_of_none_is_refused(url: str, opening: Opening) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        opening(url).map(square, [], concurrency=0)


def test_each_input_is_submitted_once_although_the_server_is_killed(opening: Opening, tmp_path: Path) -> None:
    server = Mortal(tmp_path)
    with server.process:
        killed = [server.kill] * len(KILL_AFTER)

        def ended(count: int) -> None:
            if count in KILL_AFTER:
                killed.pop()()

        found = squares(opening(server.url), [Moment(number=number) for number in range(100)], ended)
        assert_each_once(server.url, found, 100)
    assert server.kills == len(KILL_AFTER)


def test_a_lost_server_is_an_outcome_too(server: ServerProcess, opening: Opening) -> None:
    client = opening("http://127.0.0.1:1", retry_for_s=0.1)
    outcomes = list(client.map(square, [Moment(number=1), Moment(number=2)]))
    assert [type(outcome.error).__name__ for outcome in outcomes] == ["ServerUnreachableError"] * 2
