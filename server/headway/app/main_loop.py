"""The event loop of a process that only serves: handlers' code neither ends it early nor holds up its end."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

import structlog

from ..authoring.author_code import ServerThreads, running_code
from ..running.handler_tasks import attributed, make_servers
from ..tracebacks import formatted
from .exiting import exit_soon

SERVERS_OWN = (
    "close",
    "set_default_executor",
    "set_task_factory",
    "shutdown_asyncgens",
    "shutdown_default_executor",
    "stop",
)
"""The methods of a loop that end it, or change how everybody's tasks run."""

log = structlog.get_logger(__name__)


def serve_to_end(
    serving: Coroutine[Any, Any, None], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> None:
    """Run `serving` in an event loop of its own, to its end, and raise what it raises.

    Afterwards the process is to end: if threads or tasks of handlers do not let it, it ends all the same.
    """
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.get_loop().set_default_executor(ServerThreads())
        _keep_from_authors(runner.get_loop())
        failure: BaseException | None = None
        try:
            _run(runner.get_loop(), serving)
        except BaseException as error:
            failure = error
            raise
        finally:
            exit_soon(failure)


def _keep_from_authors(loop: asyncio.AbstractEventLoop) -> None:
    """Have the methods that are the server's own raise `RuntimeError` in authors' code."""
    for name in SERVERS_OWN:
        setattr(loop, name, _kept_from_authors(getattr(loop, name)))


def _kept_from_authors(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        if running_code() is not None:
            raise RuntimeError(f"a handler cannot call {method.__name__}() of the server's event loop")
        return method(*arguments, **options)

    return call


def _run(loop: asyncio.AbstractEventLoop, serving: Coroutine[Any, Any, None]) -> None:
    """Go on when a callback ends the loop: `SystemExit` and `KeyboardInterrupt` do, wherever they are raised in it.

    So does `loop.stop()`.
    """
    main = make_servers(loop, serving)
    while not main.done():
        try:
            loop.run_until_complete(main)
        except (SystemExit, KeyboardInterrupt) as error:
            if _is_from_the_terminal(error):
                raise
            if not main.done() and not attributed(error):
                _log(error)
        except RuntimeError as error:
            if main.done() or loop.is_closed():
                raise
            _log(error)  # somebody has stopped the loop
    main.result()


def _log(error: BaseException) -> None:
    log.error("code that belongs to no running handler tried to end the server", traceback=formatted(error))


def _is_from_the_terminal(error: BaseException) -> bool:
    """Whether it is Ctrl-C, before the server handles the signal."""
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler
