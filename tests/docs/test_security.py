"""SECURITY.md: each line of what is defended names its tests, and they are there; each of the rest says what to do."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.process import ROOT

PAGE = (ROOT / "SECURITY.md").read_text("utf-8")


class Line(NamedTuple):
    """One item of a list, with what it says in bold."""

    title: str
    text: str

    @property
    def tests(self) -> list[tuple[str, str]]:
        """The links behind `*Tests:*`, as text and path."""
        named = " ".join(self.text.partition("*Tests:*")[2].split())
        return re.findall(r"\[([^\]]+)\]\(([^)]+)\)", named)


def lines_of(heading: str, text: str = PAGE) -> list[Line]:
    section = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    items = re.findall(r"^- (.*(?:\n  .*)*)", section, re.MULTILINE)
    return [Line(" ".join(item.split())[:60], item) for item in items]


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {each.name for each in functions if each.name.startswith("test_")}


def missing(text: str, path: str) -> str | None:
    """What is wrong with a link to a test: its text is the name of the test, or of the file if that is meant whole."""
    file = ROOT / path
    if not (path.startswith("tests/") and file.is_file()):
        return f"there is no {path}"
    if text != file.name and "test_" + text.replace(" ", "_") not in names_in(file):
        return f"{path} has no test whose name is: {text}"
    return None


@pytest.mark.parametrize("line", lines_of("What is defended"), ids=lambda line: line.title)
def test_what_is_defended_names_tests_that_are_there(line: Line) -> None:
    assert line.tests, "no test is named"
    assert [found for text, path in line.tests if (found := missing(text, path))] == []


@pytest.mark.parametrize("line", lines_of("What is not defended"), ids=lambda line: line.title)
def test_what_is_not_defended_says_what_to_do_instead(line: Line) -> None:
    assert re.search(r"\*Instead:\*\s+\S|\bmust\b", line.text)


def test_a_line_without_a_test_and_a_test_that_is_not_there_are_noticed() -> None:
    here = "tests/docs/test_security.py"
    (bare, named) = lines_of("A", f"\n## A\n\n- **One.**\n- **Two.**\n  *Tests:*\n  [a\n  test]({here})\n\n## B\n- x\n")
    assert (bare.tests, named.tests) == ([], [("a test", here)])
    assert missing("test_security.py", here) is None
    assert missing("what is defended names tests that are there", here) is None
    assert missing("a test", here) == f"{here} has no test whose name is: a test"
    assert missing("test_none.py", "tests/test_none.py") == "there is no tests/test_none.py"


def test_the_lines_of_the_page_are_found() -> None:
    most_bullets = len(re.findall(r"^- \*\*", PAGE, re.MULTILINE))
    assert len(lines_of("What is defended")) + len(lines_of("What is not defended")) == most_bullets > 0
