"""What `submit` sends: inputs from arguments and from stdin, and files."""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from ...client import Client, File
from ..printing import fail
from .values import read_values

STDIN = "-"


def job_type_of(client: Client, name: str) -> dict[str, Any]:
    """The type of this name, with its schemas. Exits if there is none."""
    types = {each["name"]: each for each in client.types()}
    if name not in types:
        fail(f"there is no job type {name!r}; there are {', '.join(sorted(types)) or 'none'} (see `headway types`)")
    return types[name]


def inputs_of(arguments: Sequence[str], job_type: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The inputs: that of the arguments, or with `-` each JSON document on stdin, to which the arguments are added.

    Raises `ValueError`.
    """
    given = [argument for argument in arguments if argument != STDIN]
    values = read_values(given, job_type["inputSchema"])
    if STDIN not in arguments:
        yield values
        return
    for document in documents(sys.stdin.read()):
        if not isinstance(document, dict):
            raise ValueError("stdin: an input is a JSON object")  # noqa: TRY004 - not the program's error
        yield document | values


def documents(text: str) -> Iterator[Any]:
    """The JSON documents of a text, with white space between them. Raises `ValueError`."""
    decoder, at = json.JSONDecoder(), 0
    while True:
        at += len(text[at:]) - len(text[at:].lstrip())
        if at == len(text):
            return
        try:
            document, at = decoder.raw_decode(text, at)
        except ValueError as error:
            raise ValueError(f"stdin is not JSON: {error}") from error
        yield document


def files_of(arguments: Sequence[str], job_type: dict[str, Any]) -> dict[str, Any]:
    """The files of `part=path` arguments, by part; the path `-` is stdin. Raises `ValueError` and `OSError`."""
    files: dict[str, Any] = {}
    for argument in arguments:
        part, equals, path = argument.partition("=")
        if not equals or not path:
            raise ValueError(f"--file: {argument!r} is not part=path")
        if part not in job_type["uploads"]:
            known = ", ".join(job_type["uploads"]) or "none"
            raise ValueError(f"--file: the input has no file {part!r}; there are {known}")
        if path == STDIN:
            files[part] = File(_stdin(), part)
        else:
            with Path(path).open("rb"):  # one that cannot be read is found before anything is sent
                files[part] = path
    return files


def _stdin() -> IO[bytes]:
    """Stdin as a file that can be sent again."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the process ends with it
    while chunk := sys.stdin.buffer.read(1 << 20):
        copy.write(chunk)
    copy.seek(0)
    return copy
