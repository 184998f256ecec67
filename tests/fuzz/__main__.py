"""`python -m tests.fuzz parsers|http [--seconds N] [--seed N]`: exit code 0 if nothing was found."""

import argparse
import random


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("what", choices=["parsers", "http"])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None, help="for a run that can be repeated [default: drawn]")
    given = parser.parse_args()
    seed = random.randrange(1, 2**31) if given.seed is None else given.seed
    print(f"fuzzing {given.what} for {given.seconds} s, seed {seed}", flush=True)
    if given.what == "parsers":
        from .parsers import fuzz  # noqa: PLC0415 - what is imported there is instrumented on its way
    else:
        from .over_http import fuzz  # noqa: PLC0415
    return fuzz(given.seconds, seed)


if __name__ == "__main__":
    raise SystemExit(main())
