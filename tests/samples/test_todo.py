"""Todos and ping: what the handlers store and return."""

import json
from pathlib import Path
from typing import Any

import pytest
from headway import ResourceContext
from headway.samples.ping import ping
from headway.samples.todo import NewTodo, Todo, TodoQuery, list_todos, read_todo, todo
from headway.testing import Ran, run
from pydantic import ValidationError


def create(folder: Path, title: str, owner: str = "ann", **options: Any) -> Ran[Todo]:
    """A todo, created by a job; all jobs share one `data_dir`."""
    return run(todo, NewTodo(title=title), data_dir=folder / "data", owner=owner, **options)


def asking(tmp_path: Path, caller: str = "ann") -> ResourceContext:
    return ResourceContext(caller, tmp_path / "data")


def test_a_todo_is_stored_under_its_jobs_id(tmp_path: Path) -> None:
    ran = run(todo, {"title": " Buy milk ", "dueBy": "2026-12-24"}, data_dir=tmp_path / "data", owner="ann")
    kept = ran.result
    assert (kept.id, kept.title, str(kept.due_by)) == (ran.job_id, "Buy milk", "2026-12-24")
    assert ran.result_url == f"/api/todos/{ran.job_id}"
    assert read_todo(asking(tmp_path), ran.job_id) == kept
    assert ran.json.keys() == {"id", "title", "dueBy", "createdAt"}


def test_a_job_that_runs_twice_creates_one_todo(tmp_path: Path) -> None:
    first = create(tmp_path, "first")
    assert create(tmp_path, "again", after=first).result == first.result
    assert list_todos(asking(tmp_path), TodoQuery()) == [first.result]


def test_the_list_is_newest_first_and_contains_only_the_callers_todos(tmp_path: Path) -> None:
    kept = [create(tmp_path, f"todo {number}").result for number in range(1, 4)]
    others = create(tmp_path, "not yours", owner="bob").job_id
    assert list_todos(asking(tmp_path), TodoQuery()) == kept[::-1]
    assert list_todos(asking(tmp_path), TodoQuery(limit=1)) == kept[:1:-1]
    assert read_todo(asking(tmp_path), others) is None
    assert read_todo(asking(tmp_path, "bob"), others) is not None


def test_the_list_is_empty_before_the_first_todo(tmp_path: Path) -> None:
    assert list_todos(asking(tmp_path), TodoQuery()) == []
    assert read_todo(asking(tmp_path), "01890000") is None


@pytest.mark.parametrize("title", ["", "  ", "x" * 201])
def test_a_todo_must_have_a_title(title: str) -> None:
    with pytest.raises(ValidationError):
        NewTodo(title=title)


def test_a_ping_is_answered_in_its_result_and_in_a_file() -> None:
    ran = run(ping, {"message": "hello"})
    assert (ran.result.reply, ran.result.message) == ("pong", "hello")
    assert json.loads(ran.files["pong.json"].read_text("utf-8")) == ran.json
    assert ran.json.keys() == {"reply", "message", "answeredAt"}
