"""`serve`: a real server in this process, in a thread of its own, on a free port."""

import asyncio
import gc
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from typing_extensions import override

from ..app import Headway
from ..authoring.loading import JobTypeSource
from ..settings import Settings
from .clock import following
from .server_log import logged

if TYPE_CHECKING:
    from ..client import AsyncClient, Client

START_WITHIN_S = 120.0
STOP_WITHIN_S = 60.0


class Server:
    """A server that runs, at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def client(self) -> "Client":
        """A client of it, for tests that are not `async`. It is closed with the server."""
        from ..client import Client  # noqa: PLC0415 - not all tests need one

        return Client(self.url, "")

    def async_client(self) -> "AsyncClient":
        """A client for `async` tests, which is closed at the end of its block: `async with headway.async_client()`."""
        from ..client import AsyncClient  # noqa: PLC0415 - as above

        return AsyncClient(self.url, "")

    def close(self) -> None:
        """Close the client."""
        if "client" in vars(self):
            self.client.close()


@contextmanager
def serve(job_types: Iterable[JobTypeSource], **settings: Any) -> Iterator[Server]:
    """A server with these job types, which answers within the block and is gone after it.

    `job_types` are modules by name or path, or functions that are decorated with `@job`. `settings` are those of
    `Settings`; by default it listens on a free port of 127.0.0.1 and keeps its record in a temporary directory. Nothing
    is read from the environment. Raises `SetupError`.
    """
    with ExitStack() as stack:
        stack.enter_context(logged())
        stack.enter_context(_interpreter_as_it_was())
        thread = _ServerThread(_Settings(**{"data_dir": ":memory:", "port": 0, **settings}), list(job_types))
        stack.callback(thread.stop)
        server = Server(thread.address())
        stack.callback(server.close)
        yield server


class _Settings(Settings):
    """Settings that do not depend on who runs the test."""

    @classmethod
    @override
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_others: Any, **_named: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@contextmanager
def _interpreter_as_it_was() -> Iterator[None]:
    """A server tunes garbage collection and thread switching for itself; the tests' process is not its own."""
    thresholds, interval_s = gc.get_threshold(), sys.getswitchinterval()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(interval_s)


class _ServerThread:
    """The thread in which the server's event loop runs."""

    def __init__(self, settings: Settings, job_types: list[JobTypeSource]) -> None:
        self._server = Headway(settings, job_types)
        self._address: Future[str] = Future()
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="headway-server", daemon=True)
        self._thread.start()

    def address(self) -> str:
        """Wait until it answers. Raises `SetupError`."""
        return self._address.result(START_WITHIN_S)

    def stop(self) -> None:
        """Stop as at SIGTERM, and wait for the end. Raises what the server raised."""
        if self._address.done() and self._address.exception() is None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            raise TimeoutError("the server does not stop: a handler may hold up its event loop")
        if self._address.exception() is None:
            self._ended.result()

    def _run(self) -> None:
        try:
            # Never uvloop, whose time cannot be moved.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                self._loop = runner.get_loop()
                with following(self._loop):
                    runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self._address.set_exception(error) if not self._address.done() else self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        async with self._server, self._server.listening() as address:
            self._address.set_result(address)
            await self._stopping.wait()
