"""Follows several jobs until they have ended, and shows what happens on a screen."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from ...client import AsyncClient, AsyncJob, JobState, LogEvent, StateEvent
from ..jobs.connecting import SHORT_RETRY_S, Place, find_server
from ..jobs.statuses import ExitStatus, refusals, status_of_jobs
from ..jobs.wording import names_of, outcome
from ..printing import show
from .screens import JsonScreen, LineScreen, QuietScreen, Screen

OUTAGE_S = 300.0
"""How long a server may be away: it may restart, or a laptop may change its network."""
SHOWN_IDS = 3


def watch_jobs(url: str | None, ids: list[str], *, as_json: bool, quiet: bool) -> ExitStatus:
    """The exit status of jobs that have ended, once they have. Ends the process if the server refuses or is away."""
    with refusals():
        return asyncio.run(_Watch(find_server(url), ids, as_json=as_json, quiet=quiet).run())


class _Watch:
    """One run of the command."""

    def __init__(self, place: Place, ids: list[str], *, as_json: bool, quiet: bool) -> None:
        self._place, self._ids = place, ids
        self._as_json, self._quiet = as_json, quiet
        self._stopped = asyncio.Event()

    async def run(self) -> ExitStatus:
        async with self._client(SHORT_RETRY_S) as client:  # so that it is known soon that there is no server
            await client.get(self._ids[0])
        async with self._client(OUTAGE_S) as client, self._interruptions():
            jobs = [await client.get(job_id) for job_id in self._ids]
            with _screen([job.state for job in jobs], as_json=self._as_json, quiet=self._quiet) as screen:
                ended = await self._follow(jobs, screen)
            if ended is not None and not screen.shows_reasons:
                _report_failures(ended)
        if ended is None:
            self._explain()
            return ExitStatus.INTERRUPTED
        return status_of_jobs(ended)

    def _client(self, retry_for_s: float) -> AsyncClient:
        return AsyncClient(self._place.url, self._place.api_key, retry_for_s=retry_for_s)

    async def _follow(self, jobs: list[AsyncJob[Any]], screen: Screen) -> list[JobState] | None:
        """The states at the end; `None` if Ctrl-C came first. Raises what following one of them raises."""
        following = [asyncio.create_task(_follow(job, screen)) for job in jobs]
        everything = asyncio.gather(*following)
        stopped = asyncio.create_task(self._stopped.wait())
        drawing = asyncio.create_task(screen.draw_until_cancelled())
        tasks = [*following, stopped, drawing]
        try:
            first: set[asyncio.Future[Any]] = {everything, stopped}
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            return await everything if everything.done() else None
        finally:
            for task in tasks:
                task.cancel()
            everything.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await everything
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def _interruptions(self) -> AsyncIterator[None]:
        """Ctrl-C once stops watching, twice leaves, whatever is under way."""
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            if self._stopped.is_set():
                sys.stdout.write("\n\x1b[?25h" if sys.stdout.isatty() else "")
                sys.stdout.flush()
                os._exit(ExitStatus.INTERRUPTED)
            self._stopped.set()

        loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _explain(self) -> None:
        ids = " ".join(self._ids[:SHOWN_IDS]) + (" …" if len(self._ids) > SHOWN_IDS else "")
        goes = "The job goes on." if len(self._ids) == 1 else "The jobs go on."
        show(f"Stopped watching. {goes} To cancel: headway cancel {ids}", sys.stderr)


async def _follow(job: AsyncJob[Any], screen: Screen) -> JobState:
    """The job at its end."""
    async for event in job.events():
        if isinstance(event, StateEvent):
            screen.see(event.state)
        elif isinstance(event, LogEvent):
            screen.log(job.id, event.line)
    return job.state


def _screen(states: list[JobState], *, as_json: bool, quiet: bool) -> Screen:
    if as_json:
        return JsonScreen()
    if quiet:
        return QuietScreen()
    names = names_of(states)
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        from .bars import BarScreen  # noqa: PLC0415 - rich, for terminals

        return BarScreen(names, states)
    return LineScreen(names)


def _report_failures(ended: list[JobState]) -> None:
    """The whole error, which a bar has no room for."""
    names = names_of(ended)
    for state in ended:
        if state.status == "failed":
            show(f"headway: {names[state.id]}: {outcome(state)} ({state.id})", sys.stderr)
