"""`Settings`: what an operator may set."""

import pytest
from headway.settings import Settings
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("https://example.com", "https://example.com"),
        ("https://example.com/", "https://example.com"),
        ("http://[::1]:8080/a/b//", "http://[::1]:8080/a/b"),
        ("https://xn--bcher-kva.example/%C3%A4", "https://xn--bcher-kva.example/%C3%A4"),
    ],
)
def test_a_public_url_is_kept_without_slashes_at_its_end(given: str, kept: str) -> None:
    assert Settings(public_url=given).public_url == kept


@pytest.mark.parametrize(
    "given",
    [
        "example.com", "/prefix", "ftp://example.com", "https://", "https:///path", "https://example.com?a=1",
        "https://example.com/#top", "https://user:secret@example.com", "https://exa mple.com", "https://bücher.example",
        "https://example.com/\r\nX-Injected: yes", "https://example.com/>", "https://example.com/a\n",
    ],
)  # fmt: skip
def test_what_is_no_public_url_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="must be like https"):
        Settings(public_url=given)


def test_a_list_in_the_environment_is_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_WEBHOOK_ALLOW", "10.0.0.0/8, [fd00::1]:8080,")
    assert Settings().webhook_allow == ("10.0.0.0/8", "[fd00::1]:8080")
