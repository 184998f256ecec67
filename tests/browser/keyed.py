"""A server that requires keys, and the commands that create and revoke keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.browser.conftest import JOBS
from tests.browser.tab import PageServer
from tests.support.process import Event, Reply, run_command

PUBLIC_URL = "http://headway.test"
"""An address other than the loopback name, so that keys are required; pages are opened at 127.0.0.1 nevertheless."""


class KeyedServer(PageServer):
    """A server that requires keys; the test's own requests use an admin key."""

    def __init__(self, data_dir: Path, env: dict[str, str] | None = None) -> None:
        super().__init__(data_dir, "--jobs", str(JOBS), env={"HEADWAY_PUBLIC_URL": PUBLIC_URL, **(env or {})})
        self.public_url = PUBLIC_URL
        self._data_dir = data_dir
        self._admin_key = self.make_key("operator", "--admin")

    def make_key(self, name: str, *arguments: str) -> str:
        """Run `run.py keys create`; the key that it prints."""
        return self._keys("create", name, *arguments)

    def revoke(self, name: str) -> None:
        self._keys("revoke", name)

    def _keys(self, *arguments: str) -> str:
        done = run_command("keys", *arguments, "--data-dir", str(self._data_dir))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        return super().request(method, path, body, self._with_key(headers))

    def events(self, path: str, headers: dict[str, str] | None = None) -> Iterator[Event]:
        return super().events(path, self._with_key(headers))

    def _with_key(self, headers: dict[str, str] | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._admin_key}", **(headers or {})}

    def submit_with(self, key: str, job_type: str, input: Any = None, query: str = "") -> str:
        """Submit a job with this key; its id."""
        reply = self.request("POST", f"/jobs/{job_type}{query}", input or {}, {"Authorization": f"Bearer {key}"})
        assert reply.status == 202, reply.body
        job_id: str = reply.json["jobId"]
        return job_id
