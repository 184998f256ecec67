"""Loading job types: modules by name or path, functions, and the samples, which give way to the author's types."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from headway import BlockingContext, job
from headway.app.bundled import SAMPLES
from headway.authoring import declaring
from headway.authoring.loading import load_job_types
from headway.errors import JobTypeError, SetupError

PING = "headway.samples.ping"


@pytest.fixture(autouse=True)
def _nothing_stays_imported() -> Iterator[None]:
    """Each test imports for itself, samples included."""
    modules, path = dict(sys.modules), list(sys.path)
    for name in [name for name in modules if name.startswith("headway.samples.")]:
        del sys.modules[name]
    yield
    for name in sys.modules.keys() - modules.keys():
        del sys.modules[name]
    sys.modules.update(modules)
    sys.path[:] = path


ONE = """
from headway import BlockingContext, job

@job("{name}")
def {function}(ctx: BlockingContext) -> None: ...
"""


def write(path: Path, name: str = "loaded", function: str = "loaded", more: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ONE.format(name=name, function=function) + more, "utf-8")
    return path


def loaded(*sources: str) -> dict[str, str]:
    return {job_type.name: job_type.source for job_type in load_job_types(sources)}


def test_a_module_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "hw_named.py")
    monkeypatch.chdir(tmp_path)
    assert loaded("hw_named") == {"loaded": "hw_named"}


def test_a_module_is_loaded_by_its_path_and_finds_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "hw_neighbour.py").write_text("X = 1\n")
    path = write(tmp_path / "hw_by_path.py", more="import hw_neighbour\n")
    assert loaded(str(path)) == {"loaded": str(path)}


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "hw_relative.py")
    monkeypatch.chdir(tmp_path)
    assert loaded("./hw_relative.py") == {"loaded": "./hw_relative.py"}


def test_a_package_is_loaded_with_what_it_imports(tmp_path: Path) -> None:
    write(tmp_path / "hw_package" / "__init__.py", more="from . import inner\n")
    write(tmp_path / "hw_package" / "inner.py", "inner", "inner")
    path = str(tmp_path / "hw_package")
    assert loaded(path) == {"loaded": path, "inner": path}


def test_a_source_may_be_given_twice_and_in_two_spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "hw_twice.py")
    monkeypatch.chdir(tmp_path)
    assert loaded("hw_twice", "hw_twice", "hw_twice.py", "./hw_twice.py") == {"loaded": "hw_twice"}


def test_a_module_that_another_one_has_imported_is_loaded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "hw_first.py", more="import hw_second\n")
    write(tmp_path / "hw_second.py", "second", "second")
    monkeypatch.chdir(tmp_path)
    assert set(loaded("hw_first", "hw_second")) == {"loaded", "second"}


def test_job_types_are_in_the_order_of_their_declaration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "hw_zebra.py", "zebra", "zebra")
    write(tmp_path / "hw_ant.py", "ant", "ant")
    monkeypatch.chdir(tmp_path)
    registry = load_job_types(["hw_zebra", "hw_ant"])
    assert [job_type.name for job_type in registry] == ["zebra", "ant"]
    assert registry.get("ant") is not None
    assert registry.get("bee") is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hw_absent", "there is no module 'hw_absent'"),
        ("hw_absent.inner", "there is no module 'hw_absent.inner'"),
        ("./hw_absent.py", "there is no job module at .*hw_absent.py"),
        ("", "could not be imported"),
        ("hw_empty", "hw_empty declares no job"),
        ("hw_syntax.py", r"^hw_syntax.py:2: SyntaxError: invalid syntax$"),
        ("hw_tabs.py", r"^hw_tabs.py:3: IndentationError: unexpected indent$"),
        (
            "hw_null.py",
            r"^hw_null.py could not be imported: SyntaxError: source code string cannot contain null bytes$",
        ),
        ("hw_raises", r"^hw_raises.py:1: ZeroDivisionError: division by zero \(while importing hw_raises\)$"),
        ("hw_exits.py", r"^hw_exits.py:2: SystemExit: 0$"),
        ("hw_needs.py", r"^hw_needs.py:1: ModuleNotFoundError: No module named 'hw_nothing'$"),
        ("hw_uses.py", r"^hw_raises.py:1: ZeroDivisionError: division by zero \(while importing hw_uses.py\)$"),
        ("hw_library.py", r"^hw_library.py:3: JSONDecodeError: Expecting value: line 1 column 1 \(char 0\)$"),
        ("hw_lines.py", r"^hw_lines.py:1: ValueError: one two$"),
        ("hw_wrong.py", r"^hw_wrong.py:4: 'Not A Name' cannot be the name of a job type: .*hyphens$"),
        ("hw_folder/", r"/hw_folder is no package, it has no __init__.py: .* write hw_folder/\*.py"),
    ],
)
def test_a_module_that_cannot_be_loaded_is_reported_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    (tmp_path / "hw_empty.py").write_text("X = 1\n")
    (tmp_path / "hw_syntax.py").write_text("X = 1\ndef:\n")
    (tmp_path / "hw_tabs.py").write_text("def f() -> None:\n    pass\n      pass\n")
    (tmp_path / "hw_null.py").write_text("X = 1\0\n")
    (tmp_path / "hw_uses.py").write_text("import json\nimport hw_raises\n")
    (tmp_path / "hw_library.py").write_text("import json\n\njson.loads('this is no JSON')\n")
    (tmp_path / "hw_lines.py").write_text("raise ValueError('one\\n  two')\n")
    (tmp_path / "hw_raises.py").write_text("1 / 0\n")
    (tmp_path / "hw_exits.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "hw_needs.py").write_text("import hw_nothing\n")
    (tmp_path / "hw_folder").mkdir()
    write(tmp_path / "hw_wrong.py", "Not A Name")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match=words) as error:
        load_job_types([source])
    assert "\n" not in str(error.value)


def test_a_module_outside_the_working_directory_is_named_by_its_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "hw_elsewhere.py"
    path.write_text("1 / 0\n")
    with pytest.raises(SetupError) as error:
        load_job_types([str(path)])
    assert str(error.value) == f"{path}:1: ZeroDivisionError: division by zero"


def test_a_name_declared_in_two_modules_is_reported_with_both_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "hw_one.py", "resize", "resize")
    write(tmp_path / "hw_two.py", "resize", "again", more="")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError) as error:
        load_job_types(["hw_one.py", "hw_two.py"])
    assert str(error.value) == "the job type 'resize' is declared twice: at hw_one.py:4 and at hw_two.py:4"


def test_a_name_declared_twice_by_functions_of_one_name_is_reported_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hw_copied.py").write_text(ONE.format(name="resize", function="resize") * 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError) as error:
        load_job_types(["hw_copied.py"])
    assert str(error.value) == "the job type 'resize' is declared twice: at hw_copied.py:4 and at hw_copied.py:9"


def test_a_file_loaded_under_two_names_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "hw_inner" / "hw_jobs.py")
    (tmp_path / "hw_uses.py").write_text("import hw_inner.hw_jobs\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError) as error:
        load_job_types(["hw_uses.py", "hw_inner/hw_jobs.py"])
    said = "the job type 'loaded' is declared twice: its module is loaded as 'hw_inner.hw_jobs' and 'hw_jobs'"
    assert str(error.value) == f"hw_inner/hw_jobs.py:4: {said}"


def test_a_path_with_the_name_of_another_module_is_rejected(tmp_path: Path) -> None:
    path = write(tmp_path / "json.py")
    with pytest.raises(SetupError, match="another module is called 'json'"):
        load_job_types([str(path)])


# Functions


def test_a_decorated_function_can_be_served() -> None:
    @job("a-job")
    def handler(ctx: BlockingContext) -> None: ...

    assert [job_type.name for job_type in load_job_types([handler])] == ["a-job"]


def test_a_function_that_is_not_decorated_is_rejected() -> None:
    with pytest.raises(JobTypeError, match="not decorated with @job"):
        load_job_types([write])


# Samples


def served(*sources: str, samples: tuple[str, ...] = SAMPLES) -> dict[str, str]:
    return {job_type.name: job_type.source for job_type in load_job_types(sources, samples)}


def with_path(path: Path, name: str, resource: str) -> str:
    path.write_text(ONE.replace('"{name}"', f'"{name}", path="{resource}"').format(name=name, function="own"), "utf-8")
    return str(path)


def test_every_sample_can_be_served() -> None:
    assert set(served().values()) == set(SAMPLES)


def test_samples_come_after_the_authors_types(tmp_path: Path) -> None:
    path = str(write(tmp_path / "hw_own.py"))
    assert list(served(path, samples=(PING,)).items()) == [("loaded", path), ("ping", PING)]


def test_a_sample_with_the_name_of_an_authors_type_is_left_out(tmp_path: Path) -> None:
    path = str(write(tmp_path / "hw_own.py", "ping", "ping"))
    with structlog.testing.capture_logs() as entries:
        found = served(path)
    assert found["ping"] == path
    assert len(found) == len(SAMPLES), "all other samples are there"
    assert [(entry["sample"], entry["job_type"]) for entry in entries] == [("ping", "ping")]


@pytest.mark.parametrize("resource", ["/api/todos", "/api", "/api/todos/mine"])
def test_a_sample_with_the_path_of_an_authors_type_is_left_out(tmp_path: Path, resource: str) -> None:
    path = with_path(tmp_path / "hw_own.py", "tasks", resource)
    with structlog.testing.capture_logs() as entries:
        found = served(path)
    assert found["tasks"] == path
    assert "todo" not in found
    assert ("todo", "tasks") in [(entry["sample"], entry["job_type"]) for entry in entries]


def test_without_the_samples_an_author_may_use_their_names_and_paths(tmp_path: Path) -> None:
    paths = [
        str(write(tmp_path / "hw_ping.py", "ping", "ping")),
        with_path(tmp_path / "hw_own.py", "todo", "/api/todos"),
    ]
    with structlog.testing.capture_logs() as entries:
        assert served(*paths, samples=()) == {"ping": paths[0], "todo": paths[1]}
    assert entries == []


def test_an_author_may_import_a_sample_and_use_its_name(tmp_path: Path) -> None:
    path = str(write(tmp_path / "hw_own.py", "ping", "ping", more="from headway.samples.ping import Pong\n"))
    assert served(path, samples=()) == {"ping": path}
    assert declaring.declared("ping").handler.__module__ == "hw_own", "a child process finds the author's too"


def test_an_author_may_serve_a_sample_of_their_choice(tmp_path: Path) -> None:
    path = str(write(tmp_path / "hw_own.py", more="from headway.samples.ping import ping\n"))
    assert served(path, samples=()) == {"loaded": path, "ping": path}
    assert served(PING, samples=()) == {"ping": path}
