"""The child's side of the conversation, in this process: what is sent when, and what the server's messages do."""

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from headway import BlockingContext, JobCancelled
from headway.errors import ClaimLostError, StoreUnavailableError
from headway.ports.files import Directories
from headway.running.processes import reporter as reporting
from headway.running.processes.channel import BlockingChannel
from headway.running.processes.messages import Began, Cancel, Checkpoint, CheckpointAnswer, CheckpointOutcome, Report
from headway.running.processes.reporter import FLUSH_EVERY_S, Interruption, Reporter


class Ends:
    """A reporter, the server's end of its channel, and a clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(reporting, "time", SimpleNamespace(monotonic=lambda: self.now_s))
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
    ends = Ends(monkeypatch)
    yield ends
    ends.close()


def test_a_report_waits_for_its_time_and_the_newest_is_sent(ends: Ends) -> None:
    for done in range(3):
        ends.context.progress(done=done)
    assert ends.sent() == []
    ends.now_s += 2 * FLUSH_EVERY_S
    ends.context.progress(done=3, total=4)
    assert ends.sent() == [Report((3, 4, None, None, None, None), ())]


def test_log_lines_are_sent_with_the_report(ends: Ends) -> None:
    ends.context.log("one")
    ends.context.log("two")
    ends.reporter.flush()
    (report,) = ends.sent()
    assert [line.message for line in report.lines] == ["one", "two"]
    assert report.progress is None


def test_nothing_is_sent_for_nothing(ends: Ends) -> None:
    ends.reporter.flush(final=True)
    assert ends.sent() == []


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
