"""Links inside the documentation lead somewhere: to a file that is there, and to a heading that it has."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES
from tests.support.process import ROOT

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"|srcset=\"([^\"]+)\"")
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")


def links_of(text: str) -> list[str]:
    prose = _CODE.sub("``", _FENCED.sub("", text))
    return [next(filter(None, groups)) for groups in _LINK.findall(prose)]


def anchors_of(text: str) -> set[str]:
    """The fragments of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> list[str]:
    dead = []
    for link in links_of(page.read_text("utf-8")):
        if re.match(r"(https?|mailto):", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors_of(target.read_text("utf-8"))):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    text = "# A heading\n[here](#a-heading) [there](LICENSE) [no](docs/no.md) [nor](#nothing) `[code](x)`\n"
    page = tmp_path / "page.md"
    page.write_text(text)
    (tmp_path / "LICENSE").touch()
    assert dead_links(page) == ["docs/no.md", "#nothing"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached = set[Path]()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        paths = [link.partition("#")[0] for link in links_of(page.read_text("utf-8")) if "://" not in link]
        todo += [(page.parent / path).resolve() for path in paths if path]
    assert set(PAGES) - reached == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    named = re.findall(r"`((?:tests|server|static|docs)/[\w./-]+)`", page.read_text("utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []
