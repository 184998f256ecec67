"""`python -m tests.kills [--kills N] [--seed N] [--folder DIR]`: exit code 0 if every promise was kept."""

import argparse
import random
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.kills.campaign import Campaign


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="for the same choices again [default: drawn]")
    parser.add_argument("--folder", type=Path, default=None, help="a new one, which is kept [default: a temporary one]")
    given = parser.parse_args()
    seed = random.randrange(1, 2**31) if given.seed is None else given.seed
    with tempfile.TemporaryDirectory(prefix="headway-kills-") as temporary:
        campaign = Campaign(given.folder or Path(temporary), seed, report=partial(print, flush=True))
        try:
            campaign.run(given.kills)
        except AssertionError as broken:
            sys.stderr.write(f"{broken}\n")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
