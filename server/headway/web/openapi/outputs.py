"""Outputs: a job's result and its files."""

from ...representation import FileView
from ..endpoints.files import FileQuery, FilesQuery
from ..endpoints.jobs import WaitQuery
from ..requests.query import NoQuery
from . import examples
from .operation import (
    Answer,
    Operation,
    Operations,
    Schema,
    answered,
    array,
    closed_object,
    or_null,
    ref,
)

FILE_CONTENT: dict[str, Schema] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "*/*": {"schema": {}},
}
"""Of any type. The first is for client generators, which support no other."""
ARCHIVE_CONTENT: dict[str, Schema] = {
    media_type: {"schema": {"type": "string", "format": "binary"}}
    for media_type in ("application/octet-stream", "application/zip")
}
"""It is always the second."""
FILE_PAGE = closed_object(files=array(ref(FileView)), filesTotal={"type": "integer"}, nextCursor=or_null("string"))
FILE_HEADERS = ("ETag", "Last-Modified", "Accept-Ranges", "Content-Disposition")

OPERATIONS: Operations = {
    ("GET", "/jobs/{id}/result"): Operation(
        id="readResult",
        tag="outputs",
        summary="Read a job's result",
        description=(
            "For a failed job this is an HTTP error, with the job's error in `jobError`, and with its status: the one "
            "that the type's author chose, 422 by default; 500 for a crash. A 401, 405, 407 or 426 is a 422 here."
        ),
        query=WaitQuery,
        headers=("Prefer",),
        conditional=True,
        answers={
            200: answered("What the handler returned", {}, examples.RESULT_OF_JOB, sometimes=("Preference-Applied",))
        },
        problems=("not-found", "not-finished", "gone", "job-failed", "too-many-waits", "store-unavailable"),
        problem_headers={409: ("Retry-After",)},
    ),
    ("DELETE", "/jobs/{id}/result"): Operation(
        id="deleteResult",
        tag="outputs",
        summary="Delete the result and output files, and keep the record",
        description="Frees their bytes at once. Afterwards `GET /jobs/{id}/result` is a 410.",
        query=NoQuery,
        answers={204: Answer(description="Deleted")},
        problems=("not-found", "not-finished", "store-unavailable"),
        problem_headers={409: ("Retry-After",)},
    ),
    ("GET", "/jobs/{id}/files"): Operation(
        id="listFiles",
        tag="outputs",
        summary="List a job's output files",
        description="By name, page by page. The job itself has the first 100 of them.",
        query=FilesQuery,
        conditional=True,
        answers={200: answered("A page of files", FILE_PAGE, examples.FILES, sometimes=("Link",))},
        problems=("not-found", "too-many-requests", "store-unavailable"),
    ),
    ("GET", "/jobs/{id}/files.zip"): Operation(
        id="downloadFiles",
        tag="outputs",
        summary="Download all output files as one ZIP file",
        description=(
            "It is made while it is sent, so its size is not known. If a file is deleted meanwhile, the connection is "
            "reset, and what has arrived is not a ZIP file. For a failed job this is an HTTP error, as its result is."
        ),
        query=NoQuery,
        answers={200: Answer(description="The archive", content=ARCHIVE_CONTENT, headers=("Content-Disposition",))},
        problems=("not-found", "not-finished", "gone", "job-failed", "store-unavailable"),
        problem_headers={409: ("Retry-After",)},
    ),
    ("GET", "/jobs/{id}/files/{name}"): Operation(
        id="downloadFile",
        tag="outputs",
        summary="Download an output file",
        description="As a download, or with `inline` for display in a sandbox.",
        query=FileQuery,
        headers=("Range", "If-Range", "If-None-Match", "If-Match", "If-Modified-Since", "If-Unmodified-Since"),
        answers={
            200: Answer(description="The file", content=FILE_CONTENT, headers=FILE_HEADERS),
            206: Answer(
                description="A part of the file; several as `multipart/byteranges`",
                content=FILE_CONTENT,
                headers=FILE_HEADERS,
                sometimes=("Content-Range",),
            ),
            304: Answer(description="The file has not changed", headers=("ETag",)),
        },
        problems=("not-found", "precondition-failed", "range-not-satisfiable", "store-unavailable"),
        problem_headers={416: ("Content-Range",)},
    ),
}
