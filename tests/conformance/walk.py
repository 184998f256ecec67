"""Long random lives against a model simple enough to be believed: a dictionary for each job.

Every step is checked at once, and now and then everything is counted again. A walk that fails says its seed and
its last steps, and can be walked again.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from headway.domain.filters import JobFilter
from headway.domain.jobs import Counts, Job, NewJob, Status
from headway.domain.outcomes import Cancelled, Completed, Failed, Interrupted, Outcome, Retry
from headway.domain.progress import Progress
from headway.errors import ClaimLostError, JobNotFoundError, JobStateError
from headway.ports.jobs import FreeSlots, LogBatch, Tick

from tests.conformance.backends import Backend
from tests.conformance.records import ERROR, OWNER, STRANGER, at, line, new_job

TYPES = ("report", "import")
OWNERS = (OWNER, STRANGER)
STEPS = 250
MAX_RECOVERIES = 2
RETAIN_S = 200.0


@dataclass
class Modelled:
    """What the record must hold about one job."""

    new: NewJob
    status: Status = Status.QUEUED
    attempt: int = 0
    run_at: datetime = field(default_factory=lambda: at(0))
    interrupted: bool = False
    cancel: bool = False
    purge: bool = False
    failures: int = 0
    recoveries: int = 0
    interruptions: int = 0
    percent: float | None = None
    completed_at: datetime | None = None
    checkpoint: str | None = None
    lines: list[tuple[int, str]] = field(default_factory=list)
    last_seq: int = 1
    state_seq: int = 1

    @property
    def line(self) -> tuple[str, str, int]:
        return self.new.owner, self.new.type, self.new.priority

    def enter(self, status: Status, now: datetime) -> None:
        self.status = status
        self.last_seq += 1
        self.state_seq = self.last_seq
        if status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
            self.completed_at = now
            self.checkpoint = None

    def say(self, *messages: str) -> None:
        for message in messages:
            self.last_seq += 1
            self.lines.append((self.last_seq, message))


class Walk:
    """One walk: draw a step, apply it to the store and to the model, compare."""

    def __init__(self, backend: Backend, seed: int) -> None:
        self.backend = backend
        self.chance = random.Random(seed)
        self.seconds = 0.0
        self.jobs: dict[str, Modelled] = {}
        self.gone: list[Modelled] = []
        self.claimed: list[Job] = []  # every claim ever made: some of them are stale
        self.seen: dict[str, Job] = {}
        self.steps: list[str] = []

    @property
    def now(self) -> datetime:
        return at(self.seconds)

    async def walk(self) -> None:
        steps = {
            self.submit: 20,
            self.claim: 15,
            self.tick: 12,
            self.say: 10,
            self.checkpoint: 4,
            self.finish: 12,
            self.cancel: 8,
            self.expire: 3,
            self.reopen: 1,
            self.crash: 1,
        }
        for number in range(STEPS):
            self.seconds += self.chance.choice((0, 0.05, 1, 20))
            (step,) = self.chance.choices(list(steps), list(steps.values()))
            self.steps.append(step.__name__)
            await step()
            await self.look_at_everything() if number % 25 == 0 else await self.look_at_one()
        await self.look_at_everything()

    # Steps

    async def submit(self) -> None:
        new = new_job(
            self.seconds,
            owner=self.chance.choice(OWNERS),
            type=self.chance.choice(TYPES),
            priority=self.chance.choice((-5, 0, 0, 5)),
            run_at=at(self.seconds + self.chance.choice((0, 0, 0, 60))),
            label=self.chance.choice((None, "blue", "red")),
            max_attempts=3,
            retain_s=RETAIN_S,
        )
        self.jobs[new.id] = Modelled(new, run_at=new.run_at)
        self.observe(await self.backend.store.insert(new))

    async def claim(self) -> None:
        shared = self.chance.random() < 0.5
        pools = [
            FreeSlots(self.chance.randint(1, 4), {name: self.chance.randint(0, 3) for name in names})
            for names in ([TYPES] if shared else [[name] for name in TYPES])
        ]
        due = [job for job in self.jobs.values() if job.status is Status.QUEUED and job.run_at <= self.now]
        claims = await self.backend.store.claim(pools, self.now)
        claimed = [self.jobs[claim.job.id] for claim in claims.claims]
        # Which owner's job it is depends on turns, but not its priority, nor which one of the owner's jobs it is.
        assert [job.new.priority for job in claimed] == [job.new.priority for job in self._first(due, pools)]
        for job in claimed:
            mine = [other for other in due if other.line == job.line]
            assert job.new.id == min(mine, key=_age).new.id
            due.remove(job)
        for claim, job in zip(claims.claims, claimed, strict=True):
            job.attempt += 1
            job.percent = None
            job.enter(Status.RUNNING, self.now)
            assert claim.checkpoint_json == job.checkpoint
            assert claim.input_json == job.new.input_json
            self.claimed.append(claim.job)
            self.observe(claim.job)

    def _first(self, due: list[Modelled], pools: list[FreeSlots]) -> list[Modelled]:
        """The due jobs that would get a slot if all were of one owner, in the order of claims."""
        pool_of = {name: number for number, pool in enumerate(pools) for name in pool.of_type}
        totals = Counter({number: pool.total for number, pool in enumerate(pools)})
        left = Counter({name: slots for pool in pools for name, slots in pool.of_type.items()})
        first: list[Modelled] = []
        for job in sorted(due, key=lambda job: (-job.new.priority, job.run_at, job.new.id)):
            name = job.new.type
            if left[name] > 0 and totals[pool_of[name]] > 0:
                left[name] -= 1
                totals[pool_of[name]] -= 1
                first.append(job)
        return first

    async def tick(self) -> None:
        ticks = [
            Tick(job.id, job.attempt, Progress(percent=round(self.chance.random() * 99, 1), message="on"))
            for job in self.chance.sample(self.claimed, min(3, len(self.claimed)))
        ]
        for tick in ticks:
            if model := self.held(tick.job_id, tick.attempt):
                model.percent = tick.progress.percent
        await self.backend.store.tick(ticks, self.now)
        await self.backend.store.flush()

    async def say(self) -> None:
        batches = [
            LogBatch(job.id, job.attempt, [line(f"line {self.chance.random()}") for _ in range(3)])
            for job in self.chance.sample(self.claimed, min(2, len(self.claimed)))
        ]
        await self.backend.store.append_logs(batches)
        for batch in batches:
            if model := self.held(batch.job_id, batch.attempt):
                model.say(*(said.message for said in batch.lines))

    async def checkpoint(self) -> None:
        if not self.claimed:
            return
        job, text = self.chance.choice(self.claimed), f"[{self.chance.random()}]"
        if model := self.held(job.id, job.attempt):
            await self.backend.store.checkpoint(job.id, job.attempt, text)
            model.checkpoint = text
        else:
            with pytest.raises(ClaimLostError):
                await self.backend.store.checkpoint(job.id, job.attempt, text)

    async def finish(self) -> None:
        if not self.claimed:
            return
        job = self.chance.choice(self.claimed[-6:])
        outcome: Outcome = self.chance.choice(
            (
                Completed('{"n":1}'),
                Failed(ERROR),
                Cancelled(),
                Interrupted(),
                Interrupted(crashed=True),
                Retry(ERROR, at(self.seconds + 30)),
            )
        )
        model = self.held(job.id, job.attempt)
        finishing = self.backend.store.finish(job, outcome, Progress(percent=77.0), [line("the end")], self.now)
        if model is None:
            with pytest.raises(ClaimLostError):
                await finishing
            return
        ended = await finishing
        model.say("the end")
        self.end(model, outcome)
        self.observe(ended)
        self.bury(model)

    def end(self, model: Modelled, outcome: Outcome) -> None:
        model.percent = 77.0
        if model.cancel or isinstance(outcome, Cancelled):
            model.enter(Status.CANCELLED, self.now)
        elif isinstance(outcome, Completed):
            model.percent = 100.0
            model.enter(Status.COMPLETED, self.now)
        elif isinstance(outcome, Failed):
            model.failures += 1
            model.enter(Status.FAILED, self.now)
        else:
            model.percent = None
            if isinstance(outcome, Retry):
                model.interrupted = False
                model.failures += 1
                model.run_at = outcome.run_at
            else:
                model.interrupted = True
                model.recoveries += outcome.crashed
                model.interruptions += 1
            model.enter(Status.QUEUED, self.now)

    async def cancel(self) -> None:
        if not self.jobs:
            return
        model, purge = self.chance.choice(list(self.jobs.values())), self.chance.random() < 0.3
        end = self.backend.store.delete if purge else self.backend.store.cancel
        if self.chance.random() < 0.2:
            other = STRANGER if model.new.owner == OWNER else OWNER
            with pytest.raises(JobNotFoundError):
                await end(other, model.new.id, self.now)
            return
        cancelling = end(model.new.owner, model.new.id, self.now)
        if self.expired(model):
            with pytest.raises(JobNotFoundError):
                await cancelling
            return
        if model.status in (Status.COMPLETED, Status.FAILED) and not purge:
            with pytest.raises(JobStateError):
                await cancelling
            return
        job = await cancelling
        if model.status is Status.QUEUED:
            model.enter(Status.CANCELLED, self.now)
            model.cancel = True
        elif model.status is Status.RUNNING:
            model.cancel = True
            model.purge |= purge
            self.observe(job)
            return
        self.observe(job)
        model.purge = purge
        self.bury(model)

    async def expire(self) -> None:
        limit = self.chance.randint(1, 5)
        over = [job for job in self.jobs.values() if self.expired(job)]
        assert await self.backend.store.expire(self.now, limit) == min(limit, len(over))
        for model in over:
            try:
                await self.backend.store.get(model.new.owner, model.new.id)
            except JobNotFoundError:
                model.purge = True
                self.bury(model)

    async def reopen(self) -> None:
        await self.backend.close()
        await self.backend.open()
        await self.recover()

    async def crash(self) -> None:
        await self.backend.crash()
        await self.backend.open()
        await self.recover()

    async def recover(self) -> None:
        recovery = await self.backend.store.recover(self.now, MAX_RECOVERIES)
        running = [job for job in self.jobs.values() if job.status is Status.RUNNING]
        assert {job.id for job in (*recovery.requeued, *recovery.ended)} == {job.new.id for job in running}
        for model in running:
            model.say("the server stopped while this attempt ran")
            if model.cancel:
                model.enter(Status.CANCELLED, self.now)
                self.bury(model)
                continue
            failed = model.recoveries >= MAX_RECOVERIES
            model.recoveries += 1
            model.interruptions += 1
            model.interrupted = True
            model.percent = None
            model.enter(Status.FAILED if failed else Status.QUEUED, self.now)
        for job in (*recovery.requeued, *recovery.ended):
            if job.id in self.jobs and job.terminal:
                self.jobs[job.id].percent = job.progress.percent  # as far as it reached the disk
            assert job.version > self.seen[job.id].version
            self.observe(job)

    # Comparing

    def expired(self, model: Modelled) -> bool:
        return model.completed_at is not None and (self.now - model.completed_at).total_seconds() >= RETAIN_S

    def held(self, job_id: str, attempt: int) -> Modelled | None:
        """The job, if this attempt is its current one."""
        model = self.jobs.get(job_id)
        return model if model and model.status is Status.RUNNING and model.attempt == attempt else None

    def bury(self, model: Modelled) -> None:
        if model.purge:
            self.gone.append(self.jobs.pop(model.new.id))

    def observe(self, job: Job) -> None:
        """No client may ever see a version go back, nor two different things under one version."""
        before = self.seen.get(job.id)
        if before is not None:
            assert job.version >= before.version, (before, job)
            if job.version == before.version:
                assert job._replace(last_seq=before.last_seq) == before
            if before.terminal:
                assert job.status is before.status
        self.seen[job.id] = job

    async def look_at_one(self) -> None:
        if self.jobs:
            await self.look_at(self.chance.choice(list(self.jobs.values())))

    async def look_at(self, model: Modelled) -> None:
        job = await self.backend.store.get(model.new.owner, model.new.id)
        self.observe(job)
        assert (job.status, job.attempt, job.run_at) == (model.status, model.attempt, model.run_at)
        assert (job.failures, job.recoveries, job.interruptions) == (
            model.failures,
            model.recoveries,
            model.interruptions,
        )
        assert (job.cancel_requested, job.purge_requested) == (model.cancel, model.purge)
        assert job.progress.percent == model.percent
        assert job.completed_at == model.completed_at
        assert (job.last_seq, job.state_seq) == (model.last_seq, model.state_seq)
        lines = await self.backend.store.logs(job.id, 0, job.last_seq, 10_000)
        assert [(said.seq, said.message) for said in lines] == model.lines

    async def look_at_everything(self) -> None:
        for model in self.jobs.values():
            await self.look_at(model)
        for owner in OWNERS:
            mine = {job_id: model for job_id, model in self.jobs.items() if model.new.owner == owner}
            assert list(await self.all_pages(owner)) == sorted(mine, reverse=True)
            counted = Counter((model.new.type, model.status) for model in mine.values())
            assert flat(await self.backend.store.counts(owner)) == counted
            active = await self.backend.store.active(owner, JobFilter(), 10_000, self.now)
            assert {job.id for job in active} == {
                job_id for job_id, model in mine.items() if model.status in (Status.QUEUED, Status.RUNNING)
            }
        for model in self.gone[-20:]:
            with pytest.raises(JobNotFoundError):
                await self.backend.store.get(model.new.owner, model.new.id)
            assert not await self.backend.store.logs(model.new.id, 0, 10_000, 10)

    async def all_pages(self, owner: str) -> dict[str, Job]:
        found: dict[str, Job] = {}
        cursor: str | None = None
        while True:
            page = await self.backend.store.page(owner, JobFilter(), 7, cursor)
            for job in page.jobs:
                assert job.id not in found
                found[job.id] = job
                self.observe(job)
            cursor = page.next_cursor
            if cursor is None:
                return found


def _age(job: Modelled) -> tuple[bool, datetime, str]:
    """Sorts jobs as those of one owner, type and priority are claimed."""
    return not job.interrupted, job.run_at, job.new.id


def flat(counts: Counts) -> Counter[tuple[str, Status]]:
    return Counter(
        {(name, status): count for name, by_status in counts.by_type.items() for status, count in by_status.items()}
    )
