"""What `headway dev` does before it imports the rest of the server: as `app.preparing`, and it notes what was loaded.

A file that changes while the server starts is found to have changed.
"""

from dataclasses import dataclass

from ...authoring.reloading import AuthorsModules
from ...settings import Settings
from ..preparing import Prepared, prepare
from .files import JobFiles


@dataclass(frozen=True, slots=True)
class Authored:
    """What the job types were loaded from."""

    modules: AuthorsModules
    files: JobFiles


def prepare_to_reload(settings: Settings) -> tuple[Prepared, Authored]:
    """Load the job types, such that they can be exchanged, and fork the keeper. Raises `SetupError`."""
    modules, files = AuthorsModules(), JobFiles(settings.jobs)
    contents = files.contents()
    prepared = prepare(settings, changing=True)
    files.were_loaded(contents, modules.generation().files)
    return prepared, Authored(modules, files)
