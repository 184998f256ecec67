"""The benchmarks in miniature: they run, and they count what clients receive."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.benchmarks import startup
from tests.benchmarks.comparing import checkout, plays
from tests.benchmarks.comparing.comparison import in_turn
from tests.benchmarks.comparing.plays import Played
from tests.benchmarks.neighbours import actions
from tests.benchmarks.report import Play, Table, summary
from tests.benchmarks.starts import empty, memory, models, over_http, sleeping
from tests.benchmarks.streams.sides import Pace
from tests.benchmarks.streams.stream import run_many_jobs, run_one_job
from tests.benchmarks.streams.watchers import Instructions, Watchers
from tests.benchmarks.throughput import against_bare, carried
from tests.benchmarks.throughput.asking import MINIMAL
from tests.support.process import WAIT_TIMEOUT_S, eventually

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
FRAME = b'data: {"message":"00000000000000000001"}\n\n'
OURS = Play(1, frozenset({"headway", "aiohttp"}))


def test_frames_are_counted_however_reads_split_them() -> None:
    sent = b": connected\n\n" + 3 * FRAME + b": keep-alive\n\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        watchers = Watchers(Instructions(part="listening", port=port, paths=["/"], watchers=1, seconds=0, pids=[]))
        opening = threading.Thread(target=watchers.open)
        opening.start()
        connection, _ = listening.accept()
        with connection:
            connection.sendall(HEAD)
            opening.join()
            for number, cut in enumerate(range(1, len(sent)), 1):
                for part in (sent[:cut], sent[cut:]):
                    connection.sendall(part)
                    while not watchers.read(1.0):
                        pass
                assert watchers.counted.frames == 3 * number, sent[:cut]
            watchers.close()


def test_one_job_and_its_watchers_are_measured() -> None:
    table = run_one_job(OURS, watchers=20, seconds=0.2)
    headway, bare, ratio = table.rows
    assert (headway["server"], bare["server"], ratio["server"]) == ("headway", "aiohttp", "headway/aiohttp")
    for row in (headway, bare):
        assert row["frames_per_s"] > 0
        assert row["p99_ms"] > 0
    # The same bytes: only the number of the frame and the rate differ in length.
    assert abs(headway["bytes_per_frame"] - bare["bytes_per_frame"]) < 40
    assert [target.met for target in table.targets][:3] == [None] * 3  # their peers did not play


def test_many_jobs_and_their_watchers_are_measured() -> None:
    table = run_many_jobs(OURS, Pace(sources=10, updates=3, per_second=5.0))
    received = {row["server"]: row["received"] for row in table.rows if "received" in row}
    assert received["aiohttp"] == 30
    assert 10 <= received["headway"] <= 30  # states coalesce on a busy machine; every job's last one comes


def test_starts_are_measured_and_the_counts_are_exact() -> None:
    table = startup.run(Play(1), jobs=500, expired=300, with_files=10)
    assert [row["until"] for row in table.rows] == ["listening", "first response"]
    assert all(row["full_s"] > 0 for row in table.rows)


def test_empty_jobs_are_measured_from_their_submission_to_their_end() -> None:
    table = empty.run(Play(1, frozenset({"headway", "pool"})), seconds=1.0)  # others run beside it
    assert [row["side"] for row in table.rows] == [empty.ASYNC, empty.FORKED, empty.KEPT, empty.POOL]
    assert all(row["p50_ms"] > 0 and row["per_second"] > 0 for row in table.rows)
    assert [target.met is None for target in table.targets] == [False, True, True, True]  # the others did not play


def test_the_loads_of_a_model_are_counted() -> None:
    table = models.run(Play(1, frozenset({"headway"})), jobs=3, load_s=0.0)
    loads = {row["side"]: row["loads"] for row in table.rows}
    assert (loads[models.PLAIN], loads[models.SHARED]) == (3, 1)
    assert 1 <= loads[models.KEPT] <= over_http.cores()


def test_the_memory_of_processes_with_a_buffer_in_common_is_measured() -> None:
    all_of_them, one = (row["mib"] for row in memory.run(Play(1), mib=32).rows)
    assert one > 32
    assert one < all_of_them < 8 * one  # far less than if each had its own


def test_jobs_that_sleep_are_measured() -> None:
    (row,) = sleeping.run(Play(1), jobs=3).rows
    assert row["seconds"] >= 1


def test_submissions_are_measured_beside_those_of_a_minimal_durable_server() -> None:
    table = against_bare.run_submit(Play(1), seconds=0.1)
    servers = [row["server"] for row in table.rows]
    for number in against_bare.SUBMITTERS:
        assert f"{MINIMAL}, {number} connections" in servers
        assert f"{MINIMAL}/bare, {number} connections" in servers
    assert all(row["per_second"] > 0 for row in table.rows)


def test_jobs_are_measured_beside_those_of_a_minimal_durable_server() -> None:
    found = dict(carried.headway_and_peers(seconds=0.1))
    assert list(found) == ["bare POST", MINIMAL, "headway"]
    assert all(measured["per_second"] > 0 and measured["cpu_us_each"] > 0 for measured in found.values())


def test_actions_are_killed_and_the_polls_of_others_are_measured() -> None:
    table = actions.run(Play(1), jobs=500, polls=10, kills=1)
    assert [row["action"] for row in table.rows] == ["cancel", "retry", "purge"]
    assert all(row["quiet_p99"] > 0 and row["busy_p99"] > 0 for row in table.rows)


def test_a_target_is_met_missed_or_not_measured() -> None:
    table = Table("")
    table.expect("above", 2.0, at_least=1)
    table.expect("below", 2.0, at_most=1)
    table.expect("absent", None, at_most=1)
    assert [row[""] for row in summary([table]).rows] == ["met", "MISSED", "not measured"]


@pytest.mark.parametrize("name", plays.BENCHMARKS)
def test_each_benchmark_of_a_comparison_measures_a_rate(name: str, tmp_path: Path) -> None:
    played = plays.BENCHMARKS[name].play(checkout.root(), 0.2, tmp_path)
    assert played.per_second > 0
    assert played.cpu_us_each > 0


def test_the_order_within_a_pair_does_not_change_which_is_the_reference(tmp_path: Path) -> None:
    reference, other = tmp_path / "reference", tmp_path / "other"
    for other_first, order in ((False, [reference, other]), (True, [other, reference])):
        trees: list[Path] = []

        def play(tree: Path, trees: list[Path] = trees) -> Played:
            trees.append(tree)
            return Played(2.0 if tree == other else 1.0, 1.0)

        first, second = in_turn(play, reference, other, other_first=other_first)
        assert (first.per_second, second.per_second) == (1.0, 2.0)
        assert trees == order


def test_the_working_tree_is_compared_with_a_commit() -> None:
    done = _against("HEAD", "poll", "--pairs", "1", "--seconds", "0.2")
    assert done.returncode in {0, 1}, done.stderr
    assert "poll 1: before" in done.stdout
    *_, heading, row, _, _, _ = done.stdout.splitlines()
    assert heading.split()[:3] == ["benchmark", "before/s", "after/s"]
    assert row.split()[0] == "poll"
    # One tiny pair may come out either way; the verdict and the exit status agree.
    assert row.endswith("slower" if done.returncode else "nothing lost")


def test_a_run_that_is_terminated_leaves_no_worktree(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--against", "HEAD", "submit"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=checkout.root(), env=env, stdout=subprocess.PIPE) as process:
        eventually(lambda: str(tmp_path) in checkout.git("worktree", "list"))
        process.terminate()
        assert process.wait(WAIT_TIMEOUT_S) == 128 + signal.SIGTERM
    assert str(tmp_path) not in checkout.git("worktree", "list")


def test_a_commit_or_a_benchmark_that_does_not_exist_is_an_error() -> None:
    for arguments in (("no-such-commit",), ("HEAD", "no-such-benchmark")):
        done = _against(*arguments)
        assert done.returncode == 2
        assert "no-such" in done.stderr


def _against(commit: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.benchmarks", "--against", commit, *arguments]
    return subprocess.run(command, cwd=checkout.root(), capture_output=True, text=True, check=False)
