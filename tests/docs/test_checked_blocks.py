"""Blocks that are not run are checked: examples of JSON, configuration of other programs, diagrams."""

import configparser
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from headway.authoring.job_types import Registry
from headway.domain.jobs import TERMINAL, TRANSITIONS, Status
from headway.settings import Settings
from headway.web.openapi.document import Description
from jsonschema import Draft202012Validator, FormatChecker

from tests.docs.pages import ALL_BLOCKS, Block
from tests.docs.terminal import free_port
from tests.support.nginx import need_nginx, running
from tests.support.process import ROOT, WAIT_TIMEOUT_S, ServerProcess, parse_events, run_command


def of(language: str) -> list[Block]:
    return [block for block in ALL_BLOCKS if block.language == language]


# JSON


def is_valid(example: Any, model: str) -> None:
    """Raises `jsonschema.ValidationError` if it is not an instance of a component of `/openapi.json`."""
    document = Description(Registry([]), Settings()).document()
    schema = {"$ref": f"#/components/schemas/{model}", "components": document["components"]}
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(example)


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_json_is_valid_against_the_published_schema(block: Block) -> None:
    is_valid(json.loads(block.text), block.notes["schema"])


def test_json_that_lacks_a_field_is_noticed() -> None:
    example = json.loads(of("json")[0].text)
    del example["version"]
    with pytest.raises(Exception, match="'version' is a required property"):
        is_valid(example, "JobDetail")


# Diagrams


@pytest.mark.parametrize("block", of("mermaid"), ids=str)
def test_a_diagram_of_states_shows_every_state_and_every_transition(block: Block) -> None:
    assert block.text.startswith("stateDiagram-v2\n")
    arrows = set(re.findall(r"^ *(\S+) --> (\S+):", block.text, re.MULTILINE))
    begin_and_end = {("[*]", Status.QUEUED), *((status, "[*]") for status in TERMINAL)}
    assert arrows == {(str(a), str(b)) for a, b in {*TRANSITIONS.values(), *begin_and_end}}


def test_the_states_are_drawn_somewhere() -> None:
    assert of("mermaid")


@pytest.mark.parametrize("block", of("text"), ids=str)
def test_a_floor_plan_names_every_folder_and_module(block: Block) -> None:
    room = ROOT / block.notes["below"]
    names = [line.split()[0] for line in block.text.splitlines() if line and not line.startswith(" ")]
    folders = {f"{path.parent.name}/" for path in room.glob("*/__init__.py")}
    modules = {path.name for path in room.glob("*.py")} - {"__init__.py"}
    assert folders | modules == set(names)


# Other programs


@pytest.mark.parametrize("block", of("nginx"), ids=str)
def test_nginx_takes_its_configuration_and_streams_pass_through_it(block: Block, tmp_path: Path) -> None:
    need_nginx()
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make nginx a certificate")
    data, port = tmp_path / "data", free_port()
    key = run_command("keys", "create", "client", "--data-dir", str(data)).stdout.strip()
    published = {"HEADWAY_PUBLIC_URL": "https://jobs.example.com", "HEADWAY_TRUSTED_PROXIES": "127.0.0.1"}
    with ServerProcess(data, env=published) as server, nginx(block.text, tmp_path, port, server.port):
        headers = {"Host": "jobs.example.com", "Authorization": f"Bearer {key}"}
        url = f"https://127.0.0.1:{port}"
        # The certificate is the test's own.
        with httpx.Client(base_url=url, headers=headers, timeout=WAIT_TIMEOUT_S, verify=False) as client:  # noqa: S501
            job = client.post("/jobs/ping?runAt=9999-01-01T00:00:00Z").json()
            assert job["statusUrl"].startswith("https://jobs.example.com/jobs/")
            with client.stream("GET", f"/jobs/{job['jobId']}/progress") as stream:
                # The job waits, so the stream stays open: what arrives was not held back until its end.
                states = parse_events(line.encode() for line in stream.iter_lines())
                assert next(states).data["status"] == "queued"
                assert client.delete(f"/jobs/{job['jobId']}").status_code == 204
                assert [state.data["status"] for state in states] == ["cancelled"]


@contextmanager
def nginx(server: str, folder: Path, port: int, backend: int) -> Iterator[None]:
    """Run nginx with this server block, on a free port and with a certificate that is made for it."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=jobs.example.com"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    server = re.sub(r"/etc/ssl/\S+\.key", str(key), re.sub(r"/etc/ssl/\S+\.pem", str(certificate), server))
    server = server.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace(":8080", f":{backend}")
    with running(server, folder, port):
        yield


@pytest.mark.parametrize("block", of("ini"), ids=str)
def test_a_systemd_unit_can_be_read_and_sets_what_the_server_knows(block: Block, tmp_path: Path) -> None:
    # systemd allows a key more than once, which configparser's dictionaries do not keep.
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read_string(block.text)
    assert set(unit.sections()) == {"Unit", "Service", "Install"}
    given = dict(re.findall(r"^Environment=HEADWAY_(\w+)=(.+)$", block.text, re.MULTILINE))
    Settings(**{name.lower(): value for name, value in given.items()})
    if shutil.which("systemd-analyze") is None:
        return
    path = tmp_path / "headway.service"
    # This machine has neither the program nor its user.
    unit_text = re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", block.text)
    path.write_text(re.sub(r"^User=.*\n", "", unit_text, flags=re.MULTILINE))
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    command = ["systemd-analyze", "verify", "--man=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    complaints = [line for line in done.stderr.splitlines() if "headway.service" in line and "/opt/" not in line]
    assert complaints == []
