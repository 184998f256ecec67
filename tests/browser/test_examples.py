"""The examples of the documentation that run in a browser: scripts, a page of another origin and its backend."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.keyed import KeyedServer
from tests.browser.tab import PageServer, Tab
from tests.docs.pages import ALL_BLOCKS, Block, blocks_of
from tests.docs.terminal import free_port
from tests.support.process import ROOT

AROUND_A_SCRIPT = """<!doctype html><title>Example</title><link rel="icon" href="data:,">
<progress id="bar" max="100"></progress><script type="module">SCRIPT</script>"""

SCRIPTS = [block for block in ALL_BLOCKS if block.language == "js"]


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_a_script_of_the_documentation_moves_a_bar_to_its_end(
    block: Block, chromium: object, new_tab: Callable[[PageServer], Tab]
) -> None:
    with PageServer() as server:
        tab = new_tab(server)
        tab.serve("/example", AROUND_A_SCRIPT.replace("SCRIPT", block.text))
        tab.page.goto(f"{server.url}/example")
        expect(tab.page.locator("progress")).to_have_attribute("value", "100")
        tab.page.close()  # some go on to read the result, of a server that is about to stop


def test_the_page_on_another_origin_and_its_backend_work(new_tab: Callable[[PageServer], Tab], tmp_path: Path) -> None:
    port = free_port()
    shop_url = f"http://127.0.0.1:{port}"
    with KeyedServer(tmp_path / "data", {"HEADWAY_CORS_ORIGINS": shop_url, "HEADWAY_SAMPLES": "true"}) as headway:
        html, python = (
            block.text.replace("https://jobs.example.com", headway.url).replace("port=8000", f"port={port}")
            for block in shop()
        )
        (tmp_path / "report.html").write_text(html)
        (tmp_path / "shop.py").write_text(python)
        command = [sys.executable, str(tmp_path / "shop.py")]
        env = {**os.environ, "HEADWAY_KEY": headway.make_key("shop")}
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as backend:
            try:
                assert backend.stdout is not None
                assert b"Running on" in backend.stdout.readline()
                tab = new_tab(headway)
                tab.expected.append("favicon.ico|404")
                tab.page.goto(shop_url)
                expect(tab.page.locator("body")).to_contain_text("completed: Yearly sales 2025")
                expect(tab.page.locator("progress")).to_have_attribute("value", "100")
            finally:
                backend.terminate()


def shop() -> tuple[Block, Block]:
    """The page and its backend."""
    blocks = blocks_of(ROOT / "docs/http.md")
    (html,) = [block for block in blocks if block.language == "html"]
    (python,) = [block for block in blocks if block.file == "shop.py"]
    return html, python
