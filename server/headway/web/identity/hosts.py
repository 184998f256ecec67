"""The host names that the server accepts in the header `Host` (RFC 9110, 7.2).

A page of another site can have its own name resolve to this machine (DNS rebinding). Its scripts then have the same
origin as this server, and only the name in `Host` gives them away.
"""

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from ...settings import Settings, is_loopback
from ..problems import Problem

REMEMBERED = 100

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?", re.ASCII)


class Hosts:
    """The names of this server. Addresses are accepted too, since nobody can make them resolve to something else; a
    server that only this machine can reach accepts only loopback addresses.
    """

    def __init__(self, settings: Settings) -> None:
        self._only_loopback = is_loopback(settings.host)
        names = {"localhost", settings.host.lower(), *settings.allowed_hosts}
        if public := urlsplit(settings.public_url).hostname:
            names.add(public)
        if not self._only_loopback:
            names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self._names = names
        self._seen: set[str] = set()

    def check(self, request: web.BaseRequest) -> None:
        """Raises `Problem` for a request meant for another server."""
        host = request.headers.get(hdrs.HOST)
        if host in self._seen or host is None:  # HTTP/1.0: no browser
            return
        if not self.accepts(host):
            raise Problem("misdirected", "The host names of this server are set by HEADWAY_ALLOWED_HOSTS.")
        if len(self._seen) < REMEMBERED:
            self._seen.add(host)

    def accepts(self, host: str) -> bool:
        """Whether this is a name of this server, with or without a port."""
        found = _HOST.fullmatch(host)
        return found is not None and self._is_ours(found[1].lower())

    def _is_ours(self, name: str) -> bool:
        if name in self._names or name.rstrip(".") in self._names:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return name.endswith(".localhost")  # RFC 6761, 6.3
        return address.is_loopback or not self._only_loopback
