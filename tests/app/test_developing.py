"""`headway dev`: a real server whose job files are edited, broken, mended, deleted and replaced."""

import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.developing import HEAD, IN_LOOP, IN_PROCESS, Developing, jobs
from tests.support.process import ServerProcess, alive, descendants, eventually

BOTH = ("in-loop", "in-process")


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Developing]:
    with Developing(tmp_path_factory.mktemp("project")) as server:
        yield server


@pytest.fixture
def server(module_server: Developing, request: pytest.FixtureRequest) -> Developing:
    """One server for all tests; each begins with files of its own."""
    for file in module_server.file.parent.glob("*.py"):
        if file != module_server.file:
            file.unlink()
    assert module_server.write(jobs(f"before {request.node.name}"))["failure"] is None
    return module_server


def test_jobs_that_begin_after_an_edit_run_the_new_code_and_running_ones_finish_with_the_old(
    server: Developing, tmp_path: Path
) -> None:
    server.write(jobs("old"))
    held = [server.hold(job_type, tmp_path / job_type) for job_type in BOTH]
    assert server.write(jobs("new"))["failure"] is None
    assert [server.result(job_type) for job_type in BOTH] == ["new", "new"]
    for job_type, job_id in zip(BOTH, held, strict=True):
        (tmp_path / job_type).touch()
        assert server.wait_for(job_id)["result"] == "old"


def test_a_running_job_finishes_with_the_old_code_over_several_reloads_and_the_removal_of_its_type(
    server: Developing, tmp_path: Path
) -> None:
    held = [server.hold(job_type, tmp_path / job_type) for job_type in BOTH]
    begun_with = server.job(held[0])["type"]
    server.write(jobs("second"))
    server.write(f"{HEAD}WORD = 'third'\n" + IN_LOOP.replace('"in-loop"', '"other"'))
    assert server.names() == ["other"]
    for job_type, job_id in zip(BOTH, held, strict=True):
        (tmp_path / job_type).touch()
        assert server.wait_for(job_id)["result"].startswith("before ")
    assert begun_with == "in-loop"


def test_the_processes_of_the_old_code_end_with_its_last_job(server: Developing, tmp_path: Path) -> None:
    server.write(jobs("old"))
    server.hold("in-process", gate := tmp_path / "gate")
    old = eventually(lambda: len(found := _keepers(server)) == 1 and found)  # those before have ended
    server.write(jobs("new"))
    assert server.result("in-process") == "new"
    assert all(map(alive, old))
    gate.touch()
    eventually(lambda: not any(map(alive, old)), "the old keeper lives on")
    assert _keepers(server)


def _keepers(server: Developing) -> list[int]:
    names = {pid: _name(pid) for pid in descendants(server.process.pid)}
    return [pid for pid, name in names.items() if name.startswith("headway-keeper")]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def f(:", r"jobs\.py:1: SyntaxError"),
        ("", "declares no job"),
        ("import nothing_like_this", r"jobs\.py:1: ModuleNotFoundError"),
        ("raise SystemExit(3)", r"jobs\.py:1: SystemExit"),
        (jobs("x") + "\n1 / 0", "ZeroDivisionError"),
        (jobs("x", IN_LOOP, IN_LOOP.replace("def in_loop", "def again")), "declared twice"),
        (jobs("x", IN_LOOP.replace("input: Gate", "input: int")), "pydantic model"),
        (jobs("x", IN_LOOP.replace('"in-loop"', '"in-loop", path="/jobs/x"')), "server's own"),
        (jobs("x", IN_LOOP.replace('"in-loop"', '"in-loop", webhook_url="http://127.0.0.1/"')), "webhook_url"),
    ],
)
def test_of_a_file_that_could_not_be_served_at_a_start_nothing_is_served(
    server: Developing, text: str, reason: str
) -> None:
    server.write(jobs("good"))
    assert re.search(reason, server.write(text)["failure"]["reason"])
    assert server.names() == list(BOTH)
    assert [server.result(job_type) for job_type in BOTH] == ["good", "good"]
    assert server.write(jobs("mended"))["failure"] is None
    assert [server.result(job_type) for job_type in BOTH] == ["mended", "mended"]


def test_a_broken_file_is_shown_with_its_traceback_and_the_framework_s_frames_folded(server: Developing) -> None:
    server.file.with_name("helper.py").write_text("def word():\n    return 1 / 0\n")
    failure = server.write(f"import helper\n{jobs('x')}\nhelper.word()\n")["failure"]
    assert "helper.py:2: ZeroDivisionError: division by zero" in failure["reason"]
    assert "return 1 / 0" in failure["traceback"]
    assert "helper.word()" in failure["traceback"]
    assert "loading.py" not in failure["traceback"]
    log = server.log().rpartition("not reloaded, the earlier code goes on")[2]
    assert "helper.py:2: ZeroDivisionError" in log
    assert "return 1 / 0" in log
    # Mended where it was broken, in another file than the one that was given.
    assert server.write("def word():\n    return 1\n", "helper.py")["failure"] is None
    assert server.result("in-loop") == "x"


def test_a_deleted_file_is_missed_until_it_is_back(server: Developing) -> None:
    text = server.file.read_text()
    assert "there is no job module at" in server.after(server.file.unlink)["failure"]["reason"]
    assert server.result("in-process").startswith("before ")
    assert server.write(text)["failure"] is None
    assert server.result("in-process").startswith("before ")


def test_an_editor_that_replaces_the_file_is_noticed_each_time(server: Developing) -> None:
    for word in ("one", "two"):
        new = server.file.with_name(".jobs.py.tmp")
        new.write_text(jobs(word))
        server.after(partial(new.replace, server.file))
        assert server.result("in-loop") == word
    backup = server.file.with_name("jobs.py~")  # vim: the file is renamed, then written under its name
    server.file.replace(backup)
    server.file.write_text(jobs("three"))
    eventually(lambda: server.result("in-loop") == "three")


def test_helpers_are_reloaded_and_the_types_that_use_them_are_named(server: Developing) -> None:
    server.file.with_name("helper.py").write_text("WORD = 'one'\ndef word():\n    return WORD\n")
    uses = IN_PROCESS.replace("return WORD", "return helper.word()")
    server.write(f"import helper\n{jobs('x', IN_LOOP, uses)}")
    assert server.result("in-process") == "one"
    server.write("WORD = 'two'\ndef word():\n    return WORD\n", "helper.py")
    assert (server.result("in-loop"), server.result("in-process")) == ("x", "two")
    assert re.search(r"changed=in-process files=\S*helper\.py", _last_reload(server))


def test_the_log_has_a_line_for_each_reload_with_the_types_that_came_changed_and_went(server: Developing) -> None:
    server.write(jobs("x"))
    server.write(jobs("x", IN_LOOP.replace("0.01", "0.02"), IN_LOOP.replace("in-loop", "new").replace("in_loop", "n")))
    line = _last_reload(server)
    assert re.search(r"added=new changed=in-loop files=\S*jobs\.py removed=in-process", line)


def _last_reload(server: Developing) -> str:
    line: str = eventually(lambda: [line for line in server.log().splitlines() if " reloaded " in line])[-1]
    return line


def test_openapi_and_the_list_of_types_show_what_is_served(server: Developing) -> None:
    server.request("GET", "/openapi.json")
    with_path = IN_LOOP.replace('"in-loop"', '"report", path="/reports"').replace("in_loop", "report")
    server.write(jobs("x", with_path))
    assert server.names() == ["report"]
    paths = server.request("GET", "/openapi.json").json["paths"]
    assert {"/reports", "/jobs/report"} <= paths.keys()
    assert "/jobs/in-loop" not in paths
    job_id = server.request("POST", "/reports", {}).json["jobId"]
    server.wait_for(job_id)
    assert server.request("GET", f"/reports/{job_id}").json == "x"
    assert server.request("DELETE", "/reports").status == 405
    assert server.request("POST", "/jobs/in-loop", {}).status == 404
    server.write(jobs("x"))
    assert server.request("GET", "/reports").status == 404


def test_jobs_of_a_type_that_is_gone_wait_until_it_is_back(server: Developing) -> None:
    later = server.submit("in-loop", query="?runAt=2099-01-01T00:00:00Z")
    server.write(jobs("x", IN_PROCESS))
    server.request("PATCH", f"/jobs/{later}", {"runAt": "2020-01-01T00:00:00Z"})
    assert server.result("in-process") == "x"  # claimed after the other one was due
    assert server.job(later)["status"] == "queued"
    server.write(jobs("back"))
    assert server.wait_for(later)["result"] == "back"


def test_a_queued_job_runs_with_the_code_of_when_it_begins(server: Developing, tmp_path: Path) -> None:
    one_at_once = IN_PROCESS.replace('"in-process"', '"in-process", concurrency=1')
    server.write(jobs("old", one_at_once))
    running = server.hold("in-process", gate := tmp_path / "gate")
    queued = server.submit("in-process")
    server.write(jobs("new", one_at_once))
    gate.touch()
    assert server.wait_for(running)["result"] == "old"
    assert server.wait_for(queued)["result"] == "new"


def test_a_handler_may_become_another_kind(server: Developing) -> None:
    server.write(jobs("x", IN_PROCESS))
    assert server.result("in-process") == "x"
    server.write(jobs("y", IN_LOOP.replace('"in-loop"', '"in-process"')))
    assert server.result("in-process") == "y"
    server.write(jobs("z", IN_PROCESS))
    assert server.result("in-process") == "z"


def test_a_kept_process_is_not_kept_beyond_its_code(server: Developing, tmp_path: Path) -> None:
    kept = IN_PROCESS.replace('"in-process"', '"in-process", keep_process=True')
    for word in ("one", "two"):
        server.write(jobs(word, kept))
        assert [server.result("in-process") for _ in range(2)] == [word, word]
    running = server.hold("in-process", gate := tmp_path / "gate")
    server.write(jobs("three", kept))
    gate.touch()
    assert server.wait_for(running)["result"] == "two"
    assert [server.result("in-process") for _ in range(2)] == ["three", "three"]


def test_an_edit_within_a_second_that_leaves_the_length_as_it_was_is_noticed(server: Developing) -> None:
    for word in ("one", "two"):
        new = server.file.with_name("new")
        new.write_text(jobs(word))
        os.utime(new, (1_700_000_000, 1_700_000_000))  # Python tells compiled files apart by second and length
        server.after(partial(new.replace, server.file))
        assert [server.result(job_type) for job_type in BOTH] == [word, word]


def test_a_file_that_is_edited_while_its_processes_are_made_ready_is_not_served_as_it_was(
    server: Developing, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    waits = f"""
if Path("/proc/self/comm").read_text().startswith("headway-keeper"):
    Path("{gate}.begun").touch()
    while not Path("{gate}").exists():
        time.sleep(0.01)
"""
    server.file.write_text(jobs("skipped") + waits)
    eventually(Path(f"{gate}.begun").exists)
    server.file.write_text("1 / 0\n")
    assert server.after(gate.touch)["failure"] is not None
    assert all(server.result(job_type).startswith("before ") for job_type in BOTH)


def test_the_last_of_twenty_edits_in_a_burst_is_served_and_every_job_meanwhile_completes(server: Developing) -> None:
    submitted = []
    for edit in range(20):
        broken = "\n1 /" if edit % 5 == 3 else ""
        server.file.write_text(jobs(f"edit {edit:02}") + broken)  # all of one length: by it they cannot be told apart
        submitted += [server.submit(job_type) for job_type in BOTH]
    for job_type in BOTH:
        eventually(lambda job_type=job_type: server.result(job_type) == "edit 19")
    assert server.reload["failure"] is None
    for job_id in submitted:
        job = server.wait_for(job_id)
        assert job["status"] == "completed", job
        assert job["result"].startswith(("edit ", "before "))


def test_a_module_that_starts_a_thread_when_it_is_imported_is_reloaded(server: Developing) -> None:
    starts = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    for word in ("one", "two"):
        assert server.write(starts + jobs(word))["failure"] is None
        assert [server.result(job_type) for job_type in BOTH] == [word, word]


def test_a_dependency_is_set_up_anew_for_the_new_code_and_the_former_one_is_cleaned_up(
    server: Developing, tmp_path: Path
) -> None:
    source = f"""
from typing import Annotated
from headway import Depends
{HEAD}
async def word():
    yield WORD
    Path(GONE).write_text(WORD)

@job("depends")
async def depends(ctx: Context, input: Gate, word: Annotated[str, Depends(word)]) -> str:
    return word
"""
    gone = tmp_path / "gone"
    for word in ("one", "two"):
        server.write(f"WORD, GONE = {word!r}, {str(gone)!r}\n{source}")
        assert server.result("depends") == word
    eventually(lambda: gone.exists() and gone.read_text() == "one", "the former one was not cleaned up")


def test_a_package_and_a_file_that_describes_a_type_are_reloaded(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from . import tasks\n")
    (package / "tasks.py").write_text(jobs("one"))
    described = tmp_path / "thumb.json"
    shutil.copy(Path(__file__).parents[1] / "job_types" / "make-thumbnail.json", described)
    with Developing(tmp_path, "--jobs", str(described), jobs=package) as server:
        server.after(lambda: (package / "tasks.py").write_text(jobs("two")))
        assert server.result("in-process") == "two"
        title = server.request("GET", "/job-types").json["jobTypes"][-1]["title"]
        server.after(lambda: described.write_text(described.read_text().replace(title, "Another title")))
        assert server.request("GET", "/job-types").json["jobTypes"][-1]["title"] == "Another title"


def test_a_server_that_is_not_for_development_has_none_of_it(shared_server: ServerProcess) -> None:
    assert shared_server.request("GET", "/job-types/reload").status == 404
    assert b"dev.js" not in shared_server.request("GET", "/").body
