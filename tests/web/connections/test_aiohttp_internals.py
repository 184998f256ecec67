"""The releases of aiohttp and aiohttp-sse in use were tested, and have the private names that the package uses."""

import ast
import tomllib
from importlib.metadata import version

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from aiohttp_sse import EventSourceResponse
from headway.web.connections.aiohttp_internals import PRIVATE_NAMES
from packaging.requirements import Requirement

from tests.support.process import ROOT

WEB = ROOT / "server" / "headway" / "web"
USED = [(kind, name) for kind, names in PRIVATE_NAMES.items() for name in names]


@pytest.mark.parametrize("package", ["aiohttp", "aiohttp-sse"])
def test_the_installed_release_is_one_that_was_tested(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (required,) = (each for each in map(Requirement, project["dependencies"]) if each.name == package)
    assert any(each.operator == "<" for each in required.specifier), f"the requirement of {package} has no upper limit"
    installed = version(package)
    assert installed in required.specifier, (
        f"{package} {installed} was not tested with Headway, which uses private names of it; {required.specifier} was. "
        "See web/connections/aiohttp_internals.py on how to raise the limit."
    )


@pytest.mark.parametrize(("of_class", "name"), USED)
async def test_the_private_names_are_there(of_class: str, name: str) -> None:
    server = web.Server(_unused)
    made = {
        "RequestHandler": server(),
        "AppRunner": web.AppRunner(web.Application()),
        "Server": server,
        "Request": make_mocked_request("GET", "/"),
        "EventSourceResponse": EventSourceResponse(),
    }
    assert hasattr(made[of_class], name), f"{of_class}.{name} is gone from aiohttp, and web/connections relies on it"


async def _unused(_request: web.BaseRequest) -> web.StreamResponse:
    raise NotImplementedError


OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
"""Public in spite of their names: aiohttp's messages are named tuples."""


def test_every_private_name_in_use_is_listed_and_no_other() -> None:
    modules = {path: path.read_text("utf-8") for path in WEB.rglob("*.py") if path.stem != "aiohttp_internals"}
    used = {name: path.name for path, text in modules.items() for name in _foreign_private_names(ast.parse(text))}
    listed = {name for _, name in USED}
    assert used.keys() <= listed, used
    assert not {name for name in listed if not any(name in text for text in modules.values())}


def _foreign_private_names(tree: ast.Module) -> set[str]:
    """The private attributes that a module uses and does not define itself."""
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    private = {name for name in found if name.startswith("_") and not name.startswith("__")}
    return private - OF_NAMED_TUPLES - {name for node in ast.walk(tree) for name in _defined(node)}


def _defined(node: ast.AST) -> set[str]:
    """The names of methods and attributes that a module's own code makes."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return {node.attr}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()
