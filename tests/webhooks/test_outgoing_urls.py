"""`check_url` and `retry_after_s`: the URL of an outgoing request, and the `Retry-After` of its response."""

from datetime import UTC, datetime

import pytest
from headway.domain.addresses import AllowList
from headway.domain.urls import check_url
from headway.errors import UrlRefusedError
from headway.webhooks.outgoing import retry_after_s
from hypothesis import given
from hypothesis import strategies as st

NOTHING = AllowList()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://hooks.example", "https://hooks.example"),
        ("HTTPS://Hooks.Example:443/A?b=C", "https://hooks.example/A?b=C"),
        ("http://hooks.example:8080/", "http://hooks.example:8080/"),
        ("http://hooks.example./a", "http://hooks.example./a"),
        ("http://my_hooks.example/", "http://my_hooks.example/"),
        ("https://hooks.example/a#top", "https://hooks.example/a"),
        ("https://hooks.example/a@b?c=d@e", "https://hooks.example/a@b?c=d@e"),
        ("https://hooks.example/?next=http://127.0.0.1/", "https://hooks.example/?next=http://127.0.0.1/"),
        ("https://b\u00fccher.example/\u00e4", "https://xn--bcher-kva.example/%C3%A4"),
        ("https://localhost.example/", "https://localhost.example/"),
        ("https://notlocalhost/", "https://notlocalhost/"),
        ("https://1password.example/", "https://1password.example/"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2001:4860:4860:0::8888]/", "https://[2001:4860:4860::8888]/"),
    ],
)
def test_a_plain_url_is_kept_in_its_normal_form(given: str, kept: str) -> None:
    assert check_url(given, NOTHING) == kept
    assert check_url(kept, NOTHING) == kept


@pytest.mark.parametrize(
    "url",
    [
        "http://10.1.2.3:8080/",
        "http://[fd00::1]/",
        "http://127.0.0.1:9/",
        "http://localhost:9/",
        "http://a.localhost:9/",
    ],
)
def test_urls_that_the_operator_allows_are_accepted(url: str) -> None:
    allowed = AllowList(["10.1.2.3:8080", "fd00::/8", "127.0.0.1:9"])
    assert check_url(url, allowed) == url
    with pytest.raises(UrlRefusedError):
        check_url(url.replace(":8080", "").replace(":9", ":10").replace("fd00", "fc00"), allowed)


@given(st.text() | st.from_regex(r"https?://[\[\]:.%@0-9a-fx]{1,30}(:[0-9]+)?/.*", fullmatch=True))
def test_every_url_is_rejected_or_kept_unchanged(url: str) -> None:
    try:
        checked = check_url(url, NOTHING)
    except UrlRefusedError:
        return
    assert check_url(checked, NOTHING) == checked
    assert checked.isascii()


NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("86401", 86_400.0),
        ("9" * 8_000, 86_400.0),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("soon", None),
        ("Sat, 21 Nov 2026 12:01:30 GMT", 90.0),
        ("Saturday, 21-Nov-26 12:01:30 GMT", 90.0),
        ("Sat Nov 21 12:01:30 2026", 90.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2099 11:00:00 GMT", 86_400.0),
        ("Sat, 32 Nov 2026 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_is_an_error(value: str) -> None:
    seconds = retry_after_s(value, NOW)
    assert seconds is None or 0 <= seconds <= 86_400


@pytest.mark.parametrize("url", ["http://xn--/", "https://xn--.example/hook", "http://a.xn--/"])
def test_a_label_that_no_name_is_encoded_as_is_refused(url: str) -> None:
    with pytest.raises(UrlRefusedError, match="cannot be read"):
        check_url(url, NOTHING)
