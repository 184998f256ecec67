"""What commands print of a record that holds odd text, put there by hand."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.damage import record
from tests.support.keys import keys, make_key
from tests.support.process import RUN, run_command

ODD = {
    "a color": ("a\x1b[31mb", "ab"),
    "a title of the window": ("a\x1b]0;owned\x07b", "ab"),
    "a line of its own": ("a\nb", "a b"),
    "NUL": ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
    "C1": ("a\x85b", "a\N{REPLACEMENT CHARACTER}b"),
    "an override of the direction": ("a\u202eb", "a\\u202eb"),
    "long": ("a" * 100_000, "aaa"),
}
"""A text, and how it is printed or how that begins."""


@pytest.mark.parametrize(("written", "printed"), ODD.values(), ids=list(ODD))
def test_odd_text_in_the_name_and_owner_of_a_key_is_printed_without_harm_to_the_terminal(
    tmp_path: Path, written: str, printed: str
) -> None:
    make_key(tmp_path, "good")
    make_key(tmp_path, "bad")
    with closing(sqlite3.connect(tmp_path / "headway.db")) as connection, connection:
        connection.execute("UPDATE api_keys SET name = ?, owner = ? WHERE name = 'bad'", (written, written))
    for listed in (keys(tmp_path, "list"), run_command("usage", "--data-dir", str(tmp_path))):
        assert listed.returncode == 0, listed.stderr
        assert listed.stdout.replace("\n", "").isprintable()
        assert len(listed.stdout) < 5_000
    _, good, bad = keys(tmp_path, "list").stdout.splitlines()
    assert good.startswith("good")
    assert bad.startswith(printed)


ALL_AT_ONCE = "a\x1b[31mb\x1b]0;owned\x07c\nd\0e\x85f\u202egnitirw\u2067g"
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal might obey; line breaks are the commands' own."""
COMMANDS = [
    *(["doctor"], ["usage"], ["audit"], ["keys", "list"], ["secrets", "show", "--owner", "odd"]),
    *(["keys", "revoke", ALL_AT_ONCE.replace("\0", "")], ["purge", "--older-than", "1d"]),
]


@pytest.fixture(scope="module")
def odd_record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an odd name, of a record with odd text wherever commands print some."""
    folder = tmp_path_factory.mktemp("odd") / "a\x1b[31mb\u202ec\nd"
    make_key(folder, "odd")
    with record(folder) as connection:
        connection.execute("UPDATE api_keys SET name = ?, owner = ?", (ALL_AT_ONCE, ALL_AT_ONCE))
        connection.execute("INSERT INTO counts VALUES (?, '', ?, 'queued', 3, 5)", (ALL_AT_ONCE, ALL_AT_ONCE))
        connection.execute(
            "INSERT INTO webhook_secrets (owner, secret, created_at) VALUES ('odd', ?, 1)", (ALL_AT_ONCE,)
        )
        connection.execute(
            "INSERT INTO audit (seq, at, actor, actor_owner, key_id, address, request_id, action, owner, subject,"
            " job_type, outcome, times) VALUES (2, 1, 'key', ?, ?, ?, ?, 'delete', ?, ?, ?, ?, 1)",
            (ALL_AT_ONCE,) * 8,
        )
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command[:2]) for command in COMMANDS])
def test_no_command_prints_what_a_terminal_obeys(odd_record: Path, command: list[str]) -> None:
    done = run_command(*command, "--data-dir", str(odd_record))
    assert done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not OBEYED.search(done.stdout + done.stderr), done.stdout + done.stderr


def test_an_argument_that_is_no_text_is_refused(odd_record: Path, tmp_path: Path) -> None:
    target = tmp_path / os.fsdecode(b"a\xffb\x1b[31m")
    done = run_command("backup", str(target), "--data-dir", str(odd_record))
    assert done.returncode == 2
    assert done.stderr.endswith("a\N{REPLACEMENT CHARACTER}b: an argument must be UTF-8\n")
    assert not target.exists()


def in_a_terminal(*arguments: str) -> str:
    """What a command writes to a terminal, its errors too."""
    ours, theirs = os.openpty()
    command = [sys.executable, str(RUN), *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        with suppress(OSError):  # the other end is closed
            while piece := os.read(ours, 65_536):
                written += piece
        process.wait()
    os.close(ours)
    return written.decode()


def test_in_a_terminal_the_same_is_printed(odd_record: Path) -> None:
    listed = in_a_terminal("keys", "list", "--data-dir", str(odd_record)).replace("\r\n", "\n")
    assert listed == keys(odd_record, "list").stdout
    assert "\\u202egnitirw\\u2067g" in listed


def test_json_holds_the_text_as_it_is_stored(odd_record: Path) -> None:
    done = run_command("audit", "--json", "--data-dir", str(odd_record))
    assert done.stdout.isascii()
    odd = next(entry for entry in map(json.loads, done.stdout.splitlines()) if entry["actor"] == "key")
    assert {odd[name] for name in ("actorOwner", "address", "owner", "subject", "jobType")} == {ALL_AT_ONCE}
