"""Whatever text clients and handlers hand over, the page shows it as text, and everything else as ever."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.browser.odd_jobs import BREAKER
from tests.browser.tab import PageServer, Tab, scrolls_sideways
from tests.support.raw import BOUNDARY, form, part

ODD_JOBS = Path(__file__).with_name("odd_jobs.py")
ODD = {
    "a lone surrogate": "a\ud800b",
    "NUL and other controls": "a\0b\x07c\x85d\x7fe",
    "escape sequences": "a\x1b[31mred\x1b]0;title\x07b",
    "bidi overrides": "abc\u202egnitirw\u202dmore",
    "bidi isolates": "\u2067\u2067\u2066abc\u2069\u2069\u2069\u2069def",
    "zero width": "a\u200bb\u200dc\u2060d\ufeffe",
    "a pile of accents": "Z" + "\u0301\u0316\u0489" * 60 + "algo",
    "right to left": "\u05e9\u05dc\u05d5\u05dd 123 \u0645\u0631\u062d\u0628\u0627",
    "beyond 16 bits": "\U0001d54f\U00020000\U0010fffd",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f3fd\U0001f1e6\u2764\ufe0f",
    "long": "x" * 10_000,
    "long without a place to break": "\U0001f600" * 3_000,
    "markup": "</script><script>owned()</script><img src=x onerror=owned()><svg onload=owned()>",
    "attributes": """"><b onmouseover="owned()">'`=javascript:owned()""",
    "templates": "{{constructor.constructor('owned()')()}}${owned()}<%= owned() %>#{1}",
    "entities": "&lt;b&gt; &amp;amp; &#0; &nbsp;",
    "line breaks": "one\ntwo\r\nthree\rfour\u2028five\u2029six" + "\n" * 200 + "end",
    "spaces": " \u00a0\u3000\t" * 300 + "end",
    "prototype": "__proto__",
    "constructor": "constructor",
    "a frame": "\n\nevent: error\ndata: {}\n\n",
    "nothing visible": "\u200b\u200b",
    "a path": "../../etc/passwd?x=1#y%00",
}
"""Texts that have broken some page."""


@pytest.fixture(scope="module")
def module_server() -> Iterator[PageServer]:
    with PageServer(":memory:", "--jobs", str(ODD_JOBS)) as server:
        yield server


def submitted(server: PageServer, mark: str, text: str, *, fail: bool) -> str:
    """The id of a job that has ended, with `text` in each field that takes it."""
    written = text.encode("unicode_escape").decode("ascii")
    storable = text.encode("utf-8", "replace").decode()
    document = part("document", b"x", None, "Content-Type: text/plain").replace(
        b'name="document"', b"name=\"document\"; filename*=UTF-8''" + quote(storable[:200], safe="").encode()
    )
    body = form(part("input", json.dumps({"text": written, "mark": mark, "fail": fail}).encode()), document)
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    label = "".join(character for character in storable if character.isprintable() or character in "\u202e\u2067")[:100]
    reply = server.request("POST", f"/jobs/odd?label={quote(label)}", body, kind)
    assert reply.status == 202, reply.body
    job_id: str = reply.json["jobId"]
    server.wait_for(job_id)
    return job_id


def as_shown(text: str) -> str:
    """How the page shows a text: overrides are visible, isolates end with it."""
    text = re.sub("[\u202a-\u202e]", "\ufffd", text)
    still_open = 0
    for isolate in re.findall("[\u2066-\u2069]", text):
        still_open = max(0, still_open - 1) if isolate == "\u2069" else still_open + 1
    return text + "\u2069" * still_open


@pytest.fixture
def page(tab: Tab) -> Iterator[Page]:
    """A page of 360 pixels that notices scripts which are not its own."""
    tab.page.add_init_script("window.scriptsRun = 0; window.owned = () => { window.scriptsRun += 1; };")
    tab.page.set_viewport_size({"width": 360, "height": 740})
    yield tab.open()
    assert tab.page.evaluate("window.scriptsRun") == 0
    assert tab.page.locator("main :is(img, script, b[onmouseover], svg[onload])").count() == 0


def test_odd_text_in_every_field_is_shown_as_text_and_breaks_nothing(page: Page, server: PageServer) -> None:
    whole = submitted(server, "whole", "plain", fail=False)
    jobs = {
        name: submitted(server, name, text, fail=number % 2 == 0) for number, (name, text) in enumerate(ODD.items())
    }
    rows = page.locator("#job-list [data-job]")
    expect(rows).to_have_count(len(jobs) + 1)
    rows.evaluate_all("(rows) => { for (const row of rows) row.style.contentVisibility = 'visible'; }")
    assert not scrolls_sideways(page)
    assert all(name.strip("\u200b ") for name in page.locator(".job-name").all_inner_texts()), "each can be clicked"
    assert max(rows.evaluate_all("(rows) => rows.map((row) => row.offsetHeight)")) < 1_000, "none takes the whole list"
    row = page.locator(f"[data-job='{whole}']")
    expect(row.locator(".job-activity")).to_have_text("plain")
    expect(row.locator(".job-line")).to_have_text(re.compile(r"^3 plain · took [\w. ]+$"))
    for name, job_id in jobs.items():
        job = server.job(job_id)
        page.goto(f"{server.url}/#/jobs/{job_id}")
        expect(page.locator("#fact-id-value")).to_have_text(job_id)
        expect(page.locator("#detail-input")).to_contain_text(f'"mark": "{name}"')
        lines = page.locator("#log-lines li")
        expect(lines.nth(1)).to_contain_text("a plain line")
        (first, *_) = server.request("GET", f"/jobs/{job_id}/logs").json["lines"]
        assert lines.first.locator("span").text_content() == as_shown(first["message"]), name
        if job["error"] is None:
            assert page.locator("#detail-activity").text_content() == as_shown(job["message"]), name
            assert json.loads(page.locator("#detail-result").text_content() or "") == job["result"], name
        else:
            assert page.locator("#detail-error-title").text_content() == as_shown(job["error"]["title"]), name
            assert page.locator("#detail-error-text").text_content() == as_shown(job["error"]["detail"]), name
        assert json.loads(page.locator("#detail-input").text_content() or "") == job["input"], name
        assert not scrolls_sideways(page), name


def test_odd_declarations_are_shown_as_text_and_their_fields_are_sent(page: Page, server: PageServer) -> None:
    for radio in page.get_by_role("radio").all():
        if radio.is_enabled():
            radio.check()
        assert not scrolls_sideways(page)
    expect(page.locator("[data-type='odd-reason']")).to_contain_text(BREAKER)
    page.locator("[data-type='odd-form'] input").check()
    expect(page.locator("#form-place")).to_contain_text(BREAKER)
    page.get_by_role("button", name="Fill in a sample").click()
    page.get_by_role("button", name="Start job").click()
    expect(page.locator("#job-list .badge")).to_contain_text("Completed")
    (job,) = server.request("GET", "/jobs").json["jobs"]
    assert server.job(job["jobId"])["input"].items() >= {"__proto__": BREAKER, "constructor": BREAKER}.items()
