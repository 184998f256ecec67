"""The JavaScript client as a package: what is in it, its size, its types; and its use in Node.js and Deno."""

import gzip
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.javascript.conftest import STATIC, add_package
from tests.support.node import run
from tests.support.process import ROOT, ServerProcess

MOST_BYTES = 6_000
USED: dict[str, Any] = {
    "lines": ["line 1 of 2", "line 2 of 2"],
    "seen": ["log", "state"],
    "resumed": 0,
    "ended": ["completed", 100, "typed", 3],
    "ordered": True,
    "steps": 3,
    "reason": "enough",
    "cancelled": ["cancelled", "4711"],
    "repeated": {"steps": 2},
    "results": 12,
    "whole": True,
    "pointers": ["/steps"],
    "deleted": True,
    "missing": [404, "/problems/not-found"],
}
"""What `use(base)` of `use.ts` returns, wherever it runs."""
CALL = "import { use } from './out/use.js'; console.log(JSON.stringify(await use('BASE')));"


@pytest.mark.parametrize("module", ["headway.js", "headway-progress.js"])
def test_a_module_is_small_as_it_is_served(server: ServerProcess, module: str) -> None:
    served = server.request("GET", f"/static/{module}").body
    assert served == (STATIC / module).read_bytes()
    assert len(gzip.compress(served, 9)) < MOST_BYTES


def test_the_package_has_the_module_and_its_types_and_the_version_of_the_server(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"private": true}')
    assert add_package(tmp_path) == [
        "headway-progress.d.ts", "headway-progress.js", "headway.d.ts", "headway.js", "package.json",
    ]  # fmt: skip
    described = json.loads((tmp_path / "node_modules/@headway/client/package.json").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (described["version"], described["license"]) == (project["version"], project["license"])
    assert "dependencies" not in described


def test_what_describes_the_package_is_not_served(server: ServerProcess) -> None:
    for name in ("package.json", "headway.d.ts", "headway-progress.d.ts"):
        assert (STATIC / name).exists()
        assert server.request("GET", f"/static/{name}").status == 404


def test_typed_use_is_checked_and_runs_in_node_and_deno(server: ServerProcess, workshop: Path) -> None:
    run(workshop, "npx", "tsc", "-p", ".")
    for runtime in (["node", "--input-type=module", "--eval"], ["npx", "deno", "eval", "--ext=js"]):
        told = run(workshop, *runtime, CALL.replace("BASE", f"http://127.0.0.1:{server.port}"))
        assert json.loads(told) == USED, runtime
