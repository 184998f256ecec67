"""`nox`, or `just test-all`: the suite on every supported Python that is installed, each in an environment of its own.

Arguments after `--` go to pytest: `nox -s tests-3.13 -- tests/domain`.
"""

import nox

nox.options.error_on_missing_interpreters = False

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
"""Those that the classifiers name."""


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests with the versions that the lock holds."""
    session.install("-e", ".[test]", env={"PIP_CONSTRAINT": "requirements.lock"})
    session.run("python", "-m", "pytest", *(session.posargs or ("-n", "4", "--dist", "loadfile")))
