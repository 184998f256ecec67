"""The commands for jobs, in a pipe: what they print, and their exit statuses."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.commands import NO_SERVER, Shell
from tests.support.keys import make_key
from tests.support.process import ServerProcess
from tests.support.serving import LATER as A_LATER_TIME
from tests.support.serving import UNKNOWN, ended

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
LATER = ("--run-at", "2099-01-01T00:00:00Z")

COMPLETED, FAILED, USAGE, CANCELLED, UNREACHABLE, NOT_ALLOWED = range(6)


# Submitting


def test_submitting_prints_the_id_alone_and_the_input_is_read_by_the_schema(shell: Shell) -> None:
    job_id = shell.printed("submit", "echo", "text=7", "number=7", "tags=a", "tags=b", "size.width=640")
    state = json.loads(shell.printed("show", "--json", job_id))
    assert state["input"] == {"text": "7", "number": 7, "tags": ["a", "b"], "size": {"width": 640}}


def test_each_json_document_on_stdin_is_a_job_and_arguments_are_added_to_each(shell: Shell) -> None:
    sent = '{"text": "one"}\n{"text": "two",\n "number": 1}\n{}'
    ids = shell.printed("submit", "echo", "-", "number=2", "--label", "many", stdin=sent).split()
    inputs = [json.loads(line)["input"] for line in shell.printed("show", "--json", *ids).splitlines()]
    assert inputs == [{"text": "one", "number": 2}, {"text": "two", "number": 2}, {"number": 2}]


def test_a_file_is_sent_from_its_path_and_from_stdin(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_bytes(b"four")
    ids = [
        shell.printed("submit", "count-bytes", "--file", f"document={path}"),
        shell.printed("submit", "count-bytes", "--file", "document=-", stdin=b"\x00\xff five"),
    ]
    shell("watch", "--quiet", *ids)
    results = [json.loads(line)["result"] for line in shell.printed("show", "--json", *ids).splitlines()]
    assert results == [["letter.txt", 4], ["document", 7]]


def test_options_of_a_submission_arrive(shell: Shell) -> None:
    options = ("--label", "mine", "--priority", "3", "--metadata", "team=blue", "--timeout", "15m", *LATER)
    state = json.loads(shell.printed("submit", "echo", *options, "--json"))
    assert (state["label"], state["metadata"], state["runAt"]) == ("mine", {"team": "blue"}, "2099-01-01T00:00:00.000Z")
    again = [shell.printed("submit", "echo", "text=x", "--idempotency-key", "k") for _ in range(2)]
    assert again[0] == again[1]


# Reading


def test_list_prints_a_table_ids_or_json(shell: Shell) -> None:
    job_id = shell.printed("submit", "echo", "--label", "listed", *LATER)
    table = shell.printed("list", "--label", "listed").splitlines()
    assert table[0].split() == ["ID", "STATUS", "DONE", "TYPE", "AGE", "LABEL"]
    assert table[1].split()[:3] == [job_id, "queued", "-"]
    assert shell.printed("list", "--label", "listed", "--status", "queued", "--quiet") == job_id
    assert json.loads(shell.printed("list", "--label", "listed", "--json"))["jobId"] == job_id
    assert shell.printed("list", "--label", "listed", "--since", "1h", "--type", "fails") == ""
    assert "There are no such jobs" in shell("list", "--label", "of nobody").stderr


def test_show_says_what_is_known_of_a_job(shell: Shell, jobs_server: ServerProcess) -> None:
    job_id = ended(jobs_server, "fails")
    shown = shell.printed("show", job_id)
    assert re.search(r"^ +status  failed\n +reason  No luck: There is none today\.$", shown, re.MULTILINE)


def test_ids_are_read_from_stdin_and_a_change_goes_on_after_one_that_fails(
    shell: Shell, jobs_server: ServerProcess
) -> None:
    ids = [jobs_server.submit("echo", query=A_LATER_TIME) for _ in range(2)]
    done = shell("cancel", "-", stdin=f"{ids[0]}\n{UNKNOWN}\n{ids[1]}\n")
    assert done.returncode == USAGE
    assert done.stdout.splitlines() == [f"{job_id} was cancelled" for job_id in ids]
    assert done.stderr == f"headway: {UNKNOWN}: Not found: There is no such job.\n"
    assert shell("cancel", "-", stdin="").returncode == USAGE


# Outputs


def test_a_job_s_result_log_and_files_are_printed_and_downloaded(shell: Shell, tmp_path: Path) -> None:
    job_id = shell.printed("submit", "count-bytes", "--file", "document=-", stdin=b"\x00 four")
    assert json.loads(shell.printed("result", "--wait", job_id)) == ["document", 6]
    assert shell.printed("result", job_id, "--output", str(tmp_path / "result.json")) == ""
    assert json.loads((tmp_path / "result.json").read_bytes()) == ["document", 6]
    assert shell.printed("files", job_id).split() == ["6", "B", "copy.txt"]
    assert shell.printed("files", job_id, "--quiet") == "copy.txt"
    assert shell.printed("files", job_id, "--all", "--to", str(tmp_path / "new"), "-q") == ""
    assert (tmp_path / "new" / "copy.txt").read_bytes() == b"\x00 four"
    assert shell("files", job_id, "copy.txt", "--to", "-").stdout == "\x00 four"


def test_a_log_is_followed_to_the_end(shell: Shell, jobs_server: ServerProcess) -> None:
    job_id = jobs_server.submit("steps", {"steps": 3})
    assert [line.split()[-1] for line in shell.printed("logs", "--follow", job_id).splitlines()] == ["0", "1", "2"]
    assert [json.loads(line)["message"] for line in shell.printed("logs", "--json", job_id).splitlines()] == [
        "line 0",
        "line 1",
        "line 2",
    ]


def test_a_job_is_retried_and_deleted(shell: Shell, jobs_server: ServerProcess) -> None:
    job_id = ended(jobs_server, "echo")
    new = shell.printed("retry", job_id, "--quiet")
    assert jobs_server.wait_for(new)["retryOf"] == job_id
    assert shell.printed("delete", job_id) == f"{job_id} was deleted"
    assert jobs_server.request("GET", f"/jobs/{job_id}").status == 404


def test_what_a_server_offers_and_counts_is_printed(shell: Shell, jobs_server: ServerProcess) -> None:
    ended(jobs_server, "echo")
    assert shell.printed("types", "--quiet").split() == ["echo", "two-lines", "fails", "count-bytes", "steps"]
    assert re.search(r"^document +file +required", shell.printed("types", "count-bytes"), re.MULTILINE)
    assert json.loads(shell.printed("types", "echo", "--json"))["name"] == "echo"
    assert int(re.findall(r"^echo +\d+ +\d+ +(\d+)", shell.printed("stats"), re.MULTILINE)[0]) >= 1
    assert json.loads(shell.printed("stats", "--json"))["byType"]["echo"]["completed"] >= 1
    assert shell.printed("open") == f"http://127.0.0.1:{jobs_server.port}/"


def test_a_shell_completes_commands_and_options(shell: Shell) -> None:
    for shell_name in ("bash", "zsh", "fish"):
        assert "_HEADWAY_COMPLETE" in shell.printed("completion", shell_name)
    for words, found in (("headway su", "submit"), ("headway submit --wa", "--watch")):
        typed = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_HEADWAY_COMPLETE": "complete_bash"}
        assert Shell(None, shell.home, **typed).printed().split() == [found]


# Exit statuses


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("submit", "echo"), COMPLETED),
        (("submit", "echo", "--watch"), COMPLETED),
        (("submit", "fails"), COMPLETED),
        (("submit", "fails", "--watch"), FAILED),
        (("submit", "fails", "--watch", "--json"), FAILED),
        (("submit", "fails", "--watch", "--quiet"), FAILED),
        (("submit", "no-such-type"), USAGE),
        (("submit", "echo", "nofield=1"), USAGE),
        (("submit", "echo", "number=x"), USAGE),
        (("submit", "echo", "text"), USAGE),
        (("submit", "two-lines"), USAGE),
        (("submit", "echo", "--file", "document=x"), USAGE),
        (("submit", "count-bytes", "--file", "document=/no/such/file"), USAGE),
        (("submit", "echo", "--run-at", "soon"), USAGE),
        (("submit", "echo", "--metadata", "x"), USAGE),
        (("submit", "echo", "--url", "ftp://x"), USAGE),
        (("submit",), USAGE),
        (("list", "--status", "odd"), USAGE),
        (("list", "--since", "x"), USAGE),
        (("list", "--no-such-option"), USAGE),
        (("show", UNKNOWN), USAGE),
        (("watch", UNKNOWN), USAGE),
        (("cancel", UNKNOWN), USAGE),
        (("no-such-command",), USAGE),
        (("result", UNKNOWN), USAGE),
        (("types", "no-such-type"), USAGE),
        (("completion", "tcsh"), USAGE),
        (("list", "--url", NO_SERVER), UNREACHABLE),
        (("logs", UNKNOWN, "--url", NO_SERVER), UNREACHABLE),
        (("result", UNKNOWN, "--url", NO_SERVER), UNREACHABLE),
        (("files", UNKNOWN, "--url", NO_SERVER), UNREACHABLE),
        (("retry", UNKNOWN, "--url", NO_SERVER), UNREACHABLE),
        (("delete", UNKNOWN, "--url", NO_SERVER), UNREACHABLE),
        (("types", "--url", NO_SERVER), UNREACHABLE),
        (("stats", "--url", NO_SERVER), UNREACHABLE),
        (("open", "--url", NO_SERVER), UNREACHABLE),
        (("submit", "echo", "--url", NO_SERVER), UNREACHABLE),
        (("watch", UNKNOWN, "--url", NO_SERVER), UNREACHABLE),
        (("cancel", UNKNOWN, "--url", NO_SERVER), UNREACHABLE),
        (("show", UNKNOWN, "--url", NO_SERVER), UNREACHABLE),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_the_exit_status(arguments: tuple[str, ...], status: int, shell: Shell) -> None:
    done = shell(*arguments)
    assert done.returncode == status, done
    assert "Traceback" not in done.stderr
    assert not CONTROL.search(done.stdout + done.stderr)
    if status in (USAGE, UNREACHABLE):
        assert done.stdout == ""
        assert done.stderr


def test_a_cancelled_job_has_a_status_of_its_own_and_a_failed_one_beside_it_comes_first(
    shell: Shell, jobs_server: ServerProcess
) -> None:
    cancelled = shell.printed("submit", "echo", *LATER)
    shell("cancel", cancelled)
    failed, completed = (ended(jobs_server, job_type) for job_type in ("fails", "echo"))
    assert [shell("result", each).returncode for each in (cancelled, failed, completed)] == [
        CANCELLED,
        FAILED,
        COMPLETED,
    ]
    assert shell("watch", cancelled).returncode == CANCELLED
    assert shell("watch", cancelled, completed).returncode == CANCELLED
    assert shell("watch", cancelled, completed, failed).returncode == FAILED
    assert shell("cancel", completed).returncode == FAILED, "it has ended: a conflict"


def test_without_a_key_and_with_one_that_only_reads_it_is_not_allowed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    reading, writing = make_key(data, "reader", "--read-only"), make_key(data, "writer")
    with ServerProcess(data, env={"HEADWAY_PUBLIC_URL": "https://jobs.example.com"}) as server:
        url = f"http://127.0.0.1:{server.port}"
        nobody = Shell(url, tmp_path)("list")
        assert (nobody.returncode, nobody.stdout) == (NOT_ALLOWED, "")
        assert "headway login" in nobody.stderr
        reader = Shell(url, tmp_path, HEADWAY_API_KEY=reading)
        assert reader("list").returncode == COMPLETED
        assert reader("submit", "ping").returncode == NOT_ALLOWED
        assert Shell(url, tmp_path, HEADWAY_API_KEY=writing)("submit", "ping", "--watch").returncode == COMPLETED
        _log_in(url, tmp_path, writing)


def _log_in(url: str, home: Path, key: str) -> None:
    shell = Shell(None, home, HEADWAY_URL="")
    assert shell("login", url, stdin="hwk_wrong\n").returncode == NOT_ALLOWED
    logged_in = shell("login", url, stdin=f"{key}\n")
    assert (logged_in.returncode, key in logged_in.stdout + logged_in.stderr) == (COMPLETED, False)
    (kept,) = (home / "config").rglob("logins.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert shell("list").returncode == COMPLETED, "both the URL and the key are the login's"
    assert shell("list", "--url", NO_SERVER).returncode == UNREACHABLE
    assert shell.printed("login", "--forget") == f"{url}: the login was deleted"
    assert key not in kept.read_text()
    assert shell("list", "--url", url).returncode == NOT_ALLOWED


# Finding the server


def test_without_a_url_the_server_of_the_data_directory_is_asked(tmp_path: Path) -> None:
    data = tmp_path / "headway-data"
    shell = Shell(None, tmp_path, HEADWAY_DATA_DIR=str(data), HEADWAY_URL="")
    with ServerProcess(data) as server:
        job_id = shell.printed("submit", "ping")
        assert server.job(job_id)["type"] == "ping"
        server.kill()
        assert (data / "headway.sock").exists()
        assert shell("list", "--url", NO_SERVER).returncode == UNREACHABLE
        server.restart()
