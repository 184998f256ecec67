"""Loading the author's modules, by name or path, and collecting the job types they declare."""

import importlib.util
import sys
import types
from collections.abc import Iterable
from pathlib import Path

from ..errors import JobTypeError, SetupError
from .declaring import declared_by, source_being_loaded
from .job_types import JobType, Registry


def load_job_types(sources: Iterable[str]) -> Registry:
    """Import each module (a name or a path) and collect the job types that they declare.

    Raises `SetupError` for a module that cannot be found or imported, or that declares no job type.
    """
    found: dict[str, JobType] = {}
    for source in sources:
        declared = _load_source(source)
        if not declared:
            raise SetupError(f"{source} declares no job: decorate a function in it with @job(...)")
        found.update((job_type.name, job_type) for job_type in declared)
    return Registry(found.values())


def _load_source(source: str) -> list[JobType]:
    try:
        with source_being_loaded(source):
            module = load_module(source)
    except (SetupError, JobTypeError) as error:
        raise SetupError(str(error)) from error
    except (Exception, SystemExit) as error:  # a script without a main guard may call sys.exit()
        raise SetupError(f"{source} could not be imported: {type(error).__name__}: {error}") from error
    return declared_by(source, module.__name__)


def load_module(source: str) -> types.ModuleType:
    """Import a module by name, or by the path of its file or package directory. Raises `SetupError`."""
    if source.endswith(".py") or "/" in source:
        return _load_path(Path(source).resolve())
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # as `python -m` does
    try:
        found = importlib.util.find_spec(source)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise SetupError(f"there is no module {source!r}: give a module's name or the path of a .py file")
    return importlib.import_module(source)


def _load_path(path: Path) -> types.ModuleType:
    file = path / "__init__.py" if path.is_dir() else path
    if not file.is_file():
        raise SetupError(f"there is no job module at {path}: give a module's name or the path of a .py file")
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None:
        if getattr(loaded, "__file__", None) == str(file):
            return loaded
        raise SetupError(f"{path} cannot be loaded: another module is called {name!r} already; rename the file")
    search = [str(path)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=search)
    if spec is None or spec.loader is None:
        raise SetupError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # its neighbours can be imported, as for a script
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
