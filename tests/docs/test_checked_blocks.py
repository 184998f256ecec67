"""Blocks that are not run are checked: examples of JSON, configuration of other programs, diagrams."""

import configparser
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from headway.authoring.job_types import Registry
from headway.domain.jobs import TERMINAL, TRANSITIONS, Status
from headway.settings import Settings
from headway.web.openapi.document import Description
from jsonschema import Draft202012Validator, FormatChecker

from tests.docs.pages import ALL_BLOCKS, Block
from tests.support.process import ROOT


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
def test_nginx_takes_its_configuration(block: Block, tmp_path: Path) -> None:
    assert block.text.count("{") == block.text.count("}")
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("there is no nginx, or no openssl to make it a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=jobs.example.com"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    server = re.sub(r"/etc/ssl/\S+\.key", str(key), re.sub(r"/etc/ssl/\S+\.pem", str(certificate), block.text))
    temporary = "".join(
        f"{what}_temp_path {tmp_path}/{what};" for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"pid {tmp_path}/nginx.pid; error_log stderr; events {{}} http {{ access_log off; {temporary}\n{server} }}"
    )
    done = subprocess.run(["nginx", "-t", "-c", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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
