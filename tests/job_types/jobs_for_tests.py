"""Job types for the tests: each is small and serves one purpose."""

import asyncio
import contextlib
import os
import re
import subprocess
import time
from pathlib import Path

from headway import BlockingContext, Context, JobCancelled, JobFailed, ResourceContext, Upload, job
from pydantic import BaseModel, Field


class Steps(BaseModel):
    """How many steps to take, and how long each lasts."""

    steps: int = Field(default=5, ge=0, le=1_000_000)
    step_s: float = Field(default=0.0, ge=0, le=60)


class Text(BaseModel):
    text: str


class Document(BaseModel):
    document: Upload
    cover: Upload | None = None
    copies: int = 1


@job("steps-async")
async def steps_async(ctx: Context, input: Steps) -> dict[str, int]:
    """Reports and logs each step, in the server's loop."""
    async for step in ctx.track(range(input.steps), unit="steps", message="walking"):
        ctx.log(f"step {step + 1}")
        await asyncio.sleep(input.step_s)
    return {"steps": input.steps}


@job("steps-process")
def steps_process(ctx: BlockingContext, input: Steps) -> dict[str, int]:
    """Reports and logs each step, in a process of its own."""
    for step in ctx.track(range(input.steps), unit="steps", message="walking"):
        ctx.log(f"step {step + 1}")
        time.sleep(input.step_s)
    return {"steps": input.steps}


@job("one-at-a-time", concurrency=1)
async def one_at_a_time(ctx: Context, input: Steps) -> int:
    async for _ in ctx.track(range(input.steps)):
        await asyncio.sleep(input.step_s)
    return ctx.attempt


@job("fails")
async def fails(ctx: Context, input: Text) -> None:
    """Fails with a `JobFailed`."""
    raise JobFailed("No luck", detail=input.text, status=409, type="no-luck")


class Status(BaseModel):
    status: int


@job("fails-with")
async def fails_with(ctx: Context, input: Status) -> None:
    """Fails with a `JobFailed` of this status."""
    raise JobFailed("No luck", status=input.status)


@job("raises")
def raises(ctx: BlockingContext, input: Text) -> None:
    """Fails with an unexpected exception."""
    raise ValueError(input.text)


@job("raises-async")
async def raises_async(ctx: Context, input: Text) -> None:
    raise ValueError(input.text)


@job("third-time", max_attempts=3)
async def third_time(ctx: Context) -> int:
    """Succeeds in its third attempt."""
    if ctx.attempt < 3:
        raise RuntimeError(f"attempt {ctx.attempt} is not the third")
    return ctx.attempt


@job("stubborn-process")
def stubborn_process(ctx: BlockingContext) -> None:
    """Ignores the cancel and swallows the interruption."""
    ctx.progress(message=f"pid {os.getpid()}")
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


@job("polite-process")
def polite_process(ctx: BlockingContext) -> str:
    """Checks `ctx.cancelled` and returns."""
    ctx.progress(message=f"pid {os.getpid()}")
    while not ctx.cancelled:
        time.sleep(0.01)
    return "stopped by itself"


@job("with-grandchild")
def with_grandchild(ctx: BlockingContext) -> None:
    """Starts a program and waits for it."""
    program = subprocess.Popen(["sleep", "600"])
    ctx.progress(message=f"pid {program.pid}")
    program.wait()


@job("stubborn-async")
async def stubborn_async(ctx: Context) -> None:
    """Swallows its cancellation."""
    ctx.progress(message="holding on")
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ctx.progress(message="still holding on")


@job("blocks-the-loop")
async def blocks_the_loop(ctx: Context, input: Steps) -> None:
    """Blocks the loop, which an async handler must not do."""
    time.sleep(input.step_s)  # noqa: ASYNC251 - that is the point


@job("spins")
def spins(ctx: BlockingContext, input: Steps) -> int:
    """Keeps one core busy for `steps` x `step_s` seconds."""
    rounds = 0
    for _ in ctx.track(range(input.steps)):
        end = time.process_time() + input.step_s
        while time.process_time() < end:
            rounds += 1
    return rounds


@job("writes-files")
def writes_files(ctx: BlockingContext, input: Text) -> dict[str, str]:
    """Writes output files of several kinds."""
    (ctx.output_dir / "report.html").write_text(f"<h1>{input.text}</h1>", "utf-8")
    (ctx.output_dir / "data.csv").write_text("a,b\n1,2\n", "utf-8")
    (ctx.output_dir / "data.csv.gz").write_bytes(b"not what data.csv holds")
    (ctx.output_dir / "Grüße & more.txt").write_text(input.text, "utf-8")
    (ctx.output_dir / "folder").mkdir()
    (ctx.output_dir / "link").symlink_to("/etc/passwd")
    return {"text": input.text}


@job("big-file")
def big_file(ctx: BlockingContext) -> None:
    """Writes an output file that is larger than any socket's buffers."""
    (ctx.output_dir / "big.bin").write_bytes(b"." * 32 * 1024 * 1024)


@job("reads-upload")
def reads_upload(ctx: BlockingContext, input: Document) -> dict[str, str | int | None]:
    """Returns what it was given."""
    return {
        "filename": input.document.filename,
        "contentType": input.document.content_type,
        "sizeBytes": input.document.size_bytes,
        "text": input.document.path.read_text("utf-8"),
        "cover": None if input.cover is None else input.cover.filename,
        "copies": input.copies,
    }


@job("checkpoints")
def checkpoints(ctx: BlockingContext, input: Steps) -> list[int]:
    """Takes each step once, over all attempts."""
    first = ctx.resumed["next"] if ctx.resumed else 0
    taken = Path(ctx.work_dir / "taken")
    for step in range(first, input.steps):
        with taken.open("a") as file:
            file.write(f"{step}\n")
        ctx.checkpoint({"next": step + 1})
        ctx.progress(done=step + 1, total=input.steps)
        time.sleep(input.step_s)
    return [int(line) for line in taken.read_text().split()]


@job("big-result")
async def big_result(ctx: Context, input: Steps) -> str:
    """Returns `steps` characters."""
    return "x" * input.steps


@job("largest-result")
async def largest_result(ctx: Context) -> str:
    """Returns 15 MiB, more than any buffer holds on the way to a client."""
    return "x" * (15 * 1024 * 1024)


@job("never-available", unavailable=lambda: "the moon is not full")
def never_available(ctx: BlockingContext) -> None:
    """Is available nowhere."""


@job("says")
async def says(ctx: Context, input: Text) -> str:
    """Puts its text into progress, log and result."""
    ctx.progress(percent=50, message=input.text, step=input.text)
    ctx.log(input.text)
    await asyncio.sleep(0.2)
    return input.text


@job("noop")
async def noop(ctx: Context) -> None:
    """Does nothing."""


class Point(BaseModel):
    x: int
    y: int = 0


class Line(BaseModel):
    points: list[Point]
    next: "Line | None" = None


@job("nested-input")
async def nested_input(ctx: Context, input: Line) -> Line:
    """Has an input and a result whose schemas have definitions, one of them recursive."""
    return input


@job("chatty")
async def chatty(ctx: Context, input: Steps) -> int:
    """Logs all its lines at once, then waits `step_s` seconds."""
    for step in range(input.steps):
        ctx.log(f"line {step + 1}")
    await asyncio.sleep(input.step_s)
    return input.steps


@job("storms", max_attempts=1)
async def storms(ctx: Context, input: Steps) -> int:
    """Reports large progress messages all the time: more than fits into the buffers of a stalled reader."""
    async for step in ctx.track(range(input.steps), unit="steps"):
        ctx.progress(message=f"{step} " + "😀" * 480, step="😀" * 80)
        await asyncio.sleep(input.step_s)
    return input.steps


@job("odd-files")
def odd_files(ctx: BlockingContext) -> None:
    """Writes output files with unusual names and sizes."""
    (ctx.output_dir / "empty.txt").touch()
    (ctx.output_dir / 'a"b\\c;d%e\r\nX-Injected: yes.txt').write_text("odd", "utf-8")
    (ctx.output_dir / "日本語.csv").write_text("ä\n", "utf-8")


class ManyFiles(BaseModel):
    count: int


@job("many-files")
def many_files(ctx: BlockingContext, input: ManyFiles) -> None:
    """Writes as many output files as it is told to; each holds its number."""
    output = ctx.output_dir
    for number in range(input.count):
        (output / f"{number:05}.txt").write_text(str(number))


@job("murmurs")
async def murmurs(ctx: Context, input: Steps) -> None:
    """Logs line after line, and reports no progress."""
    for step in range(input.steps):
        await asyncio.sleep(input.step_s)
        ctx.log(f"line {step + 1}")


@job("stalls", stall_timeout_s=1.5)
def stalls(ctx: BlockingContext, input: Steps) -> None:
    """Reports `steps` times, then stalls."""
    for _ in ctx.track(range(input.steps)):
        time.sleep(input.step_s)
    time.sleep(600)


@job("never-twice", on_interrupt="fail")
async def never_twice(ctx: Context) -> None:
    """Must not run twice."""
    ctx.progress(message="once")
    await asyncio.sleep(600)


@job("picky", max_attempts=5, no_retry=(KeyError,))
def picky(ctx: BlockingContext, input: Text) -> None:
    """Names the exceptions that are not retried."""
    raise KeyError(input.text)


@job("picky-async", max_attempts=5, no_retry=(KeyError,))
async def picky_async(ctx: Context, input: Text) -> None:
    raise KeyError(input.text)


@job("short-queue", concurrency=1, max_queued=2)
async def short_queue(ctx: Context, input: Steps) -> None:
    """At most two of these can be queued."""
    ctx.progress(message="running")
    await asyncio.sleep(input.step_s)


@job("holds-the-interpreter")
def holds_the_interpreter(ctx: BlockingContext) -> None:
    """Stays in C code that holds the interpreter lock."""
    ctx.progress(message=f"pid {os.getpid()}")
    time.sleep(0.5)  # until that is reported
    re.match(r"(a+)+$", "a" * 40 + "b")


@job("cancels-itself")
async def cancels_itself(ctx: Context) -> None:
    """Awaits a task that is cancelled."""
    inner = asyncio.ensure_future(asyncio.sleep(60))
    inner.cancel()
    await inner


@job("cancels-itself-process")
def cancels_itself_process(ctx: BlockingContext) -> None:
    raise JobCancelled


class Letter(BaseModel):
    """What a letter says; `lost` fails, `later` waits until it is cancelled."""

    text: str


class Delivered(BaseModel):
    characters: int


@job("letters", path="/test/letters")
def letters(ctx: BlockingContext, input: Letter) -> Delivered:
    """Has a path of its own; its result is the resource."""
    if input.text == "lost":
        raise JobFailed("Lost", detail="It never came.")
    while input.text == "later":
        ctx.raise_if_cancelled()
        time.sleep(0.01)
    if input.text != "spoken":
        (ctx.output_dir / "letter.txt").write_text(input.text, "utf-8")
        (ctx.output_dir / "reply.html").write_text(f"<p>{input.text}</p>", "utf-8")
    return Delivered(characters=len(input.text))


class Note(BaseModel):
    id: str
    text: str
    owner: str


class NoteQuery(BaseModel):
    """The filters of a list of notes."""

    limit: int = Field(default=50, ge=1, le=50)


def read_note(ctx: ResourceContext, id: str) -> Note | None:
    if not id.replace("-", "").isalnum():
        raise AssertionError("no such id may come as far as this")
    path = ctx.data_dir / f"{id}.json"
    if id == "raises":
        raise ValueError("a secret")
    if id == "exits":
        raise SystemExit
    note = Note.model_validate_json(path.read_bytes()) if path.exists() else None
    return note if note is not None and note.owner == ctx.caller else None


def list_notes(ctx: ResourceContext, query: NoteQuery) -> list[Note]:
    found = [Note.model_validate_json(path.read_bytes()) for path in sorted(ctx.data_dir.glob("*.json"))]
    return [note for note in found if note.owner == ctx.caller][: query.limit]


@job("notes", path="/test/notes", get=read_note, list=list_notes, on_complete="redirect")
def notes(ctx: BlockingContext, input: Text) -> str:
    """Has a resource beyond its result, in a process of its own."""
    note = Note(id=f"note-{ctx.job_id}", text=input.text, owner=ctx.owner)
    (ctx.data_dir / f"{note.id}.json").write_text(note.model_dump_json(), "utf-8")
    ctx.result_url = f"/test/notes/{note.id}"
    return note.id


MEMOS: dict[str, str] = {}


async def read_memo(ctx: ResourceContext, id: str) -> str | None:
    return MEMOS.get(id)


async def list_memos(ctx: ResourceContext) -> dict[str, str]:
    return MEMOS


@job("memos", path="/test/memos", get=read_memo, list=list_memos)
async def memos(ctx: Context, input: Text) -> None:
    """Has a resource beyond its result, kept in memory."""
    MEMOS[ctx.job_id] = input.text
    ctx.result_url = f"/test/memos/{ctx.job_id}"


@job("misleads")
async def misleads(ctx: Context, input: Text) -> None:
    """Sets its input as the URL of its result."""
    ctx.result_url = input.text


@job("fails-behind-a-redirect", path="/test/failures", on_complete="redirect")
async def fails_behind_a_redirect(ctx: Context, input: Text) -> None:
    """Ends at a path where a failure is an HTTP error."""
    raise JobFailed("No luck", detail=input.text, status=409, type="no-luck")


@job("raises-text")
async def raises_text(ctx: Context, input: Text) -> None:
    """Fails with this text as its error."""
    raise JobFailed(input.text, detail=input.text, type="odd")


@job("links-outside")
def links_outside(ctx: BlockingContext, input: Text) -> None:
    """Writes output that leads to the file `text`: a symbolic link, a hard link, and a folder of links."""
    outside = Path(input.text)
    (ctx.output_dir / "plain.txt").write_text("plain", "utf-8")
    (ctx.output_dir / "symbolic.txt").symlink_to(outside)
    (ctx.output_dir / "hard.txt").hardlink_to(outside)
    (ctx.output_dir / "folder").symlink_to(outside.parent)
