"""The test kit: it runs one handler in memory, or a whole server in this process, with a clock that the test moves.

    from headway.testing import run

    ran = run(resize, {"width": 200})
    assert ran.result == {"width": 200}

The room is on the top floor, beside the command line: like a server, a test needs all of the rooms below. Its names are
loaded when they are first used, because pytest imports the plugin in every project of the environment.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import Clock
    from .handler_runs import run, run_async
    from .ran import Ran
    from .serving import Server, serve
    from .uploading import upload

__all__ = ["Clock", "Ran", "Server", "run", "run_async", "serve", "upload"]

_HOMES = {
    "Clock": ".clock",
    "Ran": ".ran",
    "Server": ".serving",
    "run": ".handler_runs",
    "run_async": ".handler_runs",
    "serve": ".serving",
    "upload": ".uploading",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
