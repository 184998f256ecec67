"""An operator's commands on a data directory, whether or not a server runs on it."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from ..backends.bells import LocalHub
from ..errors import DirectoryOwnedError
from ..files.data_directory import DataDirectory
from ..metrics import Metrics
from ..operating.commands import Commands
from ..operating.socket import ask
from ..settings import Settings
from .record import open_record

CREATES_KEYS = "keys create"


async def operate(settings: Settings, command: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Carry out a command: by the server that owns the directory, or here if none does. Raises `SetupError`."""
    # Before the first start too: a server that other machines reach does not start without a key.
    folder = DataDirectory.existing(settings.data_dir, may_be_new=command == CREATES_KEYS)
    try:
        files = DataDirectory.open(settings.data_dir)
    except DirectoryOwnedError:
        return await asyncio.to_thread(ask, folder, command, fields)
    async with AsyncExitStack() as stack:
        stack.callback(files.close)
        backend = await open_record(stack, settings, files, LocalHub(), Metrics())
        return await Commands(backend, files).run(command, fields)


def ask_owner(settings: Settings, command: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Have the server that owns the directory carry out a command. Blocks. Raises `SetupError`, also without one."""
    return ask(DataDirectory.existing(settings.data_dir, may_be_new=False), command, fields)
