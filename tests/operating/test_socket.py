"""The command socket, when one side goes away."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from headway.errors import SetupError
from headway.operating.socket import SOCKET_NAME, CommandSocket, ask
from structlog.testing import capture_logs


async def test_a_command_that_is_interrupted_before_it_has_asked_is_not_an_error_of_the_server(tmp_path: Path) -> None:
    asked = []

    async def run(command: str, fields: Any) -> dict[str, Any]:
        asked.append((command, fields))
        return {"done": True}

    commands = CommandSocket(tmp_path, run)
    await commands.open()
    with capture_logs() as logged:
        for begun in (b"", b'["doct'):
            reader, writer = await asyncio.open_unix_connection(tmp_path / SOCKET_NAME)
            writer.write(begun)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        assert await asyncio.to_thread(ask, tmp_path, "doctor", {}) == {"done": True}
    await commands.close()
    assert (asked, [line["event"] for line in logged]) == ([("doctor", {})], ["an operator's command"])


async def test_a_command_that_is_too_long_is_refused_in_one_line(tmp_path: Path) -> None:
    async def run(command: str, fields: Any) -> dict[str, Any]:
        raise AssertionError(command, fields)

    commands = CommandSocket(tmp_path, run)
    await commands.open()
    with pytest.raises(SetupError, match="a command has at most 65,536 bytes"):
        await asyncio.to_thread(ask, tmp_path, "create-key", {"name": "x" * 70_000})
    await commands.close()


async def test_an_answer_that_is_cut_off_is_an_error_in_one_line(tmp_path: Path) -> None:
    async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert json.loads(await reader.readline()) == ["doctor", {}]
        writer.write(b'{"problems": [')
        writer.close()

    async with await asyncio.start_unix_server(cut_off, tmp_path / SOCKET_NAME):
        with pytest.raises(SetupError, match="closed the connection: see its log"):
            await asyncio.to_thread(ask, tmp_path, "doctor", {})


def test_a_socket_that_a_killed_server_left_is_an_error_in_one_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET_NAME))
    with pytest.raises(SetupError, match="does not respond"):
        ask(tmp_path, "doctor", {})
