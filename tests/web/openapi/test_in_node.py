"""The document as tools read it: linters find nothing, and generated clients in TypeScript type-check and work."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client_table import assert_in_the_table
from tests.support.node import install, run
from tests.support.process import ServerProcess

HERE = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(":memory:") as server:
        yield server


@pytest.fixture(scope="module")
def folder(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the tools, and with the document."""
    programs = sorted(path.name for path in HERE.iterdir() if path.name != "package.json")
    folder = install(HERE, tmp_path_factory.mktemp("node"), *programs)
    (folder / "openapi.json").write_bytes(server.request("GET", "/openapi.json").body)
    return folder


def test_spectral_finds_nothing(folder: Path) -> None:
    assert spectral(folder, "openapi.json") == []
    document = json.loads((folder / "openapi.json").read_bytes())
    del document["info"]["contact"]
    (folder / "worse.json").write_text(json.dumps(document))
    assert [each["code"] for each in spectral(folder, "worse.json")] == ["info-contact"], "it looks at nothing"


def spectral(folder: Path, name: str) -> Any:
    """What it finds, of every severity."""
    rules = folder / "spectral.json"
    rules.write_text(json.dumps({"extends": ["spectral:oas"]}))
    options = ("--quiet", "--format=json", f"--ruleset={rules.name}", "--fail-severity=error")
    return json.loads(run(folder, "npx", "spectral", "lint", *options, name))


def test_redocly_finds_nothing(folder: Path) -> None:
    (folder / "redocly.yaml").write_text("extends: [recommended]\ntelemetry: off\n")
    found = json.loads(run(folder, "npx", "redocly", "lint", "--format=json", "openapi.json"))
    assert found["problems"] == []
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}


def test_generated_clients_type_check_and_run_the_main_flow(server: ServerProcess, folder: Path) -> None:
    run(folder, "npx", "openapi-typescript", "openapi.json", "-o", "schema.ts")
    run(folder, "npx", "openapi-ts", "-i", "openapi.json", "-o", "generated", "--silent")
    run(folder, "npx", "tsc", "-p", ".")
    for program, label in (("with_openapi_typescript", "by openapi-typescript"), ("with_hey_api", "by hey-api")):
        told = json.loads(run(folder, "node", f"out/{program}.js", f"http://127.0.0.1:{server.port}"))
        assert told.pop("result")["reply"] == "pong"
        assert told.pop("last", "completed") == "completed"
        ended = {"label": label, "status": "completed", "progress": 100, "problem": "/problems/not-found"}
        assert told == ended, program
    for client in ("openapi-typescript", "openapi-fetch", "@hey-api/openapi-ts"):
        installed = json.loads((folder / "node_modules" / client / "package.json").read_text("utf-8"))
        assert_in_the_table(client, installed["version"])
    wrong = (HERE / "with_hey_api.ts").read_text("utf-8").replace("message:", "mesage:")
    (folder / "with_hey_api.ts").write_text(wrong)
    checked = subprocess.run(["npx", "tsc", "-p", "."], cwd=folder, capture_output=True, text=True, check=False)
    assert "mesage" in checked.stdout, "the types say nothing of the input"
