"""`headway` as a script runs it: without a terminal, against one server, as a user without configuration."""

import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

from tests.support.process import RUN, WAIT_TIMEOUT_S, run_command

NO_SERVER = "http://127.0.0.1:1"


class Shell:
    """Runs commands with an environment of their own."""

    def __init__(self, url: str | None, home: Path, **more: str) -> None:
        self.home = home
        own = {"XDG_CONFIG_HOME": str(home / "config"), "HOME": str(home), "HEADWAY_DATA_DIR": str(home / "none")}
        self.environment = own | ({} if url is None else {"HEADWAY_URL": url}) | more

    def __call__(self, *arguments: str, stdin: str | bytes | None = None) -> CompletedProcess[str]:
        """What a command prints, and its exit status."""
        if stdin is None:
            return run_command(*arguments, env=self.environment)
        sent = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [sys.executable, str(RUN), *arguments],
            input=sent,
            capture_output=True,
            timeout=WAIT_TIMEOUT_S,
            env={**os.environ, **self.environment},
            check=False,
        )
        return CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def printed(self, *arguments: str, stdin: str | bytes | None = None) -> str:
        """The stdout of a command that succeeds."""
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, done
        return done.stdout.strip()

    def started(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command that runs, and whose output is read line by line."""
        return subprocess.Popen(
            [sys.executable, str(RUN), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
