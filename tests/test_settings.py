"""`Settings`: what an operator may set."""

import os

import pytest
from headway.errors import SetupError
from headway.settings import OF_OTHERS, Settings, unknown_variables
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


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("HEADWAY_DATADIR", "HEADWAY_DATA_DIR"),
        ("HEADWAY_JOB", "HEADWAY_JOBS"),
        ("HEADWAY_MODULES", None),
        ("HEADWAY_HTTP_PORT", "HEADWAY_PORT"),
        ("headway_retain", "HEADWAY_RETAIN_S"),
        ("HEADWAY_", None),
    ],
)
def test_a_variable_that_is_no_setting_is_unknown(variable: str, nearest: str | None) -> None:
    assert list(unknown_variables({"HEADWAY_HOST": "::1", "headway_port": "1", variable: "x", "HOME": "/"})) == [
        (variable, nearest)
    ]


@pytest.mark.parametrize(
    "variable",
    [
        *(f"HEADWAY_{name}" for name in sorted(OF_OTHERS)),
        *("HEADWAY_SERVICE_HOST", "HEADWAY_SERVICE_PORT", "HEADWAY_SERVICE_PORT_HTTP", "HEADWAY_WEB_SERVICE_HOST"),
        *("HEADWAY_PORT_8080_TCP", "HEADWAY_PORT_8080_TCP_ADDR", "HEADWAY_WEB_PORT_8080_TCP_PROTO", "HEADWAY_WEB_PORT"),
        "MY_HEADWAY_THING",
    ],
)
def test_what_clients_and_kubernetes_keep_in_the_environment_is_theirs(variable: str) -> None:
    assert list(unknown_variables({variable: "tcp://10.0.0.1:8080"})) == []


def test_by_default_there_are_200_tasks_and_a_process_for_each_core_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {1, 5, 7}, raising=False)
    assert (Settings().max_tasks, Settings().max_processes) == (200, 3)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert Settings().max_processes == 12


def test_the_setting_that_became_two_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SetupError, match=r"HEADWAY_MAX_TASKS.*HEADWAY_MAX_PROCESSES"):
        Settings(max_running=4)  # type: ignore[call-arg]
    monkeypatch.setenv("headway_max_running", "4")
    with pytest.raises(SetupError, match=r"HEADWAY_MAX_TASKS.*HEADWAY_MAX_PROCESSES"):
        Settings()
