"""Todos and ping: what the handlers store and return, with real contexts."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from headway import Context, ResourceContext
from headway.authoring.declaring import declared
from headway.authoring.reporting import LogBuffer, Reported
from headway.ports.files import Directories
from headway.running.subprocesses import Subprocesses
from headway.samples.ping import Ping, ping
from headway.samples.todo import NewTodo, TodoQuery, list_todos, read_todo, todo
from pydantic import ValidationError

Making = Callable[..., Context]


@pytest.fixture
def making(tmp_path: Path) -> Making:
    """Makes contexts of jobs that share one `data_dir`."""

    async def store(_json: str) -> None: ...

    def make(number: int = 1, owner: str = "ann") -> Context:
        return Context(
            job_id=f"01890000-0000-7000-8000-{number:012}",
            attempt=1,
            owner=owner,
            directories=Directories(*(str(tmp_path / name) for name in (f"work-{number}", f"output-{number}", "data"))),
            reported=Reported(),
            logs=LogBuffer(),
            checkpoint_json=None,
            async_checkpoint=store,
            start_process=Subprocesses().start,
        )

    return make


def asking(tmp_path: Path, caller: str = "ann") -> ResourceContext:
    return ResourceContext(caller, tmp_path / "data")


async def test_a_todo_is_stored_under_its_jobs_id(making: Making, tmp_path: Path) -> None:
    ctx = making()
    kept = await todo(ctx, NewTodo.model_validate_json('{"title": " Buy milk ", "dueBy": "2026-12-24"}'))
    assert (kept.id, kept.title, str(kept.due_by)) == (ctx.job_id, "Buy milk", "2026-12-24")
    assert ctx.result_url == f"/api/todos/{ctx.job_id}"
    assert read_todo(asking(tmp_path), ctx.job_id) == kept
    assert json.loads(declared("todo").encode_output(kept)).keys() == {"id", "title", "dueBy", "createdAt"}


async def test_a_job_that_runs_twice_creates_one_todo(making: Making, tmp_path: Path) -> None:
    first = await todo(making(), NewTodo(title="first"))
    assert await todo(making(), NewTodo(title="again")) == first
    assert list_todos(asking(tmp_path), TodoQuery()) == [first]


async def test_the_list_is_newest_first_and_contains_only_the_callers_todos(making: Making, tmp_path: Path) -> None:
    kept = [await todo(making(number), NewTodo(title=f"todo {number}")) for number in range(1, 4)]
    await todo(making(9, owner="bob"), NewTodo(title="not yours"))
    assert list_todos(asking(tmp_path), TodoQuery()) == kept[::-1]
    assert list_todos(asking(tmp_path), TodoQuery(limit=1)) == kept[:1:-1]
    assert read_todo(asking(tmp_path), making(9).job_id) is None
    assert read_todo(asking(tmp_path, "bob"), making(9).job_id) is not None


def test_the_list_is_empty_before_the_first_todo(tmp_path: Path) -> None:
    assert list_todos(asking(tmp_path), TodoQuery()) == []
    assert read_todo(asking(tmp_path), "01890000") is None


@pytest.mark.parametrize("title", ["", "  ", "x" * 201])
def test_a_todo_must_have_a_title(title: str) -> None:
    with pytest.raises(ValidationError):
        NewTodo(title=title)


async def test_a_ping_is_answered_in_its_result_and_in_a_file(making: Making) -> None:
    ctx = making()
    pong = await ping(ctx, Ping(message="hello"))
    assert (pong.reply, pong.message) == ("pong", "hello")
    written = json.loads((ctx.output_dir / "pong.json").read_text("utf-8"))
    assert written == json.loads(declared("ping").encode_output(pong))
    assert written.keys() == {"reply", "message", "answeredAt"}
