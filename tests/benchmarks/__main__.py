"""`python -m tests.benchmarks NAME …`: runs benchmarks and prints their tables; `--json` for programs."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from . import against_bare, busy, carried, context, growth, watched

if TYPE_CHECKING:
    from .report import Table

BENCHMARKS = {
    "context": context.run,
    "busy": busy.run,
    "watched": watched.run,
    "submit": against_bare.run_submit,
    "poll": against_bare.run_poll,
    "jobs": carried.run,
    "growth": growth.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is taken (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = parser.parse_args()
    names = list(BENCHMARKS) if "all" in arguments.names else arguments.names
    tables: dict[str, Table] = {}
    for name in names:
        tables[name] = BENCHMARKS[name](arguments.rounds)
        if not arguments.json:
            print(tables[name].text(), flush=True)
    if arguments.json:
        json.dump({name: table.rows for name, table in tables.items()}, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
