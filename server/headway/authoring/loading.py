"""Loading the author's modules, by name or path, and collecting the job types that they declare."""

import importlib.util
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import JobTypeError, SetupError
from ..tracebacks import describe, place, raised_at
from .declaring import declared_as, declared_by, is_sample, source_being_loaded
from .job_types import JobType, Registry
from .resources import overlap

JobTypeSource = str | Callable[..., Any]
"""A module with job types, by name or path; a JSON file that describes one; or a function that `@job` has decorated."""


def load_job_types(sources: Iterable[JobTypeSource], samples: Iterable[str] = ()) -> Registry:
    """Import the modules among `sources`, and collect all job types.

    `samples` are modules of bundled samples. A sample with the name or the path of another type is left out, with a
    line in the log. Raises `SetupError` for a module that cannot be found or imported, or that declares no job type,
    and `JobTypeError` for a function that is not decorated.
    """
    found = [job_type for source in sources for job_type in _job_types_of(source)]
    bundled = [job_type for source in samples for job_type in _job_types_of(source)]
    own = {job_type.name: job_type for job_type in found if not is_sample(job_type.handler)}
    imported = [job_type for job_type in found if is_sample(job_type.handler)]  # by a module of the author's
    return Registry([*own.values(), *_beside(own, [*imported, *bundled])])


def _beside(own: Mapping[str, JobType], samples: Iterable[JobType]) -> Iterator[JobType]:
    """The samples that can be served beside the author's own types."""
    for sample in samples:
        rival = next((job_type for job_type in own.values() if _collide(job_type, sample)), None)
        if rival is None:
            yield sample
        else:
            _log_left_out(sample, rival)


def _collide(one: JobType, other: JobType) -> bool:
    if one.name == other.name:
        return True
    return one.resource is not None and other.resource is not None and overlap(one.resource.path, other.resource.path)


def _log_left_out(sample: JobType, rival: JobType) -> None:
    import structlog  # noqa: PLC0415 - child processes import this module and log nothing

    structlog.get_logger(__name__).warning(
        "a sample is left out: its name or path is that of another job type", sample=sample.name, job_type=rival.name
    )


def _job_types_of(source: JobTypeSource) -> list[JobType]:
    if not isinstance(source, str):
        return [declared_as(source)]
    if source.endswith(".json"):
        return _described_by(source)
    declared = declared_by(source, _load(source).__name__)
    if not declared:
        raise SetupError(f"{source} declares no job: decorate a function in it with @job(...)")
    return declared


def _described_by(source: str) -> list[JobType]:
    """The type that a JSON file describes, whose jobs workers elsewhere do."""
    from .described import load_type_file  # noqa: PLC0415 - most servers have none, and need no validator of schemas

    with source_being_loaded(source):
        load_type_file(source)
    return declared_by(source, source)


def _load(source: str) -> types.ModuleType:
    try:
        with source_being_loaded(source):
            return load_module(source)
    except SetupError:
        raise
    except (Exception, SystemExit) as error:  # a script without a main guard may call sys.exit()
        raise SetupError(_why_not_loaded(source, error)) from error


def _why_not_loaded(source: str, error: BaseException) -> str:
    """File and line, the reason, and what was being loaded if that is another file: one line."""
    match error:
        case JobTypeError():
            reason = str(error)
        case SyntaxError(msg=str(message)):  # its text would repeat the file and the line
            reason = f"{type(error).__name__}: {message}"
        case _:
            reason = describe(error)
    found = raised_at(error)
    if found is None:
        return f"{source} could not be imported: {reason}"
    where = place(*found)
    begun = reason if where in reason else f"{where}: {reason}"
    return begun if Path(source).resolve() == Path(found[0]).resolve() else f"{begun} (while importing {source})"


def load_module(source: str) -> types.ModuleType:
    """Import a module by name, or by the path of its file or package directory. Raises `SetupError`."""
    if ":" in source and not Path(source).exists():
        raise SetupError(f"there is no module {source!r}: give modules or files, with commas between them")
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
    if path.is_dir() and not file.is_file():
        raise SetupError(f"{path} is no package, it has no __init__.py: for the modules in it, write {path.name}/*.py")
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
