"""`headway completion`"""

from enum import StrEnum
from typing import Annotated

import typer

from .printing import write


class Shell(StrEnum):
    """The shells that there is a completion for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print the completion for a shell."""
    from typer._completion_shared import get_completion_script  # noqa: PLC0415 - typer has no other way

    write(get_completion_script(prog_name="headway", complete_var="_HEADWAY_COMPLETE", shell=shell.value))
