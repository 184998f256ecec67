"""nginx with the push module nchan as a process of the benchmark: one worker, a configuration of its own."""

import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.process import WAIT_TIMEOUT_S, descendants

from ..processes import SERVER_CORE, on_core
from .producing import HEARTBEAT_S, HOST

CONFIGURATION = """
load_module {modules}/ngx_nchan_module.so;
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections {files}; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 10000000;
    nchan_shared_memory_size 256M;
    server {{
        listen {host}:{port} backlog=1024;
        location ~ ^/watch/(\\w+)$ {{
            nchan_subscriber eventsource;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
            nchan_eventsource_ping_interval {heartbeat_s:.0f};
        }}
        location ~ ^/publish/(\\w+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_message_buffer_length 10;
            nchan_message_timeout 60s;
        }}
    }}
}}
"""
FILES = 20_000


def missing() -> str | None:
    """What is not installed, and how to install it."""
    if shutil.which("nginx") is None:
        return "nginx is not installed: apt-get install nginx libnginx-mod-nchan"
    if not (_modules() / "ngx_nchan_module.so").exists():
        return "nginx is installed without nchan: apt-get install libnginx-mod-nchan"
    return None


@contextmanager
def nginx() -> Iterator[tuple[int, list[int]]]:
    """Its port and the ids of its processes. Channels are watched at `/watch/ID` and fed by POST at `/publish/ID`."""
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "error.log"
        with on_core(SERVER_CORE):
            process = subprocess.Popen(["nginx", "-c", _configured(folder, port), "-p", folder, "-e", str(log)])
        try:
            _wait(port, process, log)
            yield port, [process.pid, *descendants(process.pid)]
        finally:
            process.terminate()
            process.wait()


def _modules() -> Path:
    built = subprocess.run(["nginx", "-V"], capture_output=True, check=True, text=True).stderr
    found = re.search(r"--modules-path=(\S+)", built)
    return Path(found[1] if found else "/usr/lib/nginx/modules")


def _configured(folder: str, port: int) -> str:
    path = Path(folder) / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""  # otherwise the worker cannot access the folder
    values = {"modules": _modules(), "folder": folder, "port": port, "user": user, "files": FILES}
    path.write_text(CONFIGURATION.format(host=HOST, heartbeat_s=HEARTBEAT_S, **values))
    return str(path)


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until it answers."""
    end_s = time.monotonic() + WAIT_TIMEOUT_S
    while time.monotonic() < end_s:
        assert process.poll() is None, log.read_text()
        connection = http.client.HTTPConnection(HOST, port, timeout=WAIT_TIMEOUT_S)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except ConnectionError:
            time.sleep(0.02)
        else:
            return
        finally:
            connection.close()
    raise AssertionError("nginx does not answer")
