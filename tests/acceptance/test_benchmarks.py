"""The benchmarks themselves, tiny: that they run, and that they count what clients received."""

import socket
import threading

from tests.benchmarks.report import Play, Table, summary
from tests.benchmarks.sides import Pace
from tests.benchmarks.stream import run_many_jobs, run_one_job
from tests.benchmarks.watchers import Order, Watchers

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
FRAME = b'data: {"message":"00000000000000000001"}\n\n'
OURS = Play(1, frozenset({"headway", "aiohttp"}))


def test_frames_are_counted_wherever_the_reads_cut_them() -> None:
    said = b": connected\n\n" + 3 * FRAME + b": keep-alive\n\n"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        watchers = Watchers(Order(part="listening", port=port, paths=["/"], watchers=1, seconds=0, pids=[]))
        opening = threading.Thread(target=watchers.open)
        opening.start()
        connection, _ = listening.accept()
        with connection:
            connection.sendall(HEAD)
            opening.join()
            for number, cut in enumerate(range(1, len(said)), 1):
                for part in (said[:cut], said[cut:]):
                    connection.sendall(part)
                    while not watchers.read(1.0):
                        pass
                assert watchers.counted.frames == 3 * number, said[:cut]
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


def test_a_target_is_met_missed_or_not_measured() -> None:
    table = Table("")
    table.expect("above", 2.0, at_least=1)
    table.expect("below", 2.0, at_most=1)
    table.expect("absent", None, at_most=1)
    assert [row[""] for row in summary([table]).rows] == ["met", "MISSED", "not measured"]
