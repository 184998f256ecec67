"""The paths through the code, as `docs/internals.md` lists them: each function is there, and no step breaks a wall."""

import re
import tomllib
from importlib import import_module
from itertools import pairwise
from typing import NamedTuple

import pytest

from tests.support.process import ROOT

INTERNALS = (ROOT / "docs/internals.md").read_text("utf-8")
MOST_RETURNS = 2


class Step(NamedTuple):
    """One line of a way: `room/module.function`; `back` where it is marked as coming back up."""

    path: str
    back: bool

    @property
    def room(self) -> str:
        return self.path.partition("/")[0]

    def function(self) -> object:
        """What the step names. Raises if it is not there."""
        folder, _, last = self.path.rpartition("/")
        module, *names = last.split(".")
        found: object = import_module(f"headway.{folder.replace('/', '.')}.{module}")
        for name in names:
            found = getattr(found, name)
        return found


def ways() -> dict[str, list[Step]]:
    text = INTERNALS.partition("## Four paths through the code")[2]
    return {
        title: [
            Step(path, bool(back)) for back, path in re.findall(r"^\d+\. (↑ )?`([\w/]+\.[\w.]+)`", steps, re.MULTILINE)
        ]
        for title, steps in re.findall(r"^### ([^\n]+)\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    }


def floors() -> dict[str, int]:
    """How far down each room lies, by import-linter's contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "floors"]
    return {
        room.strip().removeprefix("headway."): floor
        for floor, rooms in enumerate(layers)
        for room in re.split(r"[|:]", rooms)
    }


def wrong_steps(way: list[Step]) -> list[str]:
    """Steps between rooms that do not know each other, and those whose mark is wrong."""
    depth = floors()
    wrong = []
    for before, after in pairwise(way):
        climb = depth[after.room] - depth[before.room]
        if before.room != after.room and climb == 0:
            wrong.append(f"{before.path} and {after.path} lie on one floor")
        if after.back != (climb < 0):
            wrong.append(f"{after.path} is {'not ' if after.back else ''}a step back up")
    return wrong


def test_there_are_four_ways() -> None:
    assert list(ways()) == ["A submission", "A progress report", "A cancel", "A recovery"]
    assert all(len(way) >= 8 for way in ways().values())


@pytest.mark.parametrize("way", ways().values(), ids=ways())
def test_every_function_of_a_way_is_there(way: list[Step]) -> None:
    assert [step.path for step in way if not callable(step.function())] == []


@pytest.mark.parametrize("way", ways().values(), ids=ways())
def test_a_way_keeps_to_the_order_of_the_rooms(way: list[Step]) -> None:
    assert wrong_steps(way) == []
    assert sum(step.back for step in way) <= MOST_RETURNS


def test_a_step_against_the_walls_is_noticed() -> None:
    up = [Step("domain/jobs.Job", back=False), Step("web/routes.add_routes", back=False)]
    across = [Step("web/routes.add_routes", back=False), Step("operating/commands.Commands", back=False)]
    assert wrong_steps(up) == ["web/routes.add_routes is a step back up"]
    assert len(wrong_steps(across)) == 1


def test_a_function_that_is_not_there_is_noticed() -> None:
    with pytest.raises(AttributeError):
        Step("service/submitting.Submitting.sumbit", back=False).function()
