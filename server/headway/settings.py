"""The settings of a server: flags, or `HEADWAY_…` in the environment. Units are in the names.

What nobody needs to change is a constant beside its use.
"""

import difflib
import ipaddress
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import SetupError
from .quotas import NO_QUOTA, Quota

DAY_S = 24 * 60 * 60

LONGEST_SILENCE_S = 15.0
"""What clients are promised: no stream is silent for longer."""

SPLIT = (
    "HEADWAY_MAX_RUNNING and --max-running are gone: set HEADWAY_MAX_TASKS (--max-tasks) for async def jobs, "
    "and HEADWAY_MAX_PROCESSES (--max-processes) for def jobs"
)

_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", re.ASCII)
_PUBLIC_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?", re.ASCII)

PREFIX = "HEADWAY_"
OF_OTHERS = frozenset({"API_KEY", "KEY", "URL", "VERSION"})
"""Variables that no server reads: what clients and images keep in the environment."""
_OF_A_SERVICE = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""What Kubernetes and Docker's links set for a service whose name begins with `headway`."""
_LINK = re.compile(r"(tcp|udp|sctp)://")
"""The beginning of their `…_PORT`."""


def _public_url(url: str) -> str:
    """The URL without trailing slashes. It is sent in headers, so it must be ASCII (RFC 3986)."""
    if url and not (url.isascii() and url.isprintable() and _PUBLIC_URL.fullmatch(url) and not set(url) & set('<>"')):
        raise ValueError("must be like https://example.com/headway: a scheme, a host and at most a path")
    return url.rstrip("/")


def _separated(value: object) -> object:
    """The items of a comma-separated list, as lists are written in the environment."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        ipaddress.ip_network(network)  # raises ValueError
    return networks


def separated_modules(text: str) -> tuple[str, ...]:
    """Job modules as they are given in one variable or flag. Raises `ValueError`.

    Commas separate them, no colons: `module:function` is what other servers take. A JSON array may hold any path.
    """
    if not text.lstrip().startswith("["):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        modules = json.loads(text)
    except ValueError:
        modules = None
    if not (isinstance(modules, list) and all(isinstance(module, str) for module in modules)):
        raise ValueError("must be names and paths of modules, with commas between them, or a JSON array of these")
    return tuple(modules)


def _quota(value: object) -> object:
    return Quota.parse(value) if isinstance(value, str) else value


def _modules(value: object) -> object:
    return separated_modules(value) if isinstance(value, str) else value


def _port(value: object) -> object:
    if isinstance(value, str) and _LINK.match(value):
        raise ValueError(
            "is the address that Kubernetes sets for a service called headway: set enableServiceLinks to false, "
            "or give the port with --port"
        )
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_separated)]


def _origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Checks that each is written as browsers send it (RFC 6454, 6.2)."""
    if not all(origin == "*" or _ORIGIN.fullmatch(origin) for origin in origins):
        raise ValueError("must be like https://example.com, in lower case and without a path; or *")
    return origins


def _hosts(hosts: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError("must be host names, without scheme or port")
    return tuple(host.lower() for host in hosts)


def usable_cores() -> int:
    """How many cores this process may use; containers and `taskset` allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_loopback(host: str) -> bool:
    """Whether a host name or an address stands for this machine, so that no other machine can connect to it."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _startable(process_start: str) -> str:
    if process_start == "fork" and sys.platform != "linux":
        raise ValueError("processes can be forked on Linux only: use spawn")
    return process_start


class EverydaySettings(BaseSettings):
    """The settings that most operators look at: where the server is, who may use it, what it runs and keeps."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535), BeforeValidator(_port)] = 8080
    public_url: Annotated[str, AfterValidator(_public_url)] = ""
    data_dir: str = "headway-data"
    jobs: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_modules)] = ()
    samples: bool | None = None
    max_tasks: Annotated[int, Field(ge=1)] = 200
    max_processes: Annotated[int, Field(ge=1)] = Field(default_factory=usable_cores)
    retain_s: Annotated[float, Field(ge=0)] = 7 * DAY_S
    audit_retain_s: Annotated[float, Field(gt=0, le=100 * 366 * DAY_S)] = 30 * DAY_S
    audit_downloads: bool = False
    insecure: bool = False
    allowed_hosts: Annotated[CommaSeparated, AfterValidator(_hosts)] = ()
    cors_origins: Annotated[CommaSeparated, AfterValidator(_origins)] = ()
    trusted_proxies: Annotated[CommaSeparated, AfterValidator(_networks)] = ()
    webhook_allow: CommaSeparated = ()
    log_format: Annotated[str, Field(pattern="^(console|json)$")] = "console"
    access_log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_was_split(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Raises `SetupError` for the setting of earlier versions: ignored, it would no longer limit anything."""
        if "max_running" in given or "HEADWAY_MAX_RUNNING" in map(str.upper, os.environ):
            raise SetupError(SPLIT)
        return given


class Settings(EverydaySettings):
    """All settings with their defaults. Those declared here are advanced: limits and times that suit most servers.

    `/openapi.json` publishes those that clients meet.
    """

    max_queued: Annotated[int, Field(ge=1)] = 100_000
    max_queued_per_owner: Annotated[int, Field(ge=1)] = 50_000
    quota: Annotated[Quota, NoDecode, BeforeValidator(_quota)] = NO_QUOTA
    submissions_per_minute: Annotated[int, Field(ge=0)] = 6_000
    lists_per_minute: Annotated[int, Field(ge=0)] = 1_200
    failed_sign_ins_per_minute: Annotated[int, Field(ge=1)] = 10
    max_recoveries: Annotated[int, Field(ge=0)] = 3
    process_start: Annotated[Literal["fork", "spawn"], AfterValidator(_startable)] = (
        "fork" if sys.platform == "linux" else "spawn"
    )
    job_memory_mib: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    job_cpu_s: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    job_max_output_mib: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    job_max_pids: Annotated[int | None, Field(ge=1)] = None
    cancel_grace_s: Annotated[float, Field(gt=0)] = 5.0
    shutdown_grace_s: Annotated[float, Field(gt=0)] = 2.0

    max_body_bytes: Annotated[int, Field(ge=1)] = 1024 * 1024
    max_upload_bytes: Annotated[int, Field(ge=1)] = 4 * 1024 * 1024 * 1024
    min_free_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024
    head_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    body_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    keep_alive_s: Annotated[float, Field(gt=0)] = 75.0

    tick_s: Annotated[float, Field(ge=0, le=10)] = 0.1
    heartbeat_s: Annotated[float, Field(gt=0, le=LONGEST_SILENCE_S)] = 12.0
    stream_stall_timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 60.0

    max_connections: Annotated[int, Field(ge=1)] = 25_000
    max_streams: Annotated[int, Field(ge=1)] = 20_000
    max_streams_per_client: Annotated[int, Field(ge=1)] = 1_000
    max_streams_per_owner: Annotated[int, Field(ge=1)] = 5_000
    max_waits: Annotated[int, Field(ge=1)] = 10_000
    max_waits_per_client: Annotated[int, Field(ge=1)] = 1_000
    max_waits_per_owner: Annotated[int, Field(ge=1)] = 5_000

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach the server, directly or through a proxy."""
        public_host = urlsplit(self.public_url).hostname
        published = public_host is not None and not is_loopback(public_host)
        return not is_loopback(self.host) or published or bool(self.trusted_proxies)

    @property
    def key_needed(self) -> bool:
        """Whether every client needs an API key."""
        return self.exposed and not self.insecure


def unknown_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    """The variables that look like settings and are none, each with the setting that was probably meant."""
    settings = [name.upper() for name in Settings.model_fields]
    for variable, value in environment.items():
        name = variable.upper().removeprefix(PREFIX)  # case does not count, as for the settings
        if name == variable.upper() or name in settings or _is_of_others(name, value):
            continue
        nearest = difflib.get_close_matches(name, settings, n=1)
        yield variable, f"{PREFIX}{nearest[0]}" if nearest else None


def _is_of_others(name: str, value: str) -> bool:
    if name in OF_OTHERS or _OF_A_SERVICE.fullmatch(name):
        return True
    return name.endswith("_PORT") and _LINK.match(value) is not None
