"""The same model as the random walk, driven by Hypothesis: what fails is shrunk to the shortest life that fails.

A rule is an engine's or a client's call; a crash may come between any two of them.
"""

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import forget_ids
from tests.conformance.walk import Walk

EXAMPLES = 80
STEPS = 30
SEEDS = st.integers(min_value=0, max_value=2**16)
"""The walk draws jobs and outcomes from a seed that Hypothesis chooses and shrinks."""


class Straight(Random):
    """Draws what leads furthest: the newest job, the first outcome (completed), the largest number."""

    def choice(self, seq: Any) -> Any:
        return seq[0] if isinstance(seq, tuple) else seq[-1]

    def randint(self, a: int, b: int) -> int:  # noqa: ARG002 - Random's signature
        return b


class Stale(Random):
    """Draws the claim that is most likely stale: the oldest of the last ones, as completed."""

    def choice(self, seq: Any) -> Any:
        return seq[0]


class Lives(RuleBasedStateMachine):
    """One record through submissions, claims, progress, ends, cancels, purges, expiry and crashes."""

    def __init__(self) -> None:
        super().__init__()
        forget_ids()
        self._folder = tempfile.TemporaryDirectory(prefix="headway-lives-")
        self._loop = asyncio.Runner()
        self._backend = SqliteBackend(Path(self._folder.name))
        self._do(self._backend.open())
        self._walk = Walk(self._backend, 0)

    def teardown(self) -> None:
        try:
            self._do(self._walk.look_at_everything())
        finally:
            self._do(self._backend.close())
            self._loop.close()
            self._folder.cleanup()

    def _do(self, awaitable: Awaitable[Any]) -> None:
        async def carried_out() -> None:
            await awaitable

        self._loop.run(carried_out())

    def _step(self, name: str, seed: int, kind: type[Random] = Random) -> None:
        self._walk.chance = kind(seed)
        self._do(getattr(self._walk, name)())

    @rule(seed=SEEDS)
    def begin(self, seed: int) -> None:
        self._step("submit", seed, Straight)
        self._step("claim", seed, Straight)

    @precondition(lambda self: self._walk.claimed)
    @rule(seed=SEEDS)
    def crash_and_go_on(self, seed: int) -> None:
        self._step("crash", seed)
        self._step("claim", seed, Straight)

    @precondition(lambda self: self._walk.jobs)
    @rule(seed=SEEDS)
    def cancel_the_newest(self, seed: int) -> None:
        self._step("cancel", seed, Straight)

    @precondition(lambda self: self._walk.claimed)
    @rule(seed=SEEDS)
    def complete_an_old_attempt(self, seed: int) -> None:
        self._step("finish", seed, Stale)

    @precondition(lambda self: self._walk.claimed)
    @rule(seed=SEEDS)
    def complete_the_newest(self, seed: int) -> None:
        self._step("finish", seed, Straight)

    @rule(seconds=st.sampled_from((0.05, 1.0, 20.0, 100.0)))
    def time_passes(self, seconds: float) -> None:
        self._walk.seconds += seconds

    @rule(seed=SEEDS)
    def submit(self, seed: int) -> None:
        self._step("submit", seed)

    @rule(seed=SEEDS)
    def claim(self, seed: int) -> None:
        self._step("claim", seed)

    @precondition(lambda self: self._walk.claimed)
    @rule(seed=SEEDS)
    def progress(self, seed: int) -> None:
        self._step("tick", seed)

    @precondition(lambda self: self._walk.claimed)
    @rule(seed=SEEDS)
    def log(self, seed: int) -> None:
        self._step("say", seed)

    @precondition(lambda self: self._walk.claimed)
    @rule(seed=SEEDS)
    def checkpoint(self, seed: int) -> None:
        self._step("checkpoint", seed)

    @precondition(lambda self: self._walk.claimed)
    @rule(seed=SEEDS)
    def finish(self, seed: int) -> None:
        self._step("finish", seed)

    @precondition(lambda self: self._walk.jobs)
    @rule(seed=SEEDS)
    def cancel_or_purge(self, seed: int) -> None:
        self._step("cancel", seed)

    @rule(seed=SEEDS)
    def expire(self, seed: int) -> None:
        self._step("expire", seed)

    @rule()
    def stop_and_start(self) -> None:
        self._step("reopen", 0)

    @rule()
    def crash(self) -> None:
        self._step("crash", 0)

    @invariant()
    def the_record_says_what_the_model_says(self) -> None:
        for model in list(self._walk.jobs.values())[-3:]:
            self._do(self._walk.look_at(model))


def test_no_sequence_of_calls_and_crashes_disagrees_with_the_model() -> None:
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,  # the same lives in every run; the walk beside it has its own seeds
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
