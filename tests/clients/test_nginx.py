"""Waiting through nginx without settings, which gives up on a response after 60 silent seconds: a poll ends before."""

from pathlib import Path

import httpx

from tests.docs.terminal import free_port
from tests.support.nginx import need_nginx, running
from tests.support.process import WAIT_TIMEOUT_S
from tests.support.serving import Serving


def test_the_longest_poll_passes_through_nginx_without_settings(serving: Serving, tmp_path: Path) -> None:
    need_nginx()
    server, port = serving(), free_port()
    job_id = server.submit("noop", query="?runAt=2099-01-01T00:00:00Z")
    block = f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{server.port}; }} }}"
    with (
        running(block, tmp_path, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_TIMEOUT_S) as client,
    ):
        reply = client.get(f"/jobs/{job_id}", headers={"Prefer": "wait=60"})
        assert (reply.status_code, reply.json()["status"]) == (202, "queued")
        assert reply.headers["Preference-Applied"] == "wait=50"
