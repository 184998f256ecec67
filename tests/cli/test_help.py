"""The help: what it says, and how little it imports."""

import subprocess
import sys

import pytest
from headway.cli.jobs.examples import EXAMPLES
from headway.cli.lazy import JOBS, SECTIONS, LazyCommand

from tests.support.process import ROOT, run_command

MAY_BE_IMPORTED = {
    "headway",
    "headway.cli",
    "headway.cli.lazy",
    "headway.cli.main",
    "headway.cli.printing",
    "headway.text",
}
"""Of the package, by `headway --help`."""
HEAVY = {"aiohttp", "asyncio", "httpx", "pydantic", "pydantic_settings", "rich", "structlog", "sqlite3", "uvloop"}

COMMANDS = [(name, entry) for section in SECTIONS.values() for name, entry in section.items()]


def _imported_by(*arguments: str) -> set[str]:
    """The modules that a run of `headway` has imported at its end."""
    script = (
        "import sys, atexit\n"
        f"sys.path.insert(0, {str(ROOT / 'server')!r})\n"
        f"sys.argv = ['headway', *{list(arguments)!r}]\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from headway.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",)])
def test_the_help_imports_no_command_and_nothing_that_takes_long(arguments: tuple[str, ...]) -> None:
    imported = _imported_by(*arguments)
    assert "typer" in imported
    assert {name for name in imported if name.split(".")[0] == "headway"} <= MAY_BE_IMPORTED
    assert imported & HEAVY == set()


@pytest.mark.parametrize("command", JOBS)
def test_the_help_of_a_command_for_jobs_imports_nothing_of_the_server(command: str) -> None:
    assert _imported_by(command, "--help") & {"aiohttp", "httpx", "pydantic_settings", "rich", "uvloop"} == set()


@pytest.mark.parametrize(("name", "entry"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_a_commands_line_is_the_first_sentence_of_its_own_help(name: str, entry: object) -> None:
    command = LazyCommand(name, dict(COMMANDS)[name]).load()
    assert command.help.replace("\n", " ").startswith(dict(COMMANDS)[name].help.rstrip("."))


@pytest.mark.parametrize("command", JOBS)
def test_the_help_of_each_command_for_jobs_has_an_example(command: str) -> None:
    shown = run_command(command, "--help").stdout
    assert EXAMPLES[command]
    for example in EXAMPLES[command]:
        assert example in shown


def test_the_help_names_every_command_and_a_wrong_one_is_told_what_is_near() -> None:
    shown = run_command("--help").stdout
    assert all(f"\n  {name} " in shown for name, _ in COMMANDS)
    done = run_command("sumbit")
    assert done.returncode == 2
    assert "submit" in done.stderr
