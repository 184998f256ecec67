"""Chromium's own `EventSource`, without anything of ours: it resumes after a cut and closes at the end."""

from pathlib import Path

from playwright.sync_api import Browser

from tests.clients.cut import JOBS, CuttingProxy
from tests.support.process import ServerProcess

READ = """url => new Promise((resolve, reject) => {
  const [source, seen] = [new EventSource(url), []];
  const note = (event) => seen.push({ event: event.type, id: event.lastEventId, data: JSON.parse(event.data) });
  for (const name of ['message', 'log', 'reset']) source.addEventListener(name, note);
  source.onerror = () => source.readyState === EventSource.CLOSED && resolve(seen);
  setTimeout(reject, 45_000, new Error('timed out'));
})"""


def test_chromiums_event_source_reads_a_stream_that_is_cut_to_its_end(chromium: Browser, tmp_path: Path) -> None:
    jobs, gate = tmp_path / "two_lines_jobs.py", tmp_path / "gate"
    jobs.write_text(JOBS, "utf-8")
    context = chromium.new_context()
    with ServerProcess(":memory:", "--jobs", str(jobs)) as server, CuttingProxy(server.port, gate) as proxy:
        job_id = server.submit("two-lines", {"gate": str(gate)})
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{proxy.port}/docs")
        seen = page.evaluate(READ, f"/jobs/{job_id}/progress")
        context.close()
    lines = [each for each in seen if each["event"] == "log"]
    assert [line["data"]["message"] for line in lines] == ["first", "second"]
    states = [each["data"] for each in seen if each["event"] == "message"]
    assert (states[-1]["status"], states[-1]["progress"]) == ("completed", 100)
    assert [state["version"] for state in states] == sorted(state["version"] for state in states)
    assert proxy.cuts >= 1
    assert int(lines[0]["id"]) <= proxy.resumed_at[0] < int(lines[1]["id"])
