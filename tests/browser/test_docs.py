"""`/docs`: the API description for readers, from this origin only."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.tab import PageServer, Tab


def test_the_api_description_can_be_read_searched_and_tried(
    server: PageServer, new_tab: Callable[[PageServer], Tab]
) -> None:
    page = new_tab(server).page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    origin = f"http://127.0.0.1:{server.port}"
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{origin}/docs#submit-ping")
    ping = page.locator("#submit-ping")
    expect(ping.locator("form")).to_be_visible()  # the one that the address names is open
    expect(ping).to_contain_text("The request is not valid")
    expect(ping).to_contain_text("Idempotency-Key")
    page.get_by_label("Search operations").fill("download")
    expect(ping).to_be_hidden()
    expect(page.locator("#downloadFile")).to_be_visible()
    page.get_by_label("Search operations").fill("")
    ping.get_by_label("Prefer", exact=True).fill("wait=30")
    ping.get_by_role("button", name="Send").click()
    expect(ping.locator("pre[aria-live]")).to_contain_text('"reply":"pong"')
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert asked
    assert all(url.startswith(f"{origin}/") for url in asked)
