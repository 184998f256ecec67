"""Every example in the README and in `docs/` is run as a reader would run it, from the top of its page down."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import ALL_BLOCKS, PAGES, Block, blocks_of
from tests.docs.terminal import Terminal
from tests.support.node import need
from tests.support.process import ROOT

RUN_HERE = {"python", "console", "javascript"}
CHECKED_ELSEWHERE = {"json", "mermaid", "nginx", "ini", "text"}  # test_checked_blocks.py
RUN_IN_A_BROWSER = {"html", "js"}  # tests/browser/test_examples.py

RUN_ELSEWHERE = {
    "what sets Headway up": re.compile(
        r"python3 -m venv \S+ && \S+pip install (-q )?(-e )?('?\.(\[test\])?'?|/\S+)( && .*)?"
    ),
    "what fetches or installs software": re.compile(r"(git clone|cd|apt-get install|uv run|\S*pip install) .*"),
    "what measures for minutes": re.compile(r"\S+python -m tests\.benchmarks .*"),
    "what tests with tools of its own": re.compile(r"(just|pre-commit|nox)\b.*"),
    "what an init system does": re.compile(r"(sudo|systemctl|journalctl) .*"),
}
"""Commands that are not typed here: they are what `.ci/run` and the wheel's test run, or change the machine."""


def is_run_elsewhere(command: str) -> bool:
    return any(pattern.fullmatch(command) for pattern in RUN_ELSEWHERE.values())


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=str)
def test_every_block_is_of_a_language_that_is_run_or_checked(block: Block) -> None:
    assert block.language in RUN_HERE | CHECKED_ELSEWHERE | RUN_IN_A_BROWSER, block


@pytest.mark.parametrize("block", [block for block in ALL_BLOCKS if "run" in block.notes], ids=str)
def test_a_block_that_another_test_runs_is_named_there(block: Block) -> None:
    assert f'"{block.file}"' in (ROOT / block.notes["run"]).read_text("utf-8")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks_of(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_examples_of_a_page_run_as_they_are_written(page: Path, tmp_path: Path) -> None:
    blocks = [block for block in blocks_of(page) if block.language in RUN_HERE and "run" not in block.notes]
    if any(block.language == "javascript" for block in blocks):
        need("node")
    typed = "\n".join(block.text for block in blocks if block.language == "console")
    with Terminal(tmp_path) as terminal:
        for block in blocks:
            if block.language == "python" and block.file and re.search(rf"\b{Path(block.file).stem}\b", typed):
                terminal.write(block)  # a command of the page runs it
            elif block.language == "python":
                terminal.run_python(block)
            elif block.language == "javascript":
                terminal.run_javascript(block)
            else:
                terminal.type(block, leave_out=is_run_elsewhere)


def test_a_command_that_prints_something_else_is_noticed(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal, pytest.raises(AssertionError, match="expected"):
        terminal.type(_console("$ echo one two\none three\n"))


def test_another_status_than_the_page_says_is_noticed(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        terminal.type(
            _console("$ echo HTTP/1.1 422 Unprocessable Content; echo X\nHTTP/1.1 422 Unprocessable Entity\nX\n")
        )
        with pytest.raises(AssertionError, match="expected"):
            terminal.type(_console("$ echo HTTP/1.1 404 Not Found\nHTTP/1.1 403 Forbidden\n"))


def test_a_command_that_fails_is_noticed(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal, pytest.raises(AssertionError, match="exit code 1"):
        terminal.type(_console("$ false\n"))


def test_an_id_of_the_page_stands_for_the_id_that_the_server_gave(tmp_path: Path) -> None:
    first, other = "01a1fa65-5e24-7000-907c-ce2934a25611", "01a1fa65-5e24-7000-907c-ce2934a25612"
    with Terminal(tmp_path) as terminal:
        terminal.type(_console(f'$ echo \'{{"id": "{other}", "n": 2}}\'\n{{"id": "{first}", ...}}\n'))
        terminal.type(_console(f"$ echo {first}\n{other}\n"))


def test_a_program_that_raises_is_noticed(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal, pytest.raises(AssertionError, match="NameError"):
        terminal.run_python(Block(ROOT / "README.md", 1, "python", "nothing_of_this_name\n", {}))


def _console(text: str) -> Block:
    return Block(ROOT / "README.md", 1, "console", text, {})
