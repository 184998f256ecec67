"""The commands by name. Each is imported when it is run: `headway --help` imports none of them."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class Entry(NamedTuple):
    """A command's place, `module:name` below this package, and its line in the help: its docstring's first sentence."""

    place: str
    help: str


JOBS: Mapping[str, Entry] = {
    "submit": Entry("jobs.submit:submit", "Submit a job, or one for each JSON document on stdin."),
    "watch": Entry("jobs.watch:watch", "Watch jobs until they have ended."),
    "list": Entry("jobs.listing:list_jobs", "List jobs, newest first."),
    "show": Entry("jobs.showing:show_jobs", "Show jobs with all that is known of them."),
    "logs": Entry("jobs.outputs:logs", "Print a job's log."),
    "result": Entry("jobs.outputs:result", "Print what a job has returned, as JSON."),
    "files": Entry("jobs.outputs:files", "List a job's output files, or download them."),
    "cancel": Entry("jobs.changes:cancel", "Cancel jobs."),
    "retry": Entry("jobs.changes:retry", "Submit jobs that have ended again, as new jobs."),
    "delete": Entry("jobs.changes:delete", "Delete jobs with their logs, files and results."),
    "types": Entry("servers.describing:types", "List the job types, or the fields of one."),
    "stats": Entry("servers.describing:stats", "Count the jobs by status and type."),
    "open": Entry("servers.describing:open_page", "Open the server's page in a browser."),
    "login": Entry("servers.login:login", "Log in at a server, for the commands to come."),
    "completion": Entry("completion:completion", "Print the completion for a shell."),
}
OPERATING: Mapping[str, Entry] = {
    "serve": Entry("serve:serve", "Serve jobs over HTTP until SIGTERM or Ctrl-C."),
    "dev": Entry("dev:dev", "Serve like `serve`, and reload job types when their files change."),
    "purge": Entry("purge:purge", "Delete ended jobs with their logs and files."),
    "audit": Entry("audit:audit", "Print who did what, from where, when, and with what outcome."),
    "backup": Entry("backup:backup", "Write a consistent copy of the record to FILE, without the jobs' files."),
    "doctor": Entry("doctor:doctor", "Check the record, the versions, the limits and the disk."),
    "usage": Entry("usage:usage", "Show what each owner keeps, queues and runs."),
    "quota": Entry("usage:quota", "Give an owner a quota in place of HEADWAY_QUOTA."),
    "keys": Entry("keys:commands", "API keys: who may use the server, and whose jobs they see."),
    "secrets": Entry("secrets:commands", "The secrets that sign webhooks."),
}
SECTIONS = {"Jobs on a server": JOBS, "A server and its data directory": OPERATING}


class LazyCommand(TyperCommand):
    """Stands for a command until it is run."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, help=entry.help, short_help=entry.help, rich_markup_mode=None)
        self._place = entry.place

    def load(self) -> Any:
        """The command itself."""
        from .jobs.examples import epilog  # noqa: PLC0415 - `--help` does without

        module_name, _, name = self._place.partition(":")
        module = import_module(f"..{module_name}", __name__)
        group = getattr(module, name)
        if not isinstance(group, typer.Typer):
            function = group
            group = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
            last = getattr(module, "EPILOG", None) or epilog(self.name or "")
            group.command(self.name, epilog=last, context_settings=HELP_OPTIONS)(function)
        command = typer.main.get_command(group)
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself, for running or completing it."""
        return self.load().make_context(info_name, args, parent, **extra)


class LazyGroup(TyperGroup):
    """The commands of `SECTIONS`."""

    def __init__(self, **attributes: Any) -> None:
        entries = {name: entry for section in SECTIONS.values() for name, entry in section.items()}
        super().__init__(**attributes | {"commands": {name: LazyCommand(name, entries[name]) for name in entries}})

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the base class calls it so
        """The names and what they do, section by section."""
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.help) for name, entry in section.items()])


def print_version(wanted: bool) -> None:
    """The callback of `--version`."""
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - `--help` is quick without it

        print(f"headway {version('headway')}")  # noqa: T201
        raise typer.Exit
