"""Names what blocks the event loop: an async handler that computes holds up every client."""

import asyncio
import sys
import threading
import time
from types import CodeType, FrameType

import structlog

from ..authoring.job_types import Registry
from ..metrics import Histogram

BLOCKED_AFTER_S = 1.0
BEAT_EVERY_S = 0.25

log = structlog.get_logger(__name__)


class LoopWatchdog:
    """A thread that checks whether the event loop still turns, and logs what it is doing if it does not."""

    def __init__(self, loop: asyncio.AbstractEventLoop, registry: Registry, lag: Histogram) -> None:
        """`lag` observes the seconds by which the loop was late for a timer."""
        self._loop = loop
        self._lag = lag
        self._due_s = time.monotonic()
        self._handlers: dict[CodeType, str] = {}
        self._learn(registry)
        registry.when_changed(lambda: self._learn(registry))
        self._beat_s = time.monotonic()
        self._loop_thread = threading.get_ident()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="headway-watchdog", daemon=True)

    def _learn(self, registry: Registry) -> None:
        """Know the handlers. Those of earlier are not forgotten: they may still run."""
        self._handlers = self._handlers | {
            job_type.handler.__code__: job_type.name
            for job_type in registry
            if job_type.is_async and not job_type.is_remote
        }

    def start(self) -> None:
        """Begin to watch. Call it in the loop's thread."""
        self._due_s = time.monotonic()
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Watch no more. The thread ends at its next check."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._beat_s = now_s = time.monotonic()
        self._lag.observe(max(0.0, now_s - self._due_s))
        self._due_s = now_s + BEAT_EVERY_S
        self._timer = self._loop.call_later(BEAT_EVERY_S, self._beat)

    def _watch(self) -> None:
        named_beat_s = 0.0
        while not self._stopped.wait(BEAT_EVERY_S):
            beat_s = self._beat_s
            held_s = time.monotonic() - beat_s
            if held_s > BLOCKED_AFTER_S and beat_s != named_beat_s:
                named_beat_s = beat_s
                self._name(held_s)

    def _name(self, held_s: float) -> None:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented for debuggers
        where = "unknown" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        job_type = self._handler_on(frame)
        if job_type is None:
            log.warning("the event loop is blocked", held_s=round(held_s, 1), where=where)
        else:
            log.warning(
                "an async handler blocks the event loop: make it a plain def, or let it await",
                type=job_type,
                held_s=round(held_s, 1),
                where=where,
            )

    def _handler_on(self, frame: FrameType | None) -> str | None:
        """The job type whose handler is on the stack."""
        while frame is not None:
            name = self._handlers.get(frame.f_code)
            if name is not None:
                return name
            frame = frame.f_back
        return None
