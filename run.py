"""Start Headway from a checkout: `python run.py`, which means `python run.py serve`."""

import os
import sys

SET_UP = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python run.py"

if sys.version_info < (3, 11):
    sys.stderr.write(
        "Headway needs Python 3.11 or newer, this is %d.%d. With a newer one:\n  %s\n"
        % (sys.version_info[0], sys.version_info[1], SET_UP)
    )
    sys.exit(2)

# The checkout's own code, whatever else is installed.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "server"))

try:
    from headway.cli.main import main
except ModuleNotFoundError as missing:
    if (missing.name or "").startswith("headway"):
        raise
    sys.stderr.write("Headway's packages are not installed (%s). Set it up:\n  %s\n" % (missing, SET_UP))
    sys.exit(2)

if __name__ == "__main__":
    main()
