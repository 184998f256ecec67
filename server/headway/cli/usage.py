"""`headway usage` and `headway quota`"""

from typing import Annotated, Any

import typer

from .operator import operate
from .options import DataDir
from .printing import show, show_table

DEFAULT = "default"


def usage(data_dir: DataDir = None) -> None:
    """Show what each owner keeps, queues and runs, and the keys that have a quota of their own."""
    found = operate(data_dir, "usage", {})
    rows = [("OWNER", "JOBS", "BYTES", "QUEUED", "RUNNING"), *(_row(owner) for owner in found["owners"])]
    show_table(rows)
    if found["keys"]:
        show("")
        show_table([("KEY", *rows[0][1:]), *(_row(key) for key in found["keys"])])


def _row(account: dict[str, Any]) -> tuple[str, ...]:
    """A name, then for each quota what is used, and of how much."""
    cells = [
        f"{used:,}" if (limit := account["limit"][name]) is None else f"{used:,} of {limit:,}"
        for name, used in account["used"].items()
    ]
    return (account["name"], *cells)


def quota(
    owner: Annotated[str, typer.Argument(help="The owner.")],
    limits: Annotated[str, typer.Argument(help="Such as jobs=1000,bytes=5GB,queued=100,running=4; none; default.")],
    data_dir: DataDir = None,
) -> None:
    """Give an owner a quota in place of HEADWAY_QUOTA, all of which it replaces from now on. Jobs that run go on."""
    operate(data_dir, "quota", {"owner": owner, "quota": None if limits == DEFAULT else limits})
    show(f"The quota of {owner!r} is {limits}")
