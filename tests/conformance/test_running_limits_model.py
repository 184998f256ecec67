"""Limits on running jobs against a simple model: Hypothesis looks for the shortest life in which they differ."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from headway.domain.access import ApiKey
from headway.domain.jobs import Job
from headway.domain.outcomes import Interrupted, Outcome, Retry
from headway.ports.jobs import FreeSlots
from headway.quotas import NO_QUOTA, Quota
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.conformance.backends import SqliteBackend
from tests.conformance.records import DONE, ERROR, at, forget_ids, new_job

T = TypeVar("T")
EXAMPLES = 25
STEPS = 25

OWNERS = ("ada", "bob")
KEYS = (None, "key-1", "key-2")
TYPES = ("slow", "fast")
LIMITS = st.sampled_from((None, 0, 1, 2, 4))


@dataclass
class Waits:
    """A queued job of the model."""

    job: Job
    due_s: float
    started: bool = False
    """Whether it has had an attempt: then its age is no longer its place among the others."""


class Limits(RuleBasedStateMachine):
    """One record with two owners and two keys, whose limits change while jobs come, start, end and are cancelled."""

    def __init__(self) -> None:
        super().__init__()
        forget_ids()
        self._folder = tempfile.TemporaryDirectory(prefix="headway-limits-")
        self._loop = asyncio.Runner()
        self._backend = SqliteBackend(Path(self._folder.name))
        self.seconds = 1.0
        self.waiting: dict[str, Waits] = {}
        self.running: dict[str, Job] = {}
        self.default: int | None = None
        self.limits: dict[str, int | None] = {}

    @initialize(default=LIMITS)
    def begin(self, default: int | None) -> None:
        self.default = default
        self._open()
        for name in KEYS[1:]:
            key = ApiKey(name or "", name or "", "ada", read_only=False, admin=False, created_at=at(0))
            self._do(self._backend.record.keys.add(key, name or ""))

    def _open(self) -> None:
        self._do(self._backend.open(quota=NO_QUOTA if self.default is None else Quota(running=self.default)))

    def teardown(self) -> None:
        try:
            self.restart(crash=False, default=self.default)
            self.check_the_counts()
        finally:
            self._do(self._backend.close())
            self._loop.close()
            self._folder.cleanup()

    def _do(self, awaitable: Awaitable[T]) -> T:
        async def carried_out() -> T:
            return await awaitable

        return self._loop.run(carried_out())

    # The model

    def _limit(self, holder: str) -> int | None:
        return self.limits.get(holder, self.default if holder in OWNERS else None)

    def _may_start(self, job: Job) -> bool:
        holders = Counter(name for running in self.running.values() for name in (running.owner, running.key_id))
        limits = [(holder, self._limit(holder)) for holder in (job.owner, job.key_id) if holder is not None]
        return all(limit is None or holders[holder] < limit for holder, limit in limits)

    # What happens

    @rule(
        owner=st.sampled_from(OWNERS),
        key_id=st.sampled_from(KEYS),
        job_type=st.sampled_from(TYPES),
        priority=st.sampled_from((0, 0, 0, 5)),
        jobs=st.integers(1, 4),
        delay_s=st.sampled_from((0.0, 0.0, 0.0, 2.0)),
    )
    def submit(self, owner: str, key_id: str | None, job_type: str, priority: int, jobs: int, delay_s: float) -> None:
        for _ in range(jobs):
            due_s = self.seconds + delay_s
            new = new_job(self.seconds, owner=owner, key_id=key_id, type=job_type, priority=priority, run_at=at(due_s))
            self.waiting[new.id] = Waits(self._do(self._backend.store.insert(new)), due_s)

    @rule(seconds=st.sampled_from((0.5, 3.0)))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds

    @rule(slots=st.fixed_dictionaries({"slow": st.integers(0, 3), "fast": st.integers(0, 3)}), total=st.integers(1, 4))
    def claim(self, slots: dict[str, int], total: int) -> None:
        """As the engine does, until nothing more may start. It is told when a place is freed."""
        free = {job_type: count for job_type, count in slots.items() if count}
        while free and total:
            pool = FreeSlots(total, {name: min(count, total) for name, count in free.items()})
            claims = self._do(self._backend.store.claim([pool], at(self.seconds))).claims
            if not claims:
                break
            for claim in claims:
                self._started(claim.job)
                total -= 1
                free[claim.job.type] -= 1
                if not free[claim.job.type]:
                    del free[claim.job.type]
        if not total:
            return
        held_up = [each.job for each in self.waiting.values() if each.job.type in free and each.due_s <= self.seconds]
        assert not [job.id for job in held_up if self._may_start(job)], "a slot and a place are free"

    def _started(self, job: Job) -> None:
        known = self.waiting[job.id]
        assert known.due_s <= self.seconds
        assert self._may_start(job), "a limit is passed"
        for other in self.waiting.values():
            alike = _kind(other.job) == _kind(job) and other.due_s == known.due_s
            assert not (alike and not other.started and not known.started and other.job.id < job.id), "it was overtaken"
        del self.waiting[job.id]
        self.running[job.id] = job

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: Any) -> None:
        job = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        retry = Retry(ERROR, at(self.seconds + 1))
        outcome: Outcome = data.draw(st.sampled_from((DONE, DONE, Interrupted(), retry)))
        self._do(self._backend.store.finish(job, outcome, job.progress, [], at(self.seconds)))
        if outcome is not DONE:
            due_s = self.seconds + 1 if outcome is retry else 0.0
            self.waiting[job.id] = Waits(job, due_s, started=True)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        job = self.waiting.pop(data.draw(st.sampled_from(sorted(self.waiting)))).job
        self._do(self._backend.store.cancel(job.owner, job.id, at(self.seconds)))

    @rule(owner=st.sampled_from(OWNERS), limit=LIMITS, default=st.booleans())
    def limit_an_owner(self, owner: str, limit: int | None, default: bool) -> None:
        self._do(self._backend.record.keys.set_owner_quota(owner, None if default else Quota(running=limit)))
        self.limits.pop(owner, None)
        if not default:
            self.limits[owner] = limit

    @rule(key_id=st.sampled_from(KEYS[1:]), limit=LIMITS)
    def limit_a_key(self, key_id: str, limit: int | None) -> None:
        self._do(self._backend.record.keys.set_quota(key_id, Quota(running=limit)))
        self.limits[key_id] = limit

    @rule(crash=st.booleans(), default=LIMITS)
    def restart(self, crash: bool, default: int | None) -> None:
        self._do(self._backend.crash() if crash else self._backend.close())
        self.default = default
        self._open()
        recovery = self._do(self._backend.store.recover(at(self.seconds), 1_000_000))
        assert {job.id for job in recovery.requeued} == set(self.running)
        for job in self.running.values():
            self.waiting[job.id] = Waits(job, 0.0, started=True)
        self.running.clear()

    @rule()
    def check_the_counts(self) -> None:
        assert not self._do(self._backend.keeper.find_miscounts())
        for owner in OWNERS:
            used = self._backend.store.account(owner).used
            assert used.running == sum(job.owner == owner for job in self.running.values())
            assert used.queued == sum(each.job.owner == owner for each in self.waiting.values())


def _kind(job: Job) -> tuple[object, ...]:
    return job.owner, job.key_id, job.type, job.priority


def test_no_limit_is_passed_and_none_holds_up_what_it_does_not_count() -> None:
    run_state_machine_as_test(
        Limits,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
