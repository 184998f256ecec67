"""`todo`: todos that jobs create and `/api/todos` serves. They remain when their jobs are deleted."""

import asyncio
import datetime as dt
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from headway import Context, ResourceContext, job

_TABLE = "CREATE TABLE IF NOT EXISTS todos (id TEXT PRIMARY KEY, owner TEXT NOT NULL, todo TEXT NOT NULL) STRICT"


class NewTodo(BaseModel):
    """A todo to create."""

    model_config = ConfigDict(
        alias_generator=to_camel, json_schema_extra={"examples": [{"title": "Buy milk", "dueBy": "2026-12-24"}]}
    )

    title: str = Field(min_length=1, max_length=200, pattern=r"\S", title="Title")
    due_by: dt.date | None = Field(default=None, title="Due")


class Todo(BaseModel):
    """A stored todo."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    id: str
    title: str
    due_by: dt.date | None = Field(validation_alias=AliasChoices("dueBy", "dueDate"))  # the name that it had
    created_at: dt.datetime


class TodoQuery(BaseModel):
    """How many todos to list."""

    limit: int = Field(default=50, ge=1, le=200)


def read_todo(ctx: ResourceContext, id: str) -> Todo | None:
    """`GET /api/todos/{id}`"""
    with _database(ctx.data_dir) as database:
        row = database.execute("SELECT todo FROM todos WHERE id = ? AND ? IN (owner, '*')", (id, ctx.caller)).fetchone()
    return None if row is None else Todo.model_validate_json(row[0])


def list_todos(ctx: ResourceContext, query: TodoQuery) -> list[Todo]:
    """`GET /api/todos`: newest first, because job ids begin with their creation time."""
    newest = "SELECT todo FROM todos WHERE ? IN (owner, '*') ORDER BY id DESC LIMIT ?"
    with _database(ctx.data_dir) as database:
        rows = database.execute(newest, (ctx.caller, query.limit)).fetchall()
    return [Todo.model_validate_json(row[0]) for row in rows]


@job("todo", title="Add a todo", path="/api/todos", get=read_todo, list=list_todos, on_complete="redirect")
async def todo(ctx: Context, input: NewTodo) -> Todo:
    """Stores a todo; the completed job redirects to it."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    new = Todo(id=ctx.job_id, title=input.title.strip(), due_by=input.due_by, created_at=now)
    stored = await asyncio.to_thread(_store, ctx.data_dir, ctx.owner, new)
    ctx.result_url = f"/api/todos/{stored.id}"
    return stored


def _store(data_dir: Path, owner: str, new: Todo) -> Todo:
    """Store a todo once: if its job runs again, the first one is kept."""
    with _database(data_dir) as database, database:
        row = (new.id, owner, new.model_dump_json(by_alias=True))
        database.execute("INSERT INTO todos VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
        return Todo.model_validate_json(
            database.execute("SELECT todo FROM todos WHERE id = ?", (new.id,)).fetchone()[0]
        )


@contextmanager
def _database(data_dir: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(data_dir / "todos.db", timeout=30)) as database:
        database.execute(_TABLE)
        yield database
