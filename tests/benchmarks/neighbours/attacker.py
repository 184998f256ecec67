"""A process that attacks until it is killed: `python -m tests.benchmarks.neighbours.attacker NAME PORT KEY`.

It prints a line when it begins.
"""

import os
import sys

from . import attacks

NICE = 10
"""The victim's client is on the same core, and must not wait for the attacker."""


def main() -> None:
    name, port, key = sys.argv[1:]
    os.nice(NICE)
    attack = attacks.ATTACKS[name]
    attacks.prepare(attack)
    print("attacking", flush=True)
    attacks.run(attack, attacks.Target(int(port), key))


if __name__ == "__main__":
    main()
