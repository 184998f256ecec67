"""Resumable uploads, by the protocol tus 1.0. Stock clients know it; the document is for those that are generated."""

from datetime import timedelta

from ...domain.uploads import KEPT
from ..endpoints.uploads.headers import PART_TYPE
from ..requests.query import NoQuery
from .operation import RATE_HEADERS, Answer, Operation, Operations, Schema

PART: dict[str, Schema] = {PART_TYPE: {"schema": {"type": "string", "format": "binary"}}}
OF_PARTS = ("body-timeout", "too-large", "unsupported-media-type", "malformed-request")
"""The problems of requests that have a part in their body."""
EXPIRATION = f"It is deleted {KEPT // timedelta(hours=1)} hours after it was announced, unless a job has taken it."

OF_ONE = ("precondition-failed", "malformed-request", "upload-busy")
BUSY = {423: ("Retry-After",)}
OFFERED = ("Allow", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size")
APPENDING = ("mismatching-offset", "taken-over", "insufficient-storage", "store-unavailable", "stopping")

OPERATIONS: Operations = {
    ("POST", "/uploads"): Operation(
        id="createUpload",
        tag="uploads",
        summary="Announce a file",
        description=(
            "`Upload-Length` is held in the owner's quota from now on. The body may be the first part of the file; "
            "if something is wrong with it, `Upload-Offset` says how much of it was kept. " + EXPIRATION
        ),
        query=NoQuery,
        headers=("Tus-Resumable", "Upload-Length", "Upload-Metadata"),
        content=PART,
        answers={
            201: Answer(
                description="The upload, and its URL",
                headers=("Tus-Resumable", "Location", "Upload-Expires"),
                sometimes=("Upload-Offset", *RATE_HEADERS),
            )
        },
        problems=(
            *("malformed-request", "precondition-failed", "too-large", "unsupported-media-type"),
            *("storage-quota-exceeded", "insufficient-storage", "store-unavailable", "stopping"),
        ),
    ),
    ("OPTIONS", "/uploads"): Operation(
        id="describeUploads",
        tag="uploads",
        summary="Read the version and the extensions of tus, and the limit of a file",
        description="For clients that ask before they begin. `Tus-Resumable` need not be sent.",
        query=NoQuery,
        answers={204: Answer(description="What is offered", headers=OFFERED)},
    ),
    ("PATCH", "/uploads/{uploadId}"): Operation(
        id="appendToUpload",
        tag="uploads",
        summary="Send the next part of a file",
        description=(
            "What has arrived is durable when the response comes, and is kept if the connection is lost. Of two "
            "requests for one upload the later goes on, and the earlier ends with what it has sent."
        ),
        query=NoQuery,
        headers=("Tus-Resumable", "Upload-Offset"),
        content=PART,
        content_required=True,
        answers={
            204: Answer(
                description="The part is durable",
                headers=("Tus-Resumable", "Upload-Offset", "Upload-Expires"),
                sometimes=RATE_HEADERS,
            )
        },
        problems=("not-found", *OF_PARTS, *OF_ONE, *APPENDING),
        problem_headers=BUSY,
    ),
    ("HEAD", "/uploads/{uploadId}"): Operation(
        id="readUpload",
        tag="uploads",
        summary="Read how much of a file has arrived",
        description="A part that is arriving ends there: the client is about to send what follows.",
        query=NoQuery,
        headers=("Tus-Resumable",),
        answers={
            200: Answer(
                description="Where the next part begins",
                headers=("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Expires"),
                sometimes=("Upload-Metadata",),
            )
        },
        problems=("not-found", *OF_ONE),
        problem_headers=BUSY,
    ),
    ("DELETE", "/uploads/{uploadId}"): Operation(
        id="deleteUpload",
        tag="uploads",
        summary="Delete an upload",
        description="Its bytes are free in the quota at once.",
        query=NoQuery,
        headers=("Tus-Resumable",),
        answers={204: Answer(description="Deleted", headers=("Tus-Resumable",))},
        problems=("not-found", *OF_ONE, "store-unavailable"),
        problem_headers=BUSY,
    ),
    ("POST", "/uploads/{uploadId}"): Operation(
        id="overrideUploadMethod",
        tag="uploads",
        summary="Send one of the other methods as a POST",
        description="For networks that know no other method. The header names the one that is meant.",
        query=NoQuery,
        headers=("Tus-Resumable", "X-HTTP-Method-Override", "Upload-Offset"),
        content=PART,
        content_required=True,
        answers={
            200: Answer(
                description="As `HEAD`",
                headers=("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Expires"),
                sometimes=("Upload-Metadata",),
            ),
            204: Answer(
                description="As `PATCH` or `DELETE`",
                headers=("Tus-Resumable",),
                sometimes=("Upload-Offset", "Upload-Expires", *RATE_HEADERS),
            ),
        },
        problems=("not-found", "method-not-allowed", *OF_PARTS, *OF_ONE, *APPENDING),
        problem_headers=BUSY | {405: ("Allow",)},
    ),
    ("OPTIONS", "/uploads/{uploadId}"): Operation(
        id="describeUpload",
        tag="uploads",
        summary="Read the version and the extensions of tus",
        description="The same as for `/uploads`, whether or not there is such an upload.",
        query=NoQuery,
        answers={204: Answer(description="What is offered", headers=OFFERED)},
    ),
}
