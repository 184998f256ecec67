"""What happens to jobs, put into the outbox in the transaction in which it happens."""

import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime

from ...domain.deliveries import WebhookEvent
from ...domain.ids import JobIds
from ...domain.instants import nearest_to_ms, to_ms
from ...domain.jobs import Job
from .rows import Parameters
from .statements import SQL

PROGRESS_EVERY_MS = 10_000

BodyOf = Callable[[WebhookEvent, Job], str]
"""Makes the body of a delivery. Called in the writer's thread."""

Execute = Callable[[str, Parameters], sqlite3.Cursor]
"""Executes a statement in the open transaction."""


class Announcer:
    """Writes deliveries. One for the server: ids of deliveries grow strictly."""

    def __init__(self, body_of: BodyOf) -> None:
        self._body_of = body_of
        self._ids = JobIds()

    def write(self, execute: Execute, announced: Iterable[tuple[WebhookEvent, Job]]) -> None:
        """Record a delivery for each event, unless its receiver has said that it is gone."""
        for event, job in announced:
            webhook = job.webhook
            if webhook is None or is_gone(execute, job.owner, webhook.url, job.created_at):
                continue
            due_at = job.updated_at
            if WebhookEvent.PROGRESS in webhook.events:
                due_at = _after_progress(execute, event, job)
            where: Parameters = {"owner": job.owner, "host": webhook.host, "due_at": to_ms(due_at)}
            execute(SQL["await_receiver"], where)
            delivery_id, _ = self._ids.new(job.updated_at)
            where |= {"id": delivery_id, "job_id": job.id, "event": event.value, "url": webhook.url}
            where |= {"created_at": to_ms(job.updated_at), "body": self._body_of(event, job)}
            execute(SQL["insert_delivery"], where)


def is_gone(execute: Execute, owner: str, url: str, since: datetime) -> bool:
    """Whether the receiver has answered 410 to this owner since then."""
    return execute(SQL["is_gone"], {"owner": owner, "url": url, "since": to_ms(since)}).fetchone() is not None


def _after_progress(execute: Execute, event: WebhookEvent, job: Job) -> datetime:
    """Drop the job's waiting progress, which this event supersedes. Returns when the event may be sent."""
    where: Parameters = {"job_id": job.id, "pause_ms": PROGRESS_EVERY_MS}
    next_ms = execute(SQL["next_progress"], where).fetchone()[0]
    execute(SQL["delete_progress_deliveries"], where)
    if event is not WebhookEvent.PROGRESS or next_ms is None:
        return job.updated_at
    return max(job.updated_at, nearest_to_ms(next_ms))
