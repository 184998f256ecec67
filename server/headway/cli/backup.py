"""`headway backup`"""

from pathlib import Path
from typing import Annotated

import typer

from .operator import operate
from .options import DataDir
from .printing import show


def backup(
    file: Annotated[Path, typer.Argument(help="A new file for the copy.")],
    data_dir: DataDir = None,
) -> None:
    """Write a consistent copy of the record to FILE, without the jobs' files. Works while a server runs, too."""
    size = operate(data_dir, "backup", {"path": str(file.resolve())})["bytes"]
    show(f"{size:,} bytes written to {file}")
