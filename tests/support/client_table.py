"""The table of stock clients in the HTTP guide: a test has run each of them, in that version."""

from tests.support.process import ROOT

GUIDE = ROOT / "docs" / "http.md"


def assert_in_the_table(client: str, version: str) -> None:
    """Call this after the client did what its row says."""
    rows = [line.split("|") for line in GUIDE.read_text("utf-8").splitlines() if line.startswith(f"| {client} |")]
    assert [row[2].strip() for row in rows] == [version]
