"""What commands print of a record that holds odd text, put there by hand."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.keys import keys, make_key
from tests.support.process import run_command

ODD = {
    "a color": ("a\x1b[31mb", "ab"),
    "a title of the window": ("a\x1b]0;owned\x07b", "ab"),
    "a line of its own": ("a\nb", "a b"),
    "NUL": ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
    "C1": ("a\x85b", "a\N{REPLACEMENT CHARACTER}b"),
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
