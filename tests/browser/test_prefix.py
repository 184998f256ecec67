"""The page behind a reverse proxy that serves it under a path prefix: no link leads to the root of the host."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import FilePayload, expect

from tests.browser.conftest import JOBS
from tests.browser.tab import PageServer, Tab
from tests.support.proxy import PrefixProxy


class ProxiedServer(PageServer):
    """A server whose pages are opened through a proxy."""

    def __init__(self, proxy: PrefixProxy, *arguments: str) -> None:
        super().__init__(":memory:", *arguments, env={"HEADWAY_PUBLIC_URL": proxy.url})
        self.proxy = proxy

    @property
    def url(self) -> str:
        return self.proxy.url


@pytest.fixture(scope="module")
def module_server() -> Iterator[PageServer]:
    with PrefixProxy() as proxy, ProxiedServer(proxy, "--jobs", str(JOBS)) as server:
        proxy.upstream_port = server.port
        yield server


@pytest.fixture
def tab(server: PageServer, new_tab: Callable[[PageServer], Tab]) -> Tab:
    return new_tab(server)


def test_a_job_is_started_followed_and_viewed_under_a_prefix(tab: Tab, server: PageServer) -> None:
    strays: list[str] = []
    tab.page.on("request", lambda request: None if request.url.startswith(server.url) else strays.append(request.url))
    page = tab.open()
    tab.choose("Go on steadily")
    page.get_by_role("textbox", name="Label").fill("under a prefix")
    page.get_by_role("button", name="Start job").click()
    row = page.locator(".job", has_text="under a prefix")
    expect(row.locator(".badge")).to_have_text("✓Completed")
    row.get_by_role("link", name="under a prefix").click()
    assert page.url.startswith(f"{server.url}/#/jobs/")
    expect(page.locator("#detail-result")).to_contain_text("10")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Open as JSON").click()
    assert popup.value.url.startswith(f"{server.url}/jobs/")
    assert popup.value.evaluate("JSON.parse(document.body.innerText)") == {"steps": 10}
    assert strays == []


def test_uploads_and_output_files_work_under_a_prefix(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    tab.choose("Report on a CSV file")
    table: FilePayload = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n3,4\n"}
    page.get_by_label("CSV file", exact=True).set_input_files(table)
    page.get_by_role("button", name="Start job").click()
    row = page.locator(".job").first
    expect(row.locator(".badge")).to_have_text("✓Completed")
    with page.expect_download() as download:
        row.get_by_role("link", name=".html").first.click()
    assert download.value.url.startswith(f"{server.url}/jobs/")
    assert "<html" in download.value.path().read_text("utf-8")


def test_the_client_follows_the_links_that_the_server_sends(tab: Tab, server: PageServer) -> None:
    page = tab.open()
    result = page.evaluate(
        """async (base) => {
          const { Client } = await import(`${base}/static/headway.js`);
          const headers = { "Content-Type": "application/json" };
          const response = await fetch(`${base}/jobs/steady`, { method: "POST", headers, body: '{"steps": 3}' });
          const job = await new Client(base).job((await response.json()).progressUrl).wait();
          return { location: response.headers.get("Location"), result: job.result, resultUrl: job.resultUrl };
        }""",
        server.url,
    )
    assert result["result"] == {"steps": 3}
    assert result["resultUrl"] == f"{result['location']}/result"
    assert result["location"].startswith(f"{server.url}/jobs/")
