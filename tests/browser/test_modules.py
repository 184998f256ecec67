"""The page's modules on their own, in the browser: text, versions, schemas."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.tab import PageServer

NOW = "2026-03-01T12:00:00.000Z"

BLANK: dict[str, Any] = dict.fromkeys(
    ("progress", "done", "total", "unit", "message", "step", "ratePerSecond", "etaSeconds", "queuePosition",
     "startedAt", "completedAt", "expiresAt", "error")
)  # fmt: skip
JOB: dict[str, Any] = BLANK | {
    "jobId": "a", "status": "running", "attempt": 1, "maxAttempts": 3, "cancelRequested": False, "version": 1,
    "createdAt": NOW, "runAt": NOW, "updatedAt": NOW, "label": None, "files": [], "filesTotal": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def page(chromium: Browser, module_server: PageServer) -> Iterator[Page]:
    page = chromium.new_page()
    page.goto(module_server.url)
    yield page
    page.close()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"done": 420, "total": 1000, "unit": "rows", "ratePerSecond": 38.2, "etaSeconds": 15, "progress": 42},
         "420/1,000 rows · 38/s · about 15 s left"),
        ({"done": 1_234_567, "total": 9_000_000, "unit": "bytes", "ratePerSecond": 500_000, "progress": 13.7},
         "1.2 MB of 9 MB · 500 kB/s"),
        ({"done": 17, "unit": "pages"}, "17 pages"),
        ({"etaSeconds": 42}, "usually takes about 40 s"),
        ({"status": "queued", "attempt": 0, "queuePosition": 1}, "next in the queue"),
        ({"status": "queued", "attempt": 0, "queuePosition": 1200}, "position 1,200 in the queue"),
        ({"status": "queued", "attempt": 1, "runAt": "2026-03-01T12:00:12.000Z"}, "attempt 2 of 3 in 12 s"),
        ({"status": "completed", "done": 5, "total": 5, "unit": "rows", "startedAt": NOW,
          "completedAt": "2026-03-01T12:01:05.000Z"}, "5 rows · took 1 min 5 s"),
        ({"status": "failed", "done": 2, "total": 5, "startedAt": NOW, "completedAt": "2026-03-01T12:00:02.500Z"},
         "2/5 · failed after 2.5 s"),
    ],
)  # fmt: skip
def test_the_line_below_a_bar_describes_the_progress(page: Page, changes: dict[str, Any], line: str) -> None:
    text = page.evaluate(
        "([job, now]) => import('/static/format.js').then((m) => m.progressLine(job, Date.parse(now)))",
        [JOB | changes, NOW],
    )
    assert text == line


@pytest.mark.parametrize(("silent_s", "line"), [(3, ""), (18, "no update for 18 s"), (150, "no update for 2 min 30 s")])
def test_a_running_job_without_updates_is_marked(page: Page, silent_s: int, line: str) -> None:
    script = """([job, silentS]) => import('/static/format.js').then(
      ({ silenceLine }) => silenceLine(job, Date.parse(job.updatedAt) + silentS * 1000))"""
    assert page.evaluate(script, [JOB, silent_s]) == line
    assert page.evaluate(script, [JOB | {"status": "completed"}, silent_s]) == ""


def kept(page: Page, *states: dict[str, Any]) -> dict[str, Any]:
    """What the store holds after accepting these states, each a change of JOB."""
    held: dict[str, Any] = page.evaluate(
        """(states) => import('/static/store.js').then(({ JobStore }) => {
          const store = new JobStore();
          for (const state of states) store.accept(state);
          return store.get('a');
        })""",
        [JOB | state for state in states],
    )
    return held


def test_a_state_that_is_not_newer_is_ignored(page: Page) -> None:
    assert kept(page, {"version": 5, "message": "new"}, {"version": 4, "message": "old"})["message"] == "new"
    assert kept(page, {"version": 5, "message": "new"}, {"version": 5, "message": "same"})["message"] == "new"


def test_the_queue_position_changes_without_a_new_version(page: Page) -> None:
    queued = {"status": "queued", "version": 1}
    assert kept(page, queued | {"queuePosition": 7}, queued | {"queuePosition": 3})["queuePosition"] == 3


def test_a_bar_moves_back_only_with_a_new_attempt(page: Page) -> None:
    assert kept(page, {"version": 1, "progress": 45.9}, {"version": 2, "progress": 45.0})["progress"] == 45.9
    assert kept(page, {"version": 1, "progress": 45.9}, {"version": 2, "progress": None})["progress"] == 45.9
    again = {"version": 2, "progress": None, "attempt": 2}
    assert kept(page, {"version": 1, "progress": 45.9}, again)["progress"] is None


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"$ref": "#/$defs/Colour"}, "enum"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer"),
        ({"allOf": [{"$ref": "#/$defs/Place"}], "title": "Where"}, "object"),
        ({"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]}, "object"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "json"),
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "binary"}, "file"),
        ({"const": 3}, "const"),
        ({"type": "array", "items": {"type": "string"}}, "json"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "json"),
    ],
)
def test_each_kind_of_schema_gets_its_control(page: Page, schema: dict[str, Any], kind: str) -> None:
    root = {
        "$defs": {
            "Colour": {"enum": ["red"], "type": "string"},
            "Place": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
    }
    assert (
        page.evaluate(
            "([schema, root]) => import('/static/schema.js').then((m) => m.kindOf(m.resolve(schema, root).schema))",
            [schema, root],
        )
        == kind
    )


@pytest.mark.parametrize(
    ("result_url", "leads_to"),
    [
        (None, None),
        ("/jobs/a/result", None),
        ("https://example.com/headway/jobs/a/result", None),
        ("/api/todos/1", "PAGE/api/todos/1"),
        ("/javascript:alert(1)", "PAGE/javascript:alert(1)"),
        ("https://example.com/maps/7?zoom=3", "https://example.com/maps/7?zoom=3"),
    ],
)
def test_a_result_on_another_server_is_distinguished_from_the_jobs_own(
    page: Page, module_server: PageServer, result_url: str | None, leads_to: str | None
) -> None:
    script = "(job) => import('/static/api.js').then((m) => m.resourceUrl(job)?.href ?? null)"
    expected = leads_to and leads_to.replace("PAGE", module_server.url)
    assert page.evaluate(script, JOB | {"resultUrl": result_url}) == expected
