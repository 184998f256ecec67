"""A run: load, a kill, a restart, and everything checked; again and again, and at the end everything is added up."""

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kills.clients import Account, Client, load
from tests.kills.files import check_at_rest, check_leftovers
from tests.kills.hooks import Hooks
from tests.kills.promises import Promises
from tests.kills.record import RecordCheck, Used, reading, used
from tests.kills.victim import Victim
from tests.support.keys import keys, make_key
from tests.support.process import eventually, run_command
from tests.support.receiver import Receiver

JOB_MODULES = "tests.job_types.killed_jobs,tests.job_types.killed_spawned_jobs"
SETTINGS = {
    "HEADWAY_PUBLIC_URL": "http://jobs.example.com",  # so that keys are needed
    "HEADWAY_WEBHOOK_ALLOW": "127.0.0.1",
    "HEADWAY_QUOTA": "jobs=150,queued=25,bytes=6MB",
    "HEADWAY_MAX_RECOVERIES": "2",
    "HEADWAY_MAX_PROCESSES": "3",
    "HEADWAY_CANCEL_GRACE_S": "1",
    "HEADWAY_SHUTDOWN_GRACE_S": "0.5",
    "HEADWAY_LISTS_PER_MINUTE": "0",
    "HEADWAY_SAMPLES": "false",
}
KEYS = {"ada-1": "ada", "ada-2": "ada", "ben-1": "ben", "eve-1": "eve", "eve-2": "eve"}
"""The names of keys, and their owners."""
KEY_QUOTAS = {"ada-2": "jobs=60,queued=10"}
LARGE_QUOTA = "jobs=100000,queued=40,bytes=2GB"
"""Of the owner whose jobs fill the record; the others reach their quotas."""
LONGEST_ROUND_S = 1.5
SAMPLED = 12
CALM_EVERY = 20
MOST_SHOWN = 20
LEFT = """
SELECT id, status FROM jobs WHERE status IN ('queued', 'running')
UNION ALL
SELECT id, 'delivery' FROM deliveries WHERE status = 'pending'
"""

NURSERY = re.compile(r"headway-nursery|headway:.*")
KEEPER = re.compile("headway-keeper")
CHILD = re.compile("headway-job.*")
KINDS = {
    "server": 10,
    "server, at an answer": 4,
    "server, and again at once": 2,
    "server, and again while it starts": 3,
    "server, while it stops": 2,
    "SIGTERM": 1,
    "nursery": 2,
    "keeper": 1,
    "child": 3,
}
"""What is killed, and how often compared with the others."""


@dataclass
class Campaign:
    """One run on one data directory."""

    folder: Path
    seed: int
    report: Callable[[str], None] = print
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.data_dir = self.folder / "data"
        (self.folder / "diaries").mkdir(parents=True)
        self.promises = Promises(self.folder / "diaries")
        self._record = RecordCheck(self.data_dir, self.promises)
        self._accounts = _make_accounts(self.data_dir)
        self._order: list[str] = []
        self._without_keeper = False
        self._started_s = 0.0

    def run(self, kills: int) -> None:
        """Kill so often. Raises `AssertionError` when a promise is broken, with all that were."""
        self.report(f"seed {self.seed}")
        with ExitStack() as stack:
            receiver = stack.enter_context(Receiver())
            self._hooks = Hooks(receiver, self.promises)
            env = {**SETTINGS, "KILLS_FOLDER": str(self.folder)}
            self._started_s = time.time()
            self._server = stack.enter_context(Victim(self.data_dir, "--jobs", JOB_MODULES, env=env))
            try:
                self._repeat(kills)
            except AssertionError:
                (self.folder / "server.log").write_text(self._server.log())
                self.report(f"{self.summary()}; in this order: {', '.join(self._order)}")
                raise
        self.report(self.summary())

    def _repeat(self, kills: int) -> None:
        while self.kills.total() < kills:
            self._round()
            if self.kills.total() % CALM_EVERY == 0:
                self._calm()
        self._calm()
        self._server.stop()
        eventually(lambda: not self._server.processes(), "processes outlive an orderly stop")
        self._fail_if_broken("the end")

    def summary(self) -> str:
        jobs = self.promises.jobs.values()
        ends = Counter(job.ended[0] if job.ended else "deleted" for job in jobs)
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kills.most_common())
        return (
            f"{self.kills.total()} kills ({kinds}); {len(jobs)} jobs ({dict(ends)}), {len(self.promises.sent)} changes"
            f" requested, {self.promises.checked['promises']} checks"
        )

    # A round

    def _round(self) -> None:
        kind = self._draw()
        with load(self._clients(), self.promises):
            self._wait_for_a_moment(kind)
            self._kill(kind)
        self.kills[kind] += 1
        self._order.append(kind)
        self._check(kind)

    def _draw(self) -> str:
        kind = self.chance.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == "nursery" and self._without_keeper:
            return "server"  # without both of them, nobody would find what attempts have left
        return kind

    def _clients(self) -> list[Client]:
        return [
            Client(self._server, account, self.promises, self._hooks.url, random.Random(self.chance.random()))
            for account in self._accounts
        ]

    def _wait_for_a_moment(self, kind: str) -> None:
        if kind != "server, at an answer":
            time.sleep(self.chance.uniform(0.05, LONGEST_ROUND_S))  # the random moment is the test
            return
        wanted = len(self.promises.jobs) + self.chance.randrange(1, 20)
        end_s = time.monotonic() + LONGEST_ROUND_S  # quotas may be full
        while len(self.promises.jobs) < wanted and time.monotonic() < end_s:
            time.sleep(0)

    def _kill(self, kind: str) -> None:
        match kind:
            case "nursery" | "keeper" | "child":
                name = {"nursery": NURSERY, "keeper": KEEPER, "child": CHILD}[kind]
                eventually(lambda: self._server.kill_one(name, self.chance), f"there is no {kind}")
                time.sleep(self.chance.uniform(0, 0.5))  # under load
            case "SIGTERM":
                self._server.stop()
            case "server, while it stops":
                self._server.kill_while_it_stops(self.chance)
            case _:
                self._server.kill()

    def _check(self, kind: str) -> None:
        if kind in ("nursery", "keeper", "child"):
            self._without_keeper |= kind == "keeper"
            self.promises.expect(self._server.process.poll() is None, f"the server died with a {kind}")
        else:
            self._restart(kind)
        rows = self._record.check(int(self._started_s * 1000))
        check_leftovers(self.data_dir, rows, self._started_s)
        self._check_answers()
        self._check_usage()
        self._fail_if_broken(kind)

    def _restart(self, kind: str) -> None:
        if kind == "server, and again at once":
            self._start_again()
            self._server.kill()
        elif kind == "server, and again while it starts":
            self._server.kill_while_it_starts(self.chance)
        self._start_again()

    def _start_again(self) -> None:
        """Start the server, sometimes while processes of the last one may still be ending."""
        old = list(self._server.processes())
        if self.chance.random() < 0.5:
            self._server.wait_until_gone(old)
        self._started_s, self._without_keeper = time.time(), False
        self._server.restart()
        self._server.wait_until_gone(old)

    def _check_answers(self) -> None:
        """A sample of all jobs and the newest ones, as clients see them."""
        readers = self._readers()
        jobs = list(self.promises.jobs.values())
        for job in {*jobs[-SAMPLED:], *self.chance.sample(jobs, min(SAMPLED, len(jobs)))}:
            client = readers[job.order.owner]
            client.read(job)
            client.read_log(job)
            if job.completed and not job.may_be_gone:
                client.read_result(job)
                client.read_file(job)

    def _check_usage(self) -> None:
        """What `/usage` says is what the record has, as soon as both are read between two changes."""
        differing: dict[str, Any] = {}

        def agree() -> bool:
            before, counted, after = self._usage(), self._counted(), self._usage()
            differing.update(usage=before, record=counted)
            return before == counted == after

        eventually(agree, lambda: f"usage and record differ: {differing}")
        examined = run_command("doctor", "--data-dir", str(self.data_dir))
        self.promises.expect(examined.returncode == 0, f"headway doctor: {examined.stdout}")

    def _usage(self) -> dict[tuple[str, str], Used]:
        found: dict[tuple[str, str], Used] = {}
        for account in self._accounts:
            usage = self._server.request("GET", "/usage", headers=dict(account.headers)).json
            for key_id, name in (("", "owner"), (account.key_id, "key")):
                found[account.owner, key_id] = Used(*(usage[name][measure]["used"] for measure in Used._fields))
        return found

    def _counted(self) -> dict[tuple[str, str], Used]:
        with reading(self.data_dir) as connection:
            counted = used(connection)
        holders = [(account.owner, key_id) for account in self._accounts for key_id in ("", account.key_id)]
        return {holder: counted.get(holder, Used()) for holder in holders}

    # Everything at rest

    def _calm(self) -> None:
        """Let all jobs end and all webhooks arrive, and add up."""
        while left := self._left():  # job processes get only idle CPU time: they may take long, but not for ever
            eventually(lambda left=left: self._left() != left, f"nothing goes on: {left}")
        rows = self._record.check(int(self._started_s * 1000))
        readers = self._readers()
        for job in list(self.promises.jobs.values()):
            row = rows.get(job.job_id)
            if row is not None and job.ended is None:
                readers[job.order.owner].read(job)
            if job.ended is not None or row is None:
                self._hooks.check(job)
        check_at_rest(self.data_dir, rows, self.promises, self._started_s)
        self._check_usage()
        self._fail_if_broken("everything at rest")
        self.report(self.summary())

    def _left(self) -> list[Any]:
        """The jobs that have not ended, and the deliveries that have not been made."""
        with reading(self.data_dir) as connection:
            return connection.execute(LEFT).fetchall()

    def _readers(self) -> dict[str, Client]:
        return {client.owner: client for client in self._clients()}

    def _fail_if_broken(self, when: str) -> None:
        told = self.folder / "broken"
        of_handlers = told.read_text().splitlines() if told.exists() else []
        found = [*self.promises.broken, *self._server.faults(), *of_handlers]
        if found:
            shown = "\n".join(found[:MOST_SHOWN])
            raise AssertionError(f"seed {self.seed}, {self.summary()}\nafter a kill ({when}), {len(found)}:\n{shown}")


def _make_accounts(data_dir: Path) -> Sequence[Account]:
    """Two keys for most owners, each of a client of its own."""
    accounts = []
    for name, owner in KEYS.items():
        key = make_key(data_dir, name, "--owner", owner, "--quota", KEY_QUOTAS.get(name, "none"))
        key_id = next(line.split()[1] for line in keys(data_dir, "list").stdout.splitlines() if line.startswith(name))
        accounts.append(Account(owner, key_id, key))
    given = run_command("quota", "eve", LARGE_QUOTA, "--data-dir", str(data_dir))
    assert given.returncode == 0, given.stderr
    return accounts
