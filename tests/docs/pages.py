"""The pages of the documentation, and their code blocks."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import ROOT

PAGES = sorted([ROOT / "README.md", *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=str)
PAGES = list(dict.fromkeys(PAGES))

_BLOCK = re.compile(
    r"^(?P<notes>(?:<!-- [a-z]+: [^\n]* -->\n)*)(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_NOTE = re.compile(r"<!-- ([a-z]+): (.*) -->")
_FILE = re.compile(r"(?:#|//) ([\w./-]+\.(?:py|mjs))\b.*")


@dataclass(frozen=True)
class Block:
    """One fenced block. `notes` are the comments right above it, which readers do not see."""

    page: Path
    line: int
    language: str
    text: str
    notes: dict[str, str]

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, if its first line is a comment with one."""
        matched = _FILE.fullmatch(self.text.partition("\n")[0])
        return matched[1] if matched and self.language in ("python", "javascript") else None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path, text: str | None = None) -> list[Block]:
    """Every block of a page, in order. Raises `ValueError` for a fence that is not closed."""
    text = page.read_text("utf-8") if text is None else text
    found = [
        Block(
            page,
            text.count("\n", 0, matched.start("language")) + 1,
            matched["language"],
            re.sub(rf"^{matched['indent']}", "", matched["text"], flags=re.MULTILINE),
            dict(_NOTE.findall(matched["notes"])),
        )
        for matched in _BLOCK.finditer(text)
    ]
    if len(re.findall(r"^ *```", text, re.MULTILINE)) != 2 * len(found):
        raise ValueError(f"{page}: a fence is not closed, or has more than a language behind it")
    return found


ALL_BLOCKS = [block for page in PAGES for block in blocks_of(page)]
