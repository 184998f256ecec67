# What a developer of Headway types. `just` alone lists it; each recipe is one line that works without just too.

python := ".venv/bin/python"

# Show the recipes.
_list:
    @just --list

# Make .venv and install Headway into it, with everything the tests need.
setup:
    python3 -m venv .venv
    .venv/bin/pip install -q -e '.[test]'

# Serve the page and the sample jobs; arguments go to `serve`, as in `just run --port 9000`.
run *arguments:
    {{ python }} run.py {{ arguments }}

# Run tests: the whole suite, or what is named, as in `just test tests/web -k cancel`.
test *arguments:
    {{ python }} -m pytest -n 4 --dist loadfile {{ arguments }}

# Run the suite on every supported Python that is installed.
test-all *arguments:
    .venv/bin/nox {{ arguments }}

# Run every example in the README and in docs/.
docs *arguments:
    {{ python }} -m pytest tests/docs {{ arguments }}

# Check style, types and the walls between the rooms.
lint:
    .venv/bin/ruff check .
    .venv/bin/ruff format --check .
    .venv/bin/mypy
    .venv/bin/lint-imports

# Rewrite the code in the house's format, and mend what ruff can mend by itself.
format:
    .venv/bin/ruff check --fix .
    .venv/bin/ruff format .

# Measure against the peers, as in `just bench poll stream`; needs `pip install -e '.[benchmarks]'`.
bench *names:
    {{ python }} -m tests.benchmarks {{ names }}
