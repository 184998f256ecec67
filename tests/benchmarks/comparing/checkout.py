"""The other commit's tree: a git worktree in a temporary directory, gone at the end."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HERE = Path(__file__).parent


class CheckoutError(Exception):
    """The commit cannot be checked out; the message is git's."""


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """The tree of a commit. It runs with the present interpreter and its packages; `run.py` finds its own code."""
    with tempfile.TemporaryDirectory(prefix="headway-against-") as folder:
        tree = Path(folder) / "tree"
        try:
            git("worktree", "add", "--quiet", "--detach", str(tree), commit)
            yield tree
        finally:
            # One that was interrupted while it was added may be half there, which git refuses to remove, and is locked:
            # hence `--force` twice.
            shutil.rmtree(tree, ignore_errors=True)
            with suppress(CheckoutError):
                git("worktree", "remove", "--force", "--force", str(tree))


def described(commit: str) -> str:
    """A commit's short id and subject."""
    return git("show", "--no-patch", "--format=%h %s", f"{commit}^{{commit}}")


def root() -> Path:
    """The working tree that this file is in."""
    return Path(git("rev-parse", "--show-toplevel"))


def git(*arguments: str) -> str:
    """What git prints.

    Raises:
        CheckoutError: git fails, or is not installed.

    """
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(["git", *arguments], cwd=HERE, stdout=pipe, stderr=pipe, text=True, process_group=0)
    except FileNotFoundError as error:
        raise CheckoutError("git is not installed") from error
    with process:
        try:
            printed, complained = process.communicate()
        except BaseException:  # with the processes that git has started, which would write on
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise CheckoutError(complained.strip())
    return printed.strip()
