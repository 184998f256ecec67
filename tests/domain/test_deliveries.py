"""The schedule of deliveries, verdicts on answers, and secrets."""

import base64
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import headway.backends.sqlite
import pytest
from headway.backends.sqlite.rows import DELIVERY_COLUMNS
from headway.domain.deliveries import (
    DEFAULT_EVENTS,
    Delivered,
    Delivery,
    DeliveryStatus,
    GivenUp,
    Schedule,
    SigningSecret,
    TryAgain,
    Webhook,
    WebhookEvent,
    judge_answer,
    judge_silence,
    new_secret,
)
from headway.domain.jobs import EVENT_OF, Status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEDULE = Schedule()
HOUR_S = 3600


def delivery(tries: int = 1, event: WebhookEvent = WebhookEvent.COMPLETED) -> Delivery:
    return Delivery(
        id="d",
        job_id="j",
        owner="local",
        event=event,
        url="https://receiver.example/",
        host="receiver.example",
        status=DeliveryStatus.PENDING,
        attempts=tries + 5,
        tries=tries,
        created_at=NOW,
        next_attempt_at=None,
        last_attempt_at=NOW,
        delivered_at=None,
        last_status=None,
        last_error=None,
    )


def delay_s(tries: int, jitter: float = 0.0, retry_after_s: float | None = None) -> float | None:
    again_at = SCHEDULE.next_attempt(delivery(tries), NOW, jitter, retry_after_s)
    return None if again_at is None else (again_at - NOW).total_seconds()


def test_the_schedule_is_that_of_the_specification() -> None:
    hours = (2, 5, 10, 14, 20, 24)
    expected = [5, 5 * 60, 30 * 60, *(each * HOUR_S for each in hours), None, None]
    assert [delay_s(tries) for tries in range(1, 12)] == expected


def test_jitter_extends_a_delay_by_a_tenth_at_most() -> None:
    assert [delay_s(2, jitter) for jitter in (0.0, 0.5, 1.0)] == [300, 315, 330]


@pytest.mark.parametrize(
    ("retry_after_s", "expected"), [(None, 5), (0.0, 5), (3.0, 5), (120.0, 120), (1e9, 24 * HOUR_S)]
)
def test_a_retry_after_postpones_an_attempt_by_a_day_at_most(retry_after_s: float | None, expected: float) -> None:
    assert delay_s(1, 0.0, retry_after_s) == expected


def test_a_retry_after_adds_no_attempt() -> None:
    assert delay_s(10, 0.0, 60.0) is None


def test_progress_is_attempted_twice() -> None:
    again_at = SCHEDULE.next_attempt(delivery(1, WebhookEvent.PROGRESS), NOW, 0.0)
    assert again_at == NOW + timedelta(seconds=10)
    assert SCHEDULE.next_attempt(delivery(2, WebhookEvent.PROGRESS), NOW, 0.0) is None


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    assert judge_answer(delivery(), status, None, NOW, SCHEDULE, 0.0) == Delivered(status)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 404, 429, 500, 502, 503, 504])
def test_every_other_status_is_retried(status: int) -> None:
    verdict = judge_answer(delivery(), status, None, NOW, SCHEDULE, 0.0)
    assert verdict == TryAgain(NOW + timedelta(seconds=5), f"The receiver answered {status}.", status)


def test_a_410_is_gone_for_good() -> None:
    verdict = judge_answer(delivery(), 410, None, NOW, SCHEDULE, 0.0)
    assert verdict == GivenUp("The receiver answered 410.", 410, gone=True)


@pytest.mark.parametrize(("status", "delay"), [(429, 60), (503, 60), (500, 5), (301, 5)])
def test_retry_after_is_honoured_for_429_and_503_only(status: int, delay: int) -> None:
    verdict = judge_answer(delivery(), status, 60.0, NOW, SCHEDULE, 0.0)
    assert isinstance(verdict, TryAgain)
    assert verdict.at == NOW + timedelta(seconds=delay)


def test_a_delivery_is_given_up_after_the_last_attempt() -> None:
    assert judge_answer(delivery(10), 500, None, NOW, SCHEDULE, 0.0) == GivenUp("The receiver answered 500.", 500)
    assert judge_silence(delivery(10), "no answer", NOW, SCHEDULE, 0.0) == GivenUp("no answer")
    assert judge_silence(delivery(9), "no answer", NOW, SCHEDULE, 0.0) == TryAgain(NOW + timedelta(days=1), "no answer")


def test_a_secret_is_256_random_bits_in_the_specifications_encoding() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    prefix, _, encoded = first.partition("_")
    assert prefix == "whsec"
    assert len(base64.b64decode(encoded, validate=True)) == 32
    assert first not in f"{SigningSecret(first, NOW, None)!r} {SigningSecret(first, NOW, None)}"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://receiver.example/path?token=1", "receiver.example"),
        ("http://receiver.example:8080", "receiver.example:8080"),
        ("http://[2001:4860::1]:81/", "[2001:4860::1]:81"),
        ("https://user:word@receiver.example/", "receiver.example"),
    ],
)
def test_a_webhooks_host_holds_nothing_secret(url: str, host: str) -> None:
    assert Webhook(url).host == host


def test_every_announced_state_has_its_event() -> None:
    assert EVENT_OF.keys() == set(Status) - {Status.QUEUED}
    assert set(EVENT_OF.values()) == set(WebhookEvent) - {WebhookEvent.PROGRESS} == DEFAULT_EVENTS


def test_the_schema_has_the_same_states_and_columns() -> None:
    script = (Path(headway.backends.sqlite.__path__[0]) / "schema" / "0007.sql").read_text("utf-8")
    (check,) = re.findall(r"CHECK \(status IN \(([^)]*)\)\)", script)
    assert re.findall(r"'(\w+)'", check) == list(DeliveryStatus)
    table = script.partition("CREATE TABLE deliveries (")[2].partition(") STRICT")[0]
    columns = re.findall(r"^    (\w+)", table, re.MULTILINE)
    assert sorted([*DELIVERY_COLUMNS.split(", "), "body"]) == sorted(set(columns) - {"CHECK"})
