"""Job types whose pool of slots is another than before, because their handler has become `async def` or `def`.

A turn is only worth something in the line that it was given in. Beside the turns of another pool, its jobs would come
after thousands of others, or before all of them.
"""

from ..statements import SQL
from ..transaction import Transaction


def follow_pools(tx: Transaction) -> None:
    """Record each type's pool, and take their turns from the queued jobs of types that have changed theirs.

    They get new ones like jobs that have just fallen due, the oldest first. Called when the file is opened, before the
    turns are read. A type that is not recorded has turns of no other pool.
    """
    recorded = dict(tx.execute(SQL["pools"]).fetchall())
    for job_type, pool in tx.turns.pool_of.items():
        before = recorded.get(job_type)
        if before == pool:
            continue
        if before is not None:
            tx.execute(SQL["take_turns_back"], {"type": job_type})
        tx.execute(SQL["set_pool"], {"type": job_type, "pool": pool})
