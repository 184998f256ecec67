"""Job types that share what is made before their processes are forked. They write what they do to a diary."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from headway import BlockingContext, Depends, job

DIARY, GO = Path(os.environ["DIARY"]), Path(os.environ["GO"])


def note(entry: str) -> None:
    with DIARY.open("a") as diary:
        diary.write(f"{entry}\n")


def until_allowed() -> None:
    while not GO.exists():
        time.sleep(0.005)


@job("plain")
def plain(ctx: BlockingContext) -> int:
    return os.getppid()


def config() -> Iterator[str]:
    note("config")
    yield "config"
    note(f"config is closed by {os.getpid()}")


def model(config: Annotated[str, Depends(config)]) -> Iterator[list[str]]:
    note("model")
    sys.stdout.write("the model loads\n")
    yield [config, str(os.getpid())]
    note(f"model is closed by {os.getpid()}")


def session(model: Annotated[list[str], Depends(model, before_fork=True)]) -> Iterator[str]:
    note("session")
    yield model[0]
    note("session is closed")


@job("shares")
def shares(
    ctx: BlockingContext,
    session: Annotated[str, Depends(session)],
    model: Annotated[list[str], Depends(model)],
    config: Annotated[str, Depends(config)],
) -> list[int | str]:
    model.append("only in this process")
    return [id(model), *model, session, os.getppid()]


@job("holds")
def holds(ctx: BlockingContext, model: Annotated[list[str], Depends(model, before_fork=True)]) -> None:
    ctx.log(f"pid {os.getpid()}")
    until_allowed()


@job("keeps", keep_process=True)
def keeps(ctx: BlockingContext, session: Annotated[str, Depends(session)]) -> list[int]:
    return [os.getpid(), os.getppid()]


MIB = 1024 * 1024


def buffer() -> bytearray:
    return bytearray(b"x") * (64 * MIB)


@job("reads")
def reads(ctx: BlockingContext, buffer: Annotated[bytearray, Depends(buffer, before_fork=True)]) -> None:
    assert buffer.count(b"x") == 64 * MIB
    ctx.log(f"pid {os.getpid()}")
    until_allowed()


def flaky(config: Annotated[str, Depends(config)]) -> str:
    note("flaky")
    if not GO.exists():
        raise OSError("not yet")
    return "made"


@job("fails-at-first")
def fails_at_first(ctx: BlockingContext, it: Annotated[str, Depends(flaky, before_fork=True)]) -> str:
    return it


def deadly() -> str:
    note("deadly")
    if not GO.exists():
        if os.environ["DEADLY"] == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGSEGV)
    return "made"


@job("dies-at-first")
def dies_at_first(ctx: BlockingContext, it: Annotated[str, Depends(deadly, before_fork=True)]) -> str:
    return it


def slow() -> str:
    note(f"slow {os.getpid()}")
    until_allowed()
    return "made"


@job("waits-for-a-load")
def waits_for_a_load(ctx: BlockingContext, it: Annotated[str, Depends(slow, before_fork=True)]) -> str:
    return it


def harmless() -> Iterator[str]:
    yield "harmless"
    note("harmless is closed")


def threaded(it: Annotated[str, Depends(harmless)]) -> Iterator[str]:
    note("threaded")
    thread = threading.Thread(target=time.sleep, args=(600,), name="busy", daemon=True)
    thread.start()
    yield thread.name
    note("threaded is closed")


@job("starts-a-thread")
def starts_a_thread(ctx: BlockingContext, it: Annotated[str, Depends(threaded, before_fork=True)]) -> int:
    return os.getppid()


def connected() -> socket.socket:
    note("connected")
    return socket.create_server(("127.0.0.1", 0))


@job("opens-a-socket")
def opens_a_socket(ctx: BlockingContext, it: Annotated[socket.socket, Depends(connected, before_fork=True)]) -> int:
    return os.getppid()


def helper() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.terminate()
    note(f"helper ended: {process.wait()}")


@job("has-a-helper")
def has_a_helper(ctx: BlockingContext, helper: Annotated[int, Depends(helper, before_fork=True)]) -> int:
    os.kill(helper, 0)
    return helper


def fails_at_the_end() -> Iterator[None]:
    yield
    raise OSError("the disk is full")


@job("fails-in-clean-up")
def fails_in_clean_up(
    ctx: BlockingContext,
    model: Annotated[list[str], Depends(model, before_fork=True)],
    it: Annotated[None, Depends(fails_at_the_end, before_fork=True)],
) -> None: ...


def hangs_at_the_end() -> Iterator[None]:
    yield
    note("hangs")
    time.sleep(600)


def fails_once(it: Annotated[None, Depends(hangs_at_the_end)]) -> None:
    if not GO.exists():
        raise OSError("not yet")


@job("fails-and-hangs")
def fails_and_hangs(ctx: BlockingContext, it: Annotated[None, Depends(fails_once, before_fork=True)]) -> str:
    return "made"


@job("hangs-in-clean-up")
def hangs_in_clean_up(ctx: BlockingContext, it: Annotated[None, Depends(hangs_at_the_end, before_fork=True)]) -> int:
    return os.getppid()
