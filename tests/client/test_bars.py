"""Jobs as bars: in a notebook that is run as a program runs it, and by rich and tqdm."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from headway.client import JobState
from headway.client.bars import bar_of, bundle, words
from nbclient import NotebookClient

from tests.client.twins import KINDS, Opening
from tests.support.process import eventually

BLOCKING = """
from headway.client import Client
client = Client({url!r})
job = client.submit("two-lines", {{"gate": {gate!r}}}, label="<i>night</i>")
"""
CELLS = {
    "blocking": [BLOCKING, "job", "job.result()", "client.close()"],
    "asyncio": [
        BLOCKING.replace("Client", "AsyncClient").replace("client.submit", "await client.submit"),
        "job",
        "await job.result()",
        "await client.close()",
    ],
}
"""The second cell shows the job, the third waits for it."""


def shown(cell: Any) -> list[str]:
    return [output["data"]["text/html"] for output in cell.outputs if output.output_type == "display_data"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_notebook_shows_a_job_as_a_bar_that_moves_to_its_end(url: str, tmp_path: Path, kind: str) -> None:
    gate = tmp_path / "gate"
    cells = [nbformat.v4.new_code_cell(cell.format(url=url, gate=str(gate))) for cell in CELLS[kind]]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    runner = NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": tmp_path}})
    running = asyncio.create_task(runner.async_execute())
    try:
        await asyncio.to_thread(eventually, lambda: running.done() or "10 %" in "".join(shown(cells[1])))
    finally:
        gate.touch()
        await running
    (bar,) = shown(cells[1])
    assert 'value="100"' in bar
    assert "completed" in bar
    assert "&lt;i&gt;night" in bar
    assert cells[2].outputs[0]["data"]["text/plain"] == "'done'"


def state(**fields: Any) -> JobState:
    return JobState({"jobId": "x", "type": "resize", "label": None, "status": "running", "version": 1, **fields})


def test_words_say_what_is_known() -> None:
    assert words(state(status="queued")) == "queued"
    running = state(progress=42.0, done=420, total=1000, unit="rows", step="adding", message="March", etaSeconds=12)
    assert words(running) == "42 % · 420/1000 rows · adding · March · 12 s left"
    failed = state(status="failed", error={"type": "x", "title": "No luck", "detail": "<b>", "status": 422})
    assert words(failed) == "failed · No luck: <b>"
    assert "&lt;b&gt;" in bundle(failed)["text/html"]
    assert "value" not in bundle(state())["text/html"]


@pytest.mark.parametrize("bar", ["rich", "tqdm"])
def test_a_bar_is_shown_until_the_end_with_the_log_above_it(
    url: str, opening: Opening, tmp_path: Path, capfd: pytest.CaptureFixture[str], bar: Any
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    job = opening(url).submit("two-lines", {"gate": str(gate)}, label="[red]night")
    assert job.watch(bar).status == "completed"
    written = "".join(capfd.readouterr())
    assert "two-lines · [red]night" in written
    assert "info: second" in written
    assert "completed" in written


def test_another_kind_of_bar_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind of bar"):
        bar_of("gold", state())  # type: ignore[arg-type]


def test_tqdm_is_needed_only_by_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError):
        bar_of("tqdm", state())
