"""`python -m tests.benchmarks NAME …`: runs benchmarks and prints their tables; `--json` for programs."""

import argparse
import json
import sys
from collections.abc import Callable

from . import against_bare, busy, carried, context, foreign, growth, idle, stream, watched
from .report import Play, Table, summary

BENCHMARKS: dict[str, list[Callable[[Play], Table]]] = {
    "context": [context.run],
    "busy": [busy.run],
    "watched": [watched.run],
    "poll": [against_bare.run_poll],
    "stream": [stream.run_one_job, stream.run_many_jobs],
    "idle": [idle.run],
    "submit": [against_bare.run_submit],
    "jobs": [carried.run],
    "growth": [growth.run],
    "foreign": [foreign.run],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*BENCHMARKS, "all"], metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which the median is taken (default 3)")
    parser.add_argument("--sides", default="", help="of stream and idle: play only these, as headway,nchan")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = parser.parse_args()
    play = Play(arguments.rounds, frozenset(arguments.sides.split(",")) if arguments.sides else frozenset())
    found: dict[str, list[Table]] = {}
    for name in BENCHMARKS if "all" in arguments.names else arguments.names:
        found[name] = []
        for run in BENCHMARKS[name]:
            found[name].append(run(play))
            if not arguments.json:
                print(found[name][-1].text(), flush=True)
    if arguments.json:
        json.dump({name: [table.json() for table in tables] for name, tables in found.items()}, sys.stdout, indent=2)
    else:
        print(summary([table for tables in found.values() for table in tables]).text())


if __name__ == "__main__":
    main()
