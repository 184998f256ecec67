"""Running claimed jobs: the engine, the executor, an attempt, the watchdog of the event loop.

It knows the ports and the authoring room, and no SQL and no HTTP: what is queued and every outcome are in the store.
"""
