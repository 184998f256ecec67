"""Query parameters as people write them: lists that are repeated, or separated by commas, or both."""

from typing import Annotated, Literal

import pytest
from aiohttp.test_utils import make_mocked_request
from headway.errors import InvalidError
from headway.web.problems import Problem
from headway.web.requests.query import query
from pydantic import BaseModel, Field

from tests.support.process import ServerProcess
from tests.support.raw import assert_problem, send
from tests.support.serving import LATER, UNKNOWN, ended


class Search(BaseModel, extra="forbid"):
    """Such as a job type's author writes it."""

    article: str | None = None
    sizes: list[int] = []
    colours: set[str] | None = None
    shop: Annotated[tuple[Literal["north", "south"], ...], Field(alias="shopName")] = ()


def searched(text: str) -> Search:
    return query(make_mocked_request("GET", f"/api/orders?{text}"), Search)


@pytest.mark.parametrize(
    "text", ["sizes=1&sizes=2,3", "sizes=1,2,3", "sizes=1&sizes=2&sizes=3", "sizes=1%2C2,&sizes=3"]
)
def test_a_list_is_repeated_or_separated_by_commas(text: str) -> None:
    assert searched(text).sizes == [1, 2, 3]


def test_any_kind_of_list_takes_several_values_by_the_name_that_clients_know() -> None:
    found = searched("colours=red&colours=blue&shopName=north,south")
    assert (found.colours, found.shop) == ({"red", "blue"}, ("north", "south"))
    assert searched("colours=red").colours == {"red"}


def test_a_single_value_keeps_its_commas_and_is_given_once() -> None:
    assert searched("article=pen,red").article == "pen,red"
    with pytest.raises(Problem) as raised:
        searched("article=pen&article=pen")
    assert raised.value.errors == [("/article", "is given more than once")]
    with pytest.raises(InvalidError) as invalid:
        searched("shop=north")
    assert [pointer for pointer, _ in invalid.value.errors] == ["/shop"]


def test_lists_and_streams_take_filters_in_both_ways(server: ServerProcess) -> None:
    label = "in-both-ways"
    done = ended(server, "noop", query=f"?label={label}")
    waiting = server.submit("steps-async", {"steps": 1}, f"{LATER}&label={label}")

    def listed(filters: str) -> set[str]:
        return {job["jobId"] for job in server.request("GET", f"/jobs?label={label}&{filters}").json["jobs"]}

    both = {done, waiting}
    for filters in ("status=completed&status=queued", "status=completed,queued", "type=noop&type=steps-async"):
        assert listed(filters) == both
    assert listed("status=completed&status=failed&type=noop,ping") == {done}
    assert listed(f"ids={done},{UNKNOWN}&ids={waiting}") == both
    assert listed(f"ids={done}&status=queued") == listed(f"ids={UNKNOWN}&ids=no-id") == set()
    page = server.request("GET", f"/jobs?label={label}&status=completed&status=queued&limit=1")
    following = page.headers["Link"].partition(">")[0].removeprefix("<")
    more = server.request("GET", following).json["jobs"]
    assert {job["jobId"] for job in (*page.json["jobs"], *more)} == both
    path = f"/jobs/progress?ids={done}&ids={waiting}&status=queued&status=running"
    assert next(event.data["jobId"] for event in server.events(path) if not event.name) == waiting
    assert_problem(send(server, "GET", "/jobs?status=queued&status=lost"), 422, "validation-failed", "/status/1")
    assert_problem(send(server, "GET", "/jobs?limit=1&limit=1"), 422, "validation-failed", "/limit")
    assert server.request("DELETE", f"/jobs/{waiting}").status == 204


def test_the_events_of_a_webhook_are_repeated_or_separated(server: ServerProcess) -> None:
    url = "webhookUrl=https://1.1.1.1/"
    for events in ("webhookEvents=job.started&webhookEvents=job.failed", "webhookEvents=job.started,job.failed"):
        assert send(server, "POST", f"/jobs/noop{LATER}&{url}&{events}", body=b"").status == 202
    reply = send(server, "POST", "/jobs/noop?webhookEvents=job.started&webhookEvents=job.eaten", body=b"")
    assert_problem(reply, 422, "validation-failed", "/webhookEvents/1")
