"""Streams: changes as server-sent events."""

from ..requests.query import LastEventQuery
from ..streams.many import ManyQuery
from . import examples
from .operation import Answer, Operation, Operations, Schema, shown

NAMES = ("message", "log", "reset", "gone", "ready")
EVENT: Schema = {
    "title": "Event",
    "type": "object",
    "description": "One event. The schema describes each event, not the whole stream.",
    "properties": {
        "event": {
            "enum": NAMES,
            "description": "`message` stands for an event without a name: a state of a job.",
        },
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}

EVENTS = Answer(
    description="Server-sent events (WHATWG HTML, 9.2)",
    content={"text/event-stream": {"schema": EVENT, **shown([examples.STREAM])}},
)

OPERATIONS: Operations = {
    ("GET", "/jobs/{id}/progress"): Operation(
        id="watchJob",
        tag="streams",
        summary="Watch a job",
        description=(
            "A state is an unnamed event whose data is the job; `event: log` is a line of its log. A client that "
            "reconnects with the `id` of the last event misses no log line and no change of state; an unknown id is "
            "answered with `event: reset`. The stream ends with the job; `event: gone` means that the job was deleted."
        ),
        query=LastEventQuery,
        headers=("Last-Event-ID",),
        answers={200: EVENTS, 204: Answer(description="The given event was the job's last one")},
        problems=("not-found", "too-many-streams", "stopping", "store-unavailable"),
        problem_headers={503: ("Retry-After",)},
    ),
    ("GET", "/jobs/progress"): Operation(
        id="watchJobs",
        tag="streams",
        summary="Watch many jobs",
        description=(
            "The active jobs and those that ended in the last minute, then `event: ready`, then every change. "
            "`event: gone` means that a job was deleted."
        ),
        query=ManyQuery,
        headers=("Last-Event-ID",),
        answers={200: EVENTS},
        problems=("too-many-streams", "stopping"),
        problem_headers={503: ("Retry-After",)},
    ),
}
