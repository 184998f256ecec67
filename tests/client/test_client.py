"""What the client is made of: its names, its twins, what it imports, what it is told by the environment."""

import inspect
import re
import subprocess
import sys
from typing import Any

import headway.client
import pytest
from headway.client import AsyncClient, AsyncFiles, AsyncJob, Client, Files, Job, JobState, ProblemError, errors
from headway.representation import JobDetail
from headway.web.problems import KINDS

from tests.support.process import ROOT

SAME_STATUS_IS_ENOUGH = {"http-error", "internal-error"}


def test_importing_it_imports_neither_httpx_nor_pydantic_nor_the_server() -> None:
    program = """
import sys
from headway.client import Client, Job, StateEvent, JobFailedError
heavy = ("asyncio", "httpx", "pydantic", "aiohttp", "rich", "tqdm")
print(*(each for each in sys.modules if each.partition(".")[0] in heavy))
print(*(each for each in sys.modules if each.startswith("headway.") and not each.startswith("headway.client")))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT / "server", capture_output=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(("one", "other"), [(Client, AsyncClient), (Job, AsyncJob), (Files, AsyncFiles)])
def test_the_twins_have_the_same_words(one: type[Any], other: type[Any]) -> None:
    def words(cls: type[Any]) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(value).parameters) if callable(value) else []
            for name, value in inspect.getmembers(cls)
            if not name.startswith("_")
        }

    assert words(one) == words(other)


def test_every_public_name_is_there() -> None:
    assert {name for name in headway.client.__all__ if not hasattr(headway.client, name)} == set()
    assert "Client" in dir(headway.client)
    with pytest.raises(AttributeError, match="nothing"):
        _ = headway.client.nothing


def test_every_error_is_public_but_the_one_that_is_turned_into_another() -> None:
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and name.endswith("Error")}
    assert defined - set(headway.client.__all__) == {"ResultFailedError"}


def test_a_state_has_every_field_of_the_representation() -> None:
    def snake(name: str) -> str:
        return re.sub(r"([A-Z])", lambda letter: f"_{letter[0].lower()}", name).replace("_seconds", "_s")

    fields = {snake(field.alias or name) for name, field in JobDetail.model_fields.items()}
    ours = {name for name, _ in inspect.getmembers(JobState) if not name.startswith("_")}
    links = {"status_url", "progress_url", "result_url"}
    assert fields - links - {"job_id"} == ours - {"id", "ended", "raw"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_problem_of_the_server_is_an_error_of_a_class_of_its_own(kind: str) -> None:
    status = KINDS[kind][0]
    cls = errors.BY_TYPE.get(kind) or errors.BY_STATUS.get(status)
    in_use_here = status not in (405, 408, 415, 416, 417, 421, 423) and kind not in SAME_STATUS_IS_ENOUGH
    assert (cls is not None and issubclass(cls, ProblemError)) == in_use_here


def test_the_environment_names_the_server_and_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_URL", "https://jobs.example.com/headway/")
    monkeypatch.setenv("HEADWAY_API_KEY", "hwk_from_the_environment")
    with Client() as client:
        assert client.url == "https://jobs.example.com/headway"
        assert client._transport._http.headers["Authorization"] == "Bearer hwk_from_the_environment"
        assert "hwk_" not in repr(client)
    with Client("http://localhost:9000", "hwk_given") as client:
        assert client.url == "http://localhost:9000"
        assert client._transport._http.headers["Authorization"] == "Bearer hwk_given"
    monkeypatch.delenv("HEADWAY_URL")
    monkeypatch.delenv("HEADWAY_API_KEY")
    with Client() as client:
        assert client.url == "http://127.0.0.1:8080"
        assert "Authorization" not in client._transport._http.headers


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://localhost", "http://", "https://example.com/?a=b"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a server"):
        Client(url)


def test_a_key_that_no_header_can_hold_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="the API key has characters that no key has") as refused:
        Client("http://localhost:8080", "hwk_secret\nX-Odd: 1")
    assert "secret" not in str(refused.value)
