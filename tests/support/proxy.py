"""A reverse proxy for tests: it serves a server under a path prefix, which it strips (nginx: `proxy_pass` with a
slash at its end).
"""

import http.client
from http.server import BaseHTTPRequestHandler

from tests.support.process import WAIT_TIMEOUT_S
from tests.support.threaded import ThreadedServer

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})


class PrefixProxy(ThreadedServer):
    """A context manager. It has its port before the server has one: set `upstream_port` when the server has started."""

    def __init__(self, prefix: str = "/some/prefix") -> None:
        self.prefix = prefix
        self.upstream_port = 0
        super().__init__(type("Handler", (_Handler,), {"proxy": self}))

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The server's public URL, without a trailing slash."""
        return f"http://{self.host}{self.prefix}"


class _Handler(BaseHTTPRequestHandler):
    """Forwards one request, and the response as it arrives, so that streams stream."""

    proxy: PrefixProxy

    def _pass_on(self) -> None:
        self.close_connection = True
        if not self.path.startswith(f"{self.proxy.prefix}/"):
            self.send_error(404, "not under the prefix")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        upstream = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream_port, timeout=WAIT_TIMEOUT_S)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            upstream.request(self.command, self.path.removeprefix(self.proxy.prefix), body or None, headers)
            self._answer(upstream.getresponse())
        except ConnectionError:
            pass  # either side has disconnected
        finally:
            upstream.close()

    do_GET = do_HEAD = do_POST = do_DELETE = _pass_on  # noqa: N815 - as the base class calls them

    def _answer(self, response: http.client.HTTPResponse) -> None:
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        while chunk := response.read1(65536):
            self.wfile.write(chunk)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: tests read the server's own log."""
