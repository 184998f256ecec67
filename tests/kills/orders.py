"""Jobs of all kinds, drawn at random."""

import hashlib
import json
import random
from datetime import UTC, datetime, timedelta
from itertools import count

from tests.job_types.killed_jobs import End, Work
from tests.kills.promises import Order
from tests.support.process import multipart

TYPES = (
    *("waits", "waits", "waits", "waits-once", "computes", "computes", "computes-once"),
    *("kept", "kept", "loaded", "reads", "reads-async", "reads-async"),
)
SPAWNED = "spawned"
IN_A_PROCESS = frozenset({"computes", "computes-once", "kept", "loaded", "reads", SPAWNED})
WITH_UPLOAD = frozenset({"reads", "reads-async"})
ENDS: tuple[End, ...] = (*("return",) * 12, "refuse", "raise", "flaky")
ENDED_BY_A_KILL = frozenset({"waits-once", "computes-once"})
"""Their jobs may have ended without having begun, which nobody could tell from lost ones if they were deleted soon."""
LARGE_BYTES = 90_000
"""More than a poll shows of a result, and than one page of the record."""
SOON_S = 3.0
DELETED_AFTER_S = 2

_numbers = count(1)


def draw(chance: random.Random, owner: str, key_id: str, webhook_url: str) -> Order:
    job_type = SPAWNED if chance.random() < 0.01 else chance.choice(TYPES)
    work = _work(chance, job_type)
    label = f"{owner} {next(_numbers)}"
    query = {"label": label}
    if chance.random() < 0.2:
        query["priority"] = str(chance.randrange(-5, 6))
    if chance.random() < 0.15:
        due = datetime.now(UTC) + timedelta(seconds=chance.uniform(0, SOON_S))
        query["runAt"] = due.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    webhook, short = chance.random() < 0.4, chance.random() < 0.08 and job_type not in ENDED_BY_A_KILL
    if webhook:
        query["webhookUrl"] = webhook_url
    if short:
        query["retainSeconds"] = str(DELETED_AFTER_S)
    body, content_type = _body(chance, job_type, work, label)
    idempotency_key = f'"{label}"' if chance.random() < 0.4 else None
    return Order(owner, key_id, job_type, work, label, query, body, content_type, idempotency_key, webhook, short)


def _work(chance: random.Random, job_type: str) -> Work:
    ends = (*ENDS, "die") if job_type in IN_A_PROCESS else ENDS
    return Work(
        steps=chance.randrange(6),
        step_s=chance.choice((0.0, 0.01, 0.03)),
        result_bytes=chance.choice((10, 1000, 1000, LARGE_BYTES)),
        files=chance.choice((0, 0, 0, 1, 3)),
        file_bytes=chance.choice((0, 100, LARGE_BYTES)),
        daemon=job_type != SPAWNED and chance.random() < 0.1,  # a new interpreter's daemon is not found
        end=chance.choice(ends),
    )


def _body(chance: random.Random, job_type: str, work: Work, label: str) -> tuple[bytes, str]:
    if job_type not in WITH_UPLOAD:
        return work.model_dump_json().encode(), "application/json"
    content = f"{label} ".encode() * chance.choice((1, 100, 10_000))
    fields = {**json.loads(work.model_dump_json()), "sha256": hashlib.sha256(content).hexdigest()}
    return multipart({"file": content}, fields)
