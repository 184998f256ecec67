"""Runs benchmarks and prints their tables: `python -m tests.benchmarks NAME …`, or `--against COMMIT [NAME …]`.

The first form measures Headway against its peers, as ratios within one run; `starts`, which has the most of them, takes
about six minutes. The second measures what a change costs: the working tree ("after") against a commit ("before"), the
same load for both, in interleaved pairs. It checks the commit out into a temporary git worktree, starts both through
their `run.py` with the present interpreter, and prints for each benchmark the median ratio after/before with an
interval of at least 95 %, and the same for before/before, which is what the machine finds between identical code. A
benchmark is "slower" if the interval ends below 0.97; then the exit status is 1. `submit`, `jobs`, `poll` and `stream`
with 15 pairs take about 20 minutes on two quiet cores.
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence

from . import busy, context, foreign, growth, limits, lists, page, startup, watched
from .comparing import checkout, comparison, plays
from .neighbours import actions, neighbours
from .report import Play, Table, summary
from .starts import empty, memory, models, sleeping
from .streams import idle, quiet, stream
from .throughput import against_bare, batches, carried

BENCHMARKS: dict[str, list[Callable[[Play], Table]]] = {
    "context": [context.run],
    "busy": [busy.run],
    "watched": [watched.run],
    "poll": [against_bare.run_poll],
    "stream": [stream.run_one_job, stream.run_many_jobs],
    "quiet": [quiet.run],
    "idle": [idle.run],
    "submit": [against_bare.run_submit],
    "batch": [batches.run],
    "jobs": [carried.run],
    "starts": [empty.run, models.run, memory.run, sleeping.run],
    "growth": [growth.run],
    "lists": [lists.run],
    "startup": [startup.run],
    "foreign": [foreign.run],
    "limits": [limits.run],
    "neighbours": [neighbours.run],
    "actions": [actions.run],
    "page": [page.run_bars, page.run_cancel],
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    asked = parser.parse_args(arguments)
    known = plays.BENCHMARKS if asked.against else {**BENCHMARKS, "all": []}
    if unknown := [name for name in asked.names if name not in known]:
        parser.error(f"no such benchmark: {', '.join(unknown)} (there are {', '.join(known)})")
    # Servers and temporary worktrees are cleaned up when the run is terminated, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if asked.against:
        try:
            compared = comparison.compare(asked.against, asked.names or list(known), asked.pairs, asked.seconds)
        except checkout.CheckoutError as error:
            parser.error(str(error))
        return 0 if all(one.change.nothing_lost for one in compared) else 1
    if not asked.names:
        parser.error(f"name a benchmark: {', '.join(known)}")
    _run(asked)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help=f"{', '.join(BENCHMARKS)} or all; with --against {', '.join(plays.BENCHMARKS)} (default: all four)",
    )  # fmt: skip
    peers = parser.add_argument_group("against peers")
    peers.add_argument("--rounds", type=_positive, default=3, help="rounds of which the median is taken (default 3)")
    peers.add_argument("--sides", default="", help="of stream, idle, starts, neighbours: only these, as headway,nchan")
    peers.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    against = parser.add_argument_group("against a commit")
    against.add_argument("--against", metavar="COMMIT", help="compare the working tree with this commit")
    against.add_argument(
        "--pairs", type=_positive, default=comparison.DEFAULT_PAIRS,
        help="pairs of before and after, and as many of before and before (default %(default)s)",
    )  # fmt: skip
    against.add_argument(
        "--seconds", type=float, default=comparison.DEFAULT_SECONDS,
        help="how long each measurement is (default %(default)s)",
    )  # fmt: skip
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _run(asked: argparse.Namespace) -> None:
    play = Play(asked.rounds, frozenset(asked.sides.split(",")) if asked.sides else frozenset())
    found: dict[str, list[Table]] = {}
    for name in BENCHMARKS if "all" in asked.names else asked.names:
        found[name] = []
        for run in BENCHMARKS[name]:
            found[name].append(run(play))
            if not asked.json:
                print(found[name][-1].text(), flush=True)
    if asked.json:
        json.dump({name: [table.json() for table in tables] for name, tables in found.items()}, sys.stdout, indent=2)
    else:
        print(summary([table for tables in found.values() for table in tables]).text())


if __name__ == "__main__":
    sys.exit(main())
