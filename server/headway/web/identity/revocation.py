"""Whatever is in progress under an API key ends when the key is revoked, or when the session that it was opened with
ends: a stream or a download may last for days, and a body that is still being sent would become a job.
"""

from ...loops import Loop, Loops
from ...ports.events import Bell, EventHub
from ..connections.limits import Connections

LISTEN_S = 60.0


class Revocations:
    """Cuts the connections on which a revoked key or an ended session is in use.

    By connection, not by request: nothing that began an instant ago is missed, and polls pay nothing.
    """

    def __init__(self, hub: EventHub, connections: Connections) -> None:
        self._hub = hub
        self._connections = connections
        self._listener = hub.listen(Bell.REVOKED)

    def start(self, loops: Loops) -> Loop:
        """Cut until the loop is stopped."""
        return loops.start("revocations", self._cut, until=lambda: self._hub.closed)

    async def _cut(self) -> None:
        self._connections.cut(await self._listener.wait(LISTEN_S))
