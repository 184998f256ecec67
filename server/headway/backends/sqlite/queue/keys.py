"""Idempotency keys in the record. Called in the writer's thread."""

from datetime import datetime

from ....domain.idempotency import FirstSubmission, IdempotencyKey
from ....domain.instants import to_ms
from ..statements import SQL
from ..transaction import Transaction


def first_with(tx: Transaction, key: IdempotencyKey, now: datetime) -> FirstSubmission | None:
    """What the key stands for already."""
    where = {"owner": key.owner, "key": key.key, "now": to_ms(now)}
    row = tx.execute(SQL["first_with_key"], where).fetchone()
    return None if row is None else FirstSubmission(*row)


def remember(tx: Transaction, key: IdempotencyKey, job_id: str, outcomes_json: str | None = None) -> None:
    """From now on the key stands for this job, or for a batch with these outcomes."""
    values = {
        "owner": key.owner,
        "key": key.key,
        "fingerprint": key.fingerprint,
        "job_id": job_id,
        "expires_at": to_ms(key.expires_at),
        "outcomes": outcomes_json,
    }
    tx.execute(SQL["insert_key"], values)
