"""Processes that an author's code forks from the job's, and that come back out of it: they end, and nothing else.

In such a process the code around the handler would go on too: send the attempt's end, clean up, run another attempt.
"""

import logging
import os

from ....errors import JobCancelled

_log = logging.getLogger(__name__)


def end_if_forked(pid: int, error: BaseException | None = None) -> None:
    """End this process unless its id is `pid`. To be called where an author's code returns, or raises `error`.

    It ends as Python does: with exit code 0, with that of a `SystemExit`, or with 1 after any other exception. What
    it has printed and reported is not flushed, as it may be a copy of what the job's process will send.
    """
    if os.getpid() == pid:
        return
    try:
        if error is not None and not issubclass(type(error), SystemExit | JobCancelled):
            _log.error("a process that a handler forked has raised an exception out of it", exc_info=error)
    finally:
        os._exit(_exit_code(error))


def _exit_code(error: BaseException | None) -> int:
    match error:
        case None | SystemExit(code=None):
            return 0
        case SystemExit(code=int(code)):
            return code & 0xFF
        case _:
            return 1
