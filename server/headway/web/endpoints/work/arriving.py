"""An output file that a worker sends: streamed to disk, then put among the output of its attempt."""

import asyncio
import shutil

from aiohttp import web

from ....errors import InvalidError
from ....ports.work import Lease
from ...identity.gate import sharer
from ...parts import parts
from ...requests.content import coding_of, content_of
from ...requests.storing import store_file, storing

MAX_NAME_BYTES = 255
"""What file systems allow."""
FILE = "file"


def check_output_name(name: str) -> None:
    """Raises `InvalidError` for a name that no file in a directory can have."""
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidError([("", "The name of the file is not UTF-8.")]) from None
    if name in (".", "..") or set(name) & {"/", "\0"} or size_bytes > MAX_NAME_BYTES:
        raise InvalidError([("", f"The name of a file has no slash, and at most {MAX_NAME_BYTES} bytes.")])


async def receive_output(request: web.Request, lease: Lease, name: str) -> None:
    """Add the body to the attempt's output as the file `name`; it replaces one of that name.

    A body that does not arrive whole leaves nothing. Raises `Problem`, and what `Working.add_output` raises.
    """
    service, arriving, most_bytes = (
        parts(request).service,
        parts(request).arriving,
        parts(request).settings.max_upload_bytes,
    )
    coding_of(request)
    with arriving.upload(sharer(request)):
        with storing():
            incoming = await asyncio.to_thread(service.submitting.new_incoming)
        try:
            with arriving.receiving(request.content):
                read = content_of(request, most_bytes).read
                await store_file(read, incoming / FILE, most_bytes, service.admission.check_space, hashing=False)
            await service.working.add_output(lease, incoming / FILE, name)
        finally:
            await asyncio.to_thread(shutil.rmtree, incoming, True)
