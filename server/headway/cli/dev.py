"""`headway dev`"""

import os
import sys

from ..errors import HeadwayError
from ..settings import Settings
from .options import make_settings
from .printing import fail
from .serve import (
    DataDir,
    Host,
    Insecure,
    Jobs,
    LogFormat,
    MaxProcesses,
    MaxTasks,
    MoreJobs,
    Port,
    Samples,
    announce,
    loop_factory,
    modules,
)

EPILOG = (
    "Example: headway dev --jobs jobs.py\n\n"
    "Save jobs.py, or a module that it imports: jobs that begin from then on run the new code, and those that run go "
    "on with the earlier one. If the file is broken, terminal and page say why until it is mended, and the earlier "
    "code goes on.\n\n"
    "For development only. Every setting of `headway serve` applies."
)


def dev(  # noqa: PLR0913, PLR0917 - typer takes a flag from each parameter
    more_jobs: MoreJobs = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    jobs: Jobs = None,
    samples: Samples = None,
    max_tasks: MaxTasks = None,
    max_processes: MaxProcesses = None,
    insecure: Insecure = False,
    log_format: LogFormat = None,
) -> None:
    """Serve like `serve`, and reload job types when their files change."""
    settings = make_settings(
        host=host,
        port=port,
        data_dir=data_dir,
        jobs=modules([*(jobs or ()), *(more_jobs or ())]),
        samples=samples,
        max_tasks=max_tasks,
        max_processes=max_processes,
        insecure=insecure or None,
        log_format=log_format,
    )
    if not settings.jobs:
        fail("there is nothing to reload: name your modules, as in `headway dev --jobs jobs.py`")
    try:
        _run(settings)
    except HeadwayError as error:
        fail(str(error))


def _run(settings: Settings) -> None:
    # Compiled files are told apart by the second: of two edits within one, the second would not be seen.
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

    from ..app.developing.preparing import prepare_to_reload  # noqa: PLC0415 - `--help` is quick without it
    from ..logs import configure_logging  # noqa: PLC0415

    configure_logging(settings.log_format)
    prepared, authored = prepare_to_reload(settings)

    from ..app.developing.server import DevelopmentServer  # noqa: PLC0415 - aiohttp, which job processes do without
    from ..app.main_loop import serve_to_end  # noqa: PLC0415
    from ..web.request_ids import add_request_id  # noqa: PLC0415

    configure_logging(settings.log_format, [add_request_id])
    serve_to_end(DevelopmentServer(prepared, authored).serve(announce), loop_factory())
