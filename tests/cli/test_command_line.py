"""`run.py` as a person uses it: what it prints, also when it cannot start."""

import ast
import json
import os
import re
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from headway.settings import EverydaySettings, Settings

from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess
from tests.support.serving import Serving

RUN = str(ROOT / "run.py")
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python run.py"


def _run(*arguments: str, python: str = sys.executable, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, RUN, *arguments], capture_output=True, text=True, timeout=WAIT_TIMEOUT_S, cwd=cwd, check=False
    )


def _refused(*arguments: str) -> str:
    """The one line that it says when it cannot start; exit code 2, nothing on stdout, no traceback."""
    done = _run(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("headway: ")
    return done.stderr


def test_the_only_line_on_stdout_is_the_address(serving: Serving) -> None:
    server = serving(from_scratch=True)
    assert server.request("GET", "/healthz").status == 200
    assert server.stop() == 0
    assert server.process.stdout is not None
    assert server.process.stdout.read() == b""


def test_a_busy_port_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = _refused("--port", str(port), "--data-dir", str(tmp_path))
    assert f"127.0.0.1:{port} is in use" in said
    assert "--port" in said


def test_a_second_server_on_one_directory_is_refused_with_the_first_ones_pid(serving: Serving, tmp_path: Path) -> None:
    first = serving(tmp_path, from_scratch=True)
    said = _refused("--port", "0", "--data-dir", str(tmp_path))
    assert f"process {first.process.pid}" in said
    assert "--data-dir" in said
    assert first.request("GET", "/readyz").status == 200


def test_a_damaged_file_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "headway.db").write_bytes(b"this is no database" * 1000)
    before = (tmp_path / "headway.db").read_bytes()
    said = _refused("--port", "0", "--data-dir", str(tmp_path))
    assert "damaged" in said
    assert (tmp_path / "headway.db").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "there is no job module"),
        ("import nothing_like_this", "nothing_like_this"),
        ("x = 1", "declares no job"),
        ("def f(:", "my_jobs_for_the_command_line.py:1: SyntaxError"),
        ("from headway import job\n@job('BAD NAME')\ndef f(ctx): ...", ":2: 'BAD NAME' cannot be the name"),
        ("from headway import job\n@job('mine', path='/jobs/mine')\ndef f(ctx): ...", "server's own"),
    ],
)
def test_a_job_module_that_does_not_load_is_one_line(tmp_path: Path, text: str | None, expected: str) -> None:
    module = tmp_path / "my_jobs_for_the_command_line.py"
    if text is not None:
        module.write_text(text)
    assert expected in _refused("--port", "0", "--data-dir", ":memory:", "--jobs", str(module))


def test_developing_without_a_module_is_one_line() -> None:
    assert "headway dev --jobs jobs.py" in _refused("dev", "--port", "0", "--data-dir", ":memory:")


def test_the_help_of_dev_has_an_example() -> None:
    said = _run("dev", "--help")
    assert said.returncode == 0
    assert "Example: headway dev --jobs jobs.py" in said.stdout


def test_an_unknown_module_name_is_one_line() -> None:
    said = _refused("--port", "0", "--data-dir", ":memory:", "--jobs", "no_such_module_anywhere")
    assert "no_such_module_anywhere" in said


@pytest.mark.parametrize(
    "arguments",
    [("--port", "70000"), ("--log-format", "xml"), ("--max-tasks", "0"), ("--max-processes", "0")],
)
def test_a_setting_out_of_range_is_one_line(arguments: tuple[str, str]) -> None:
    assert _refused(*arguments).startswith(f"headway: {arguments[0]}: ")


@pytest.mark.parametrize(("arguments", "variable"), [(("--max-running", "4"), None), ((), "HEADWAY_MAX_RUNNING")])
def test_what_became_two_settings_is_refused_in_one_line_that_names_them(
    arguments: tuple[str, ...], variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, "4")
    said = _refused("--port", "0", "--data-dir", ":memory:", *arguments)
    for name in ("HEADWAY_MAX_TASKS", "--max-tasks", "HEADWAY_MAX_PROCESSES", "--max-processes"):
        assert name in said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEADWAY_WEBHOOK_ALLOW", "10.0.0.0/8,hooks.internal", "HEADWAY_WEBHOOK_ALLOW: 'hooks.internal'"),
        ("HEADWAY_WEBHOOK_ALLOW", "10.0.0.1/8", "has host bits set"),
        ("HEADWAY_TRUSTED_PROXIES", "proxy.example", "HEADWAY_TRUSTED_PROXIES: "),
        ("HEADWAY_TRUSTED_PROXIES", "10.0.0.0/33", "HEADWAY_TRUSTED_PROXIES: "),
        ("HEADWAY_TRUSTED_PROXIES", "10.0.0.1:80", "HEADWAY_TRUSTED_PROXIES: "),
        ("HEADWAY_JOBS", '["my_jobs"', "HEADWAY_JOBS: must be names and paths of modules, with commas between them"),
        ("HEADWAY_JOBS", "[1]", "HEADWAY_JOBS: must be names and paths of modules"),
    ],
)
def test_a_malformed_list_in_the_environment_is_one_line(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert said in _refused("--port", "0", "--data-dir", ":memory:")


def test_the_port_variable_of_a_kubernetes_service_is_one_line_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HEADWAY_PORT", "tcp://10.0.0.1:80")
    said = _refused("--data-dir", ":memory:")
    assert said.startswith("headway: HEADWAY_PORT: is the address that Kubernetes sets")
    assert "enableServiceLinks" in said


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a directory should be")
    assert "--data-dir" in _refused("--port", "0", "--data-dir", str(blocked / "data"))


def test_jobs_are_loaded_by_name_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "own_jobs.py").write_text(
        "from headway import BlockingContext, job\n"
        "@job('own-blocking')\n"
        "def own(ctx: BlockingContext) -> str:\n"
        "    return 'mine'\n"
    )
    previous = Path.cwd()
    os.chdir(tmp_path)
    try:
        with ServerProcess(tmp_path / "data", "--jobs", "own_jobs", from_scratch=True) as server:
            assert server.wait_for(server.submit("own-blocking"))["result"] == "mine"
    finally:
        os.chdir(previous)


@pytest.mark.parametrize(
    ("variable", "arguments"),
    [
        ("", ("--jobs", "one.py", "--jobs", "two.py", "--jobs", "three")),
        ("", ("--jobs", "one.py, two.py,three")),
        ("", ("--jobs", "one.py", "two.py", "three")),  # as the shell writes one.py and the like for *.py
        ("", ("--jobs", '["one.py", "two.py", "three"]')),
        ("one.py,two.py, three,", ()),
        ('["one.py", "two.py", "three"]', ()),
    ],
)
def test_several_modules_and_files_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, arguments: tuple[str, ...]
) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.py").write_text(
            f"from headway import Context, job\n@job('{name}')\nasync def f(ctx: Context) -> None: ...\n"
        )
    monkeypatch.chdir(tmp_path)
    env = {"HEADWAY_SAMPLES": "false", **({"HEADWAY_JOBS": variable} if variable else {})}
    with ServerProcess(":memory:", *arguments, env=env, from_scratch=True) as server:
        served = server.request("GET", "/job-types").json["jobTypes"]
    assert [job_type["name"] for job_type in served] == ["one", "two", "three"]


@pytest.mark.parametrize("given", ["my_jobs:resize", "one.py:two.py"])
def test_a_colon_in_a_module_is_one_line_that_says_what_to_write(given: str) -> None:
    said = _refused("--port", "0", "--data-dir", ":memory:", "--jobs", given)
    assert f"there is no module {given!r}: give modules or files, with commas between them" in said


def test_a_directory_of_modules_is_one_line_that_says_what_to_write(tmp_path: Path) -> None:
    said = _refused("--port", "0", "--data-dir", ":memory:", "--jobs", str(tmp_path))
    assert f"for the modules in it, write {tmp_path.name}/*.py" in said


def test_an_unknown_variable_is_warned_about_once_with_the_nearest_setting(serving: Serving) -> None:
    names = {"HEADWAY_MAX_QUEUE": "1", "HEADWAY_COLOUR": "sesame-42", "HEADWAY_SERVICE_HOST": "10.0.0.1"}
    server = serving(env={**names, "HEADWAY_LOG_FORMAT": "json"})
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log().splitlines()]
    warned = [(line["variable"], line.get("nearest")) for line in lines if line["event"] == "there is no such setting"]
    assert warned == [("HEADWAY_MAX_QUEUE", "HEADWAY_MAX_QUEUED"), ("HEADWAY_COLOUR", None)]
    assert "sesame" not in server.log(), "a value may be a secret"


@pytest.mark.parametrize(
    ("flags", "own", "samples"),
    [((), False, True), ((), True, False), (("--samples",), True, True), (("--no-samples",), False, False)],
)
def test_samples_are_served_where_nothing_else_is_or_on_request(
    tmp_path: Path, flags: tuple[str, ...], own: bool, samples: bool
) -> None:
    module = tmp_path / "mine.py"
    module.write_text(
        "from headway import BlockingContext, job\n"
        "@job('ping', path='/api/todos')\n"
        "def ping(ctx: BlockingContext) -> str:\n"
        "    return 'mine'\n"
    )
    server = ServerProcess(tmp_path / "data", *(("--jobs", str(module)) if own else ()), *flags)
    del server._env["HEADWAY_SAMPLES"]
    with server:
        types = {
            job_type["name"]: job_type["title"] for job_type in server.request("GET", "/job-types").json["jobTypes"]
        }
        assert ("weather" in types) is samples
        assert ("todo" in types) is (samples and not own)
        if own:
            assert server.wait_for(server.submit("ping"))["result"] == "mine"
        assert ("a sample is left out" in server.log()) is (samples and own)


def test_help_names_the_commands_and_flags() -> None:
    assert "serve" in _run("--help").stdout
    flags = _run("serve", "--help").stdout
    for flag in ("--host", "--port", "--data-dir", "--jobs", "--samples", "--max-tasks", "--log-format"):
        assert flag in flags
    assert "--max-processes" in flags
    assert "--max-running" not in flags


def test_help_lists_every_setting_in_its_group() -> None:
    shown = " ".join(_run("serve", "--help").stdout.split())
    everyday, advanced = shown.split("Everyday settings: ")[1].split("Advanced settings: ")
    for name in Settings.model_fields:
        group = everyday if name in EverydaySettings.model_fields else advanced
        assert re.search(rf"HEADWAY_{name.upper()}[,.]", group), name


def test_an_old_python_is_told_how_to_set_it_up() -> None:
    pretend = "import sys, runpy; sys.version_info = (3, 10, 13, 'final', 0); runpy.run_path(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", pretend, RUN], capture_output=True, text=True, timeout=WAIT_TIMEOUT_S, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "needs Python 3.11 or newer, this is 3.10" in done.stderr
    assert SET_UP in done.stderr
    # It can say so only if the old Python can read the file at all.
    ast.parse(Path(RUN).read_text("utf-8"), feature_version=(3, 6))


def test_without_its_packages_it_says_how_to_set_it_up() -> None:
    done = subprocess.run(
        [sys.executable, "-E", "-s", "-S", RUN], capture_output=True, text=True, timeout=WAIT_TIMEOUT_S, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert SET_UP in done.stderr
    assert "Traceback" not in done.stderr
    assert SET_UP in (ROOT / "README.md").read_text("utf-8")


def test_json_logs_are_one_object_a_line(serving: Serving) -> None:
    server = serving(":memory:", "--log-format", "json", from_scratch=True)
    server.wait_for(server.submit("raises", {"text": "boom"}))
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log().splitlines()]
    assert {"serving", "attempt ended", "stopping"} <= {line["event"] for line in lines}
    assert any(line.get("job_id") for line in lines)


def test_it_prints_its_version() -> None:
    done = _run("--version")
    assert (done.returncode, done.stdout) == (0, f"headway {version('headway')}\n")


def test_help_names_the_defaults() -> None:
    text = _run("serve", "--help").stdout
    for default in ("127.0.0.1", "8080", "headway-data", "console"):
        assert f"(default: {default})" in " ".join(text.replace("│", " ").split())
