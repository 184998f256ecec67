"""Long-running work behind an HTTP API, with live progress.

This module holds what authors of jobs import, what a program needs to embed a server, and nothing more:

    from headway import BlockingContext, Context, JobFailed, Upload, job
    from headway import Headway, Settings

Its names are loaded when they are first used (PEP 562), so `import headway` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import Headway
    from .authoring.contexts import BlockingContext, Context
    from .authoring.declaring import job
    from .authoring.dependencies import Depends
    from .authoring.remote import remote_job
    from .authoring.resources import ResourceContext
    from .authoring.uploads import Upload
    from .domain.jobs import Job, Status
    from .errors import HeadwayError, JobCancelled, JobFailed
    from .settings import Settings

__all__ = [
    "BlockingContext",
    "Context",
    "Depends",
    "Headway",
    "HeadwayError",
    "Job",
    "JobCancelled",
    "JobFailed",
    "ResourceContext",
    "Settings",
    "Status",
    "Upload",
    "job",
    "remote_job",
]

_HOMES = {
    "BlockingContext": ".authoring.contexts",
    "Context": ".authoring.contexts",
    "Depends": ".authoring.dependencies",
    "Headway": ".app",
    "HeadwayError": ".errors",
    "Job": ".domain.jobs",
    "JobCancelled": ".errors",
    "JobFailed": ".errors",
    "ResourceContext": ".authoring.resources",
    "Settings": ".settings",
    "Status": ".domain.jobs",
    "Upload": ".authoring.uploads",
    "job": ".authoring.declaring",
    "remote_job": ".authoring.remote",
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
