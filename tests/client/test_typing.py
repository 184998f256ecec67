"""What a type checker knows of the client: mypy runs over this file, and an ignore that is not needed is an error."""

from typing import Any, assert_type

from headway.client import AsyncClient, AsyncJob, Client, Job

from tests.client.client_jobs import Number, Resize, Resized, doubled, hello, resize, resize_process, transcode


def the_blocking_client(client: Client) -> None:
    assert_type(client.submit(resize, Resize(width=1)), Job[Resized])
    assert_type(client.submit(resize, Resize(width=1)).result(), Resized)
    assert_type(client.submit(resize_process, Resize(width=1), label="x"), Job[Resized])
    assert_type(client.submit(doubled, Number(number=1)), Job[int])
    assert_type(client.submit(hello), Job[str])
    assert_type(client.submit(transcode, Number(number=1)), Job[list[str]])
    assert_type(client.submit("resize", {"width": 1}), Job[Any])
    assert_type(client.submit("resize", {"width": 1}).result(Resized), Resized)
    client.submit(resize, Number(number=1))  # type: ignore[arg-type]
    client.submit(hello, Number(number=1))  # type: ignore[arg-type]
    client.submit(resize)  # type: ignore[arg-type]
    client.submit("resize", {"width": 1}, labels="x")  # type: ignore[call-overload]


async def the_client_for_asyncio(client: AsyncClient) -> None:
    assert_type(await client.submit(resize, Resize(width=1)), AsyncJob[Resized])
    assert_type(await (await client.submit(resize, Resize(width=1))).result(), Resized)
    assert_type(await client.submit(resize_process, Resize(width=1)), AsyncJob[Resized])
    assert_type(await client.submit(doubled, Number(number=1)), AsyncJob[int])
    assert_type(await client.submit(hello), AsyncJob[str])
    assert_type(await client.submit(transcode, Number(number=1)), AsyncJob[list[str]])
    assert_type(await client.submit("resize"), AsyncJob[Any])
    await client.submit(resize, Number(number=1))  # type: ignore[arg-type]
    await client.submit(resize)  # type: ignore[arg-type]


def a_blocking_map(client: Client) -> None:
    numbers = [Number(number=1)]
    for outcome in client.map(doubled, numbers):
        assert_type(outcome.result, int)
        assert_type(outcome.job, Job[int] | None)
    for other in client.map(resize_process, [Resize(width=1)]):
        assert_type(other.result, Resized)
    client.map(resize, numbers)  # type: ignore[arg-type]


async def a_map_in_asyncio(client: AsyncClient) -> None:
    async for outcome in client.map(resize, [Resize(width=1)]):
        assert_type(outcome.result, Resized)
        assert_type(outcome.job, AsyncJob[Resized] | None)
