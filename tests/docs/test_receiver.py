"""The receiver of webhooks in the HTTP guide takes what a server sends, and nothing else."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import blocks_of
from tests.docs.terminal import free_port
from tests.support.process import ROOT, ServerProcess, eventually, run_command


@contextmanager
def receiver(folder: Path, port: int, secret: str) -> Iterator[subprocess.Popen[str]]:
    (block,) = [block for block in blocks_of(ROOT / "docs/http.md") if block.file == "receiver.py"]
    program = folder / "receiver.py"
    program.write_text(block.text.replace("port=9000", f"port={port}"))
    environment = {**os.environ, "WEBHOOK_SECRET": secret}
    with subprocess.Popen(
        [sys.executable, str(program)], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            eventually(lambda: _status(port, b"{}"))
            yield process
        finally:
            process.terminate()


def _status(port: int, body: bytes) -> int | None:
    """What it answers to a request that nobody has signed; `None` while it does not listen."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/hook", body, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None


@pytest.fixture
def port() -> int:
    return free_port()


def test_it_takes_a_delivery_and_refuses_what_is_not_signed(tmp_path: Path, port: int) -> None:
    data = tmp_path / "data"
    with ServerProcess(data, env={"HEADWAY_WEBHOOK_ALLOW": f"127.0.0.1:{port}"}) as server:
        secret = run_command("secrets", "show", "--data-dir", str(data)).stdout.strip()
        with receiver(tmp_path, port, secret) as process:
            assert _status(port, b'{"type": "job.completed"}') == 400
            job_id = server.submit("ping", {}, f"?webhookUrl=http://127.0.0.1:{port}/hook&webhookEvents=job.completed")
            assert process.stdout is not None
            assert process.stdout.readline() == f"job.completed {job_id}\n"
            (delivery,) = eventually(
                lambda: [
                    each
                    for each in server.request("GET", f"/jobs/{job_id}/deliveries").json["deliveries"]
                    if each["status"] == "delivered"
                ]
            )
            assert delivery["event"] == "job.completed"
