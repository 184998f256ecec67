"""nginx as it is installed, with nothing set but where it writes and the server that a test gives it."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import eventually


def need_nginx() -> None:
    """Skip the test without nginx; where `TESTS_REQUIRE_NGINX=1` says that there is one, fail."""
    if shutil.which("nginx") is None:
        if os.environ.get("TESTS_REQUIRE_NGINX") == "1":
            pytest.fail("TESTS_REQUIRE_NGINX=1, and there is no nginx")
        pytest.skip("NO TESTS WITH NGINX: it is not installed (apt-get install nginx)")


@contextmanager
def running(server: str, folder: Path, port: int) -> Iterator[None]:
    """Run nginx with this server block, which listens on `port`."""
    temporary = " ".join(
        f"{what}_temp_path {folder}/{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # or its worker could not read the test's folder
    config = folder / "nginx.conf"
    config.write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}"
        f" http {{ access_log off; {temporary}\n{server} }}"
    )
    checked = subprocess.run(["nginx", "-t", "-c", str(config)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _accepts(port))
            yield
        finally:
            process.terminate()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
