"""The child's side of the conversation, in this process: what is sent when, and what the server's messages do."""

import math
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from headway import BlockingContext, JobCancelled
from headway.errors import ClaimLostError, StoreUnavailableError
from headway.limits import LOG_BURST_LINES, MESSAGE_CHARS, WORD_CHARS
from headway.ports.files import Directories
from headway.running.processes.channel import BlockingChannel
from headway.running.processes.child import reporter as reporting
from headway.running.processes.child.reporter import FLUSH_EVERY_S, Interruption, Reporter
from headway.running.processes.messages import (
    LINES_PER_REPORT,
    Began,
    Cancel,
    Checkpoint,
    CheckpointAnswer,
    CheckpointOutcome,
    Report,
)

from tests.support.process import WAIT_TIMEOUT_S


class Ends:
    """A reporter, the server's end of its channel, and a clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        ours, theirs = socket.socketpair()
        self.server = BlockingChannel(ours.detach())
        self.reporter = Reporter(BlockingChannel(theirs.detach()))
        self.context = BlockingContext(
            job_id="j",
            attempt=1,
            owner="local",
            directories=Directories("/nowhere", "/nowhere", "/nowhere"),
            reported=self.reporter.reported,
            logs=self.reporter.logs,
            checkpoint_json=None,
            sync_checkpoint=self.reporter.checkpoint,
            nudge=self.reporter.nudge,
        )

    def sent(self) -> list[Any]:
        """What has arrived at the server."""
        messages = []
        while self.server.readable(0):
            messages.append(self.server.receive())
        return messages

    def close(self) -> None:
        self.server._socket.close()
        self.reporter._channel._socket.close()


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    ends = Ends()
    monkeypatch.setattr(reporting, "time", SimpleNamespace(monotonic=lambda: ends.now_s))
    yield ends
    ends.close()


@pytest.fixture
def listened_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """With the clock that the system has, and the listening thread, which ends when the server is gone."""
    ended = threading.Event()
    monkeypatch.setattr("headway.running.processes.child.reporter.os.killpg", lambda *_: ended.set())
    ends = Ends()
    ends.reporter.listen(ends.context)
    yield ends
    ends.server._socket.close()
    assert ended.wait(WAIT_TIMEOUT_S)
    ends.close()


def reported(*done: int, total: int | None = None) -> list[Report]:
    return [Report((number, total, None, None, None, None), ()) for number in done]


def test_after_a_quiet_time_two_reports_are_sent_at_once_and_of_the_others_the_newest_when_it_is_due(
    ends: Ends,
) -> None:
    for done in range(4):
        ends.context.progress(done=done)
    assert ends.sent() == reported(0, 1)
    ends.now_s += FLUSH_EVERY_S
    ends.context.progress(done=4, total=5)
    assert ends.sent() == reported(4, total=5)
    ends.context.progress(done=5)
    assert ends.sent() == []


def test_the_first_log_line_is_sent_at_once_and_the_others_with_the_next_report(ends: Ends) -> None:
    for message in ("one", "two", "three", "four"):
        ends.context.log(message)
    ends.now_s += FLUSH_EVERY_S
    ends.context.progress(done=1)
    sent = ends.sent()
    assert [[line.message for line in report.lines] for report in sent] == [["one"], ["two"], ["three", "four"]]
    assert sent[-1].progress is not None


def test_what_a_quiet_handler_reported_last_is_sent_by_the_listening_thread(listened_to: Ends) -> None:
    for done in range(3):
        listened_to.context.progress(done=done)
    assert [listened_to.server.receive() for _ in range(3)] == reported(0, 1, 2)
    listened_to.context.log("the last words")
    received = listened_to.server.receive()
    assert isinstance(received, Report)
    assert [line.message for line in received.lines] == ["the last words"]


def test_what_the_server_says_after_the_end_is_not_for_the_listening_thread() -> None:
    ends = Ends()
    ends.reporter.listen(ends.context)
    ends.reporter.close()
    assert "headway-reporter" not in {thread.name for thread in threading.enumerate()}
    ends.server.send(Cancel())
    assert ends.reporter._channel.receive() == Cancel()
    assert not ends.context.cancelled
    ends.close()


def test_a_report_during_a_flush_of_the_other_thread_is_sent_by_that_one(listened_to: Ends) -> None:
    with listened_to.reporter._flushing:  # the other thread has taken what there was
        listened_to.context.progress(done=1)
    assert listened_to.server.receive() == reported(1)[0]


def test_a_report_in_another_thread_does_not_hold_off_an_interruption() -> None:
    interruption, inside, leave = Interruption(), threading.Event(), threading.Event()

    def report() -> None:
        with interruption.held():
            inside.set()
            leave.wait(WAIT_TIMEOUT_S)

    thread = threading.Thread(target=report)
    with interruption.allowed():
        thread.start()
        inside.wait(WAIT_TIMEOUT_S)
        with pytest.raises(JobCancelled):
            interruption.on_signal(15, None)
        leave.set()
        thread.join(WAIT_TIMEOUT_S)


def test_nothing_is_sent_for_nothing(ends: Ends) -> None:
    ends.reporter.flush(final=True)
    assert ends.sent() == []


def test_what_is_reported_is_cut_before_it_is_sent(ends: Ends) -> None:
    ends.context.progress(10**5_000, math.nan, message="m" * 100_000_000, unit="\ud800", step="s" * 1_000)
    ends.reporter.flush()
    (report,) = ends.sent()
    assert isinstance(report, Report)
    assert report.progress is not None
    done, total, percent, unit, message, step = report.progress
    assert (done, total, percent, unit) == (None, None, None, "�")
    assert message.endswith("m… (cut from 100,000,000 characters)")
    assert (len(message), len(step)) == (MESSAGE_CHARS, WORD_CHARS)


def test_many_lines_go_in_several_reports_and_the_server_hears_how_many_were_dropped(ends: Ends) -> None:
    for number in range(2 * LOG_BURST_LINES):
        ends.context.log(f"{number}")
    ends.reporter.flush(final=True)
    reports = ends.sent()
    lines = [line.message for report in reports for line in report.lines]
    assert lines[:LOG_BURST_LINES] == [f"{number}" for number in range(LOG_BURST_LINES)]
    assert max(len(report.lines) for report in reports) == LINES_PER_REPORT
    assert sum(report.dropped for report in reports) == 2 * LOG_BURST_LINES - len(lines)


class Number:
    """Like one of numpy's."""

    def item(self) -> int:
        return 7


def test_objects_are_reported_as_json_can_hold_them(ends: Ends) -> None:
    ends.context.progress(done=Number(), message=ValueError("as text"))  # type: ignore[arg-type]
    ends.reporter.flush()
    assert ends.sent() == [Report((7, None, None, None, "as text", None), ())]


def test_a_lost_server_is_not_an_error_of_the_handler(ends: Ends) -> None:
    ends.server._socket.close()
    ends.now_s += 2 * FLUSH_EVERY_S
    ends.context.progress(done=1)


def test_the_begin_is_announced(ends: Ends) -> None:
    ends.reporter.begin()
    assert ends.sent() == [Began()]


def test_a_cancel_sets_the_flag(ends: Ends) -> None:
    ends.reporter._obey(Cancel(), ends.context)
    assert ends.context.cancelled


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (CheckpointOutcome.STORED, None),
        (CheckpointOutcome.LOST, ClaimLostError),
        (CheckpointOutcome.FAILED, StoreUnavailableError),
    ],
)
def test_a_checkpoint_waits_for_its_answer(
    ends: Ends, outcome: CheckpointOutcome, error: type[Exception] | None
) -> None:
    raised: list[type[BaseException]] = []

    def handler() -> None:
        try:
            ends.context.checkpoint({"page": 5})
        except Exception as refusal:  # noqa: BLE001 - what it is, the test checks
            raised.append(type(refusal))

    thread = threading.Thread(target=handler)
    thread.start()
    assert ends.server.receive() == Checkpoint('{"page":5}')
    assert thread.is_alive()
    ends.reporter._obey(CheckpointAnswer(outcome), ends.context)
    thread.join(10)
    assert raised == ([] if error is None else [error])


# Interruption


def test_a_signal_interrupts_the_handler() -> None:
    interruption = Interruption()
    with interruption.allowed(), pytest.raises(JobCancelled):
        interruption.on_signal(15, None)


def test_a_signal_before_the_handler_runs_interrupts_its_beginning() -> None:
    interruption = Interruption()
    interruption.on_signal(15, None)
    begun = False
    with pytest.raises(JobCancelled), interruption.allowed():
        begun = True
    assert not begun


def test_a_signal_after_the_handler_has_ended_changes_nothing() -> None:
    interruption = Interruption()
    with interruption.allowed():
        pass
    interruption.on_signal(15, None)
    with interruption.held():  # its end is sent
        pass


def test_a_signal_in_the_middle_of_a_message_waits_for_its_end() -> None:
    interruption = Interruption()
    sent = False
    with interruption.allowed(), pytest.raises(JobCancelled), interruption.held():  # noqa: PT012 - its end raises
        interruption.on_signal(15, None)
        sent = True
    assert sent


def test_a_signal_interrupts_once() -> None:
    interruption = Interruption()
    with interruption.allowed():
        with pytest.raises(JobCancelled), interruption.held():
            interruption.on_signal(15, None)
        with interruption.held():
            pass
