"""The headers and the parameters of paths, each described once, by the names that operations give them."""

from collections.abc import Mapping
from typing import Any

from ..endpoints.uploads.headers import MAX_DIGITS
from ..endpoints.work.leases import LEASE
from ..request_ids import REQUEST_ID

Schema = dict[str, Any]

_TAG = '(W/)?"[!#-~]*"'
"""An entity tag (RFC 9110, 8.8.3) in ASCII: the server's have nothing else."""

_BYTES: Schema = {"type": "integer", "minimum": 0, "maximum": 10**MAX_DIGITS - 1}

PATH_PARAMETERS: Mapping[str, Schema] = {
    "id": {"description": "The id of a job. A malformed id is a 404.", "schema": {"type": "string"}},
    "deliveryId": {"description": "The id of one of the job's deliveries.", "schema": {"type": "string"}},
    "key": {"description": "An id, as the job type's author defines it.", "schema": {"type": "string"}},
    "name": {"description": "The name of one of the job's `files`.", "schema": {"type": "string"}},
    "uploadId": {"description": "The id of an upload. A malformed id is a 404.", "schema": {"type": "string"}},
    "path": {"description": "A file of the page.", "schema": {"type": "string"}},
    "type": {"description": "The name of a job type without a handler.", "schema": {"type": "string"}},
    "field": {"description": "The name of one of the job's `uploads`.", "schema": {"type": "string"}},
}

REQUEST_HEADERS: Mapping[str, Schema] = {
    REQUEST_ID: {
        "description": (
            "The client's id for this request. It is sent back and written to the server's log. "
            "Printable ASCII, at most 128 characters; anything else is replaced."
        ),
        "schema": {"type": "string"},
    },
    "If-None-Match": {
        "description": "The ETags that the client has: if one of them is current, the response is a 304.",
        "schema": {"type": "string"},
    },
    "If-Match": {
        "description": (
            "ETags of a file, or for `PATCH` a job's `editTag` in quotes: if none of them is current, the response is "
            "a 412. `*` stands for any."
        ),
        "schema": {"type": "string", "pattern": rf"^(\*|{_TAG}([ \t]*,[ \t]*{_TAG})*)$"},
    },
    "If-Modified-Since": {"description": "An HTTP date.", "schema": {"type": "string"}},
    "If-Unmodified-Since": {"description": "An HTTP date.", "schema": {"type": "string"}},
    "Idempotency-Key": {
        "description": (
            "A string in quotes (RFC 9651), or a token without them, 1 to 255 characters. Within 24 hours another "
            "submission with the same key returns the first one's job instead of a new one."
        ),
        "schema": {
            "type": "string",
            "pattern": r'^("(?:[ !#-\[\]-~]|\\["\\]){1,255}"|[0-9A-Za-z!#$%&\'*+.^_`|~-]{1,255})$',
        },
    },
    "Last-Event-ID": {
        "description": (
            "The id of the last event that the client received; what it missed follows. EventSource sends it by itself."
        ),
        "schema": {"type": "string"},
    },
    "Prefer": {
        "description": "`wait=30`: seconds to wait (RFC 7240, 4.3), at most `maxWaitSeconds`.",
        "schema": {"type": "string"},
    },
    "Range": {
        "description": "Ranges of bytes (RFC 9110, 14.2), at most 50; other units are ignored.",
        "schema": {"type": "string"},
    },
    LEASE: {
        "description": "The `lease` that the claim was answered with.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Tus-Resumable": {
        "description": "The version of tus (https://tus.io) that the client speaks.",
        "required": True,
        "schema": {"type": "string", "pattern": r"^1\.0\.0$"},  # generators of clients take no constant header
    },
    "Upload-Length": {
        "description": "The size of the file in bytes, at most `maxUploadBytes`.",
        "required": True,
        "schema": _BYTES,
    },
    "Upload-Metadata": {
        "description": (
            "What the file is: pairs with commas between them, each a key and its value in Base64. `filename` (or "
            "`name`) and `filetype` (or `type`) are what the job sees."
        ),
        "schema": {"type": "string"},
        "example": "filename cmVwb3J0LmNzdg==,filetype dGV4dC9jc3Y=",
    },
    "Upload-Offset": {
        "description": "Where the part begins: how many bytes of the file the server has.",
        "required": True,
        "schema": _BYTES,
    },
    "X-HTTP-Method-Override": {
        "description": "The method that is meant.",
        "required": True,
        "schema": {"enum": ["PATCH", "DELETE", "HEAD"]},
    },
    "If-Range": {"description": "The range applies only if this is the file's ETag.", "schema": {"type": "string"}},
}

RESPONSE_HEADERS: Mapping[str, Schema] = {
    "Allow": {"description": "The methods of this path.", "schema": {"type": "string"}},
    "Accept-Patch": {
        "description": "The media types of patches (RFC 5789, 3.1).",
        "schema": {"const": "application/merge-patch+json, application/json"},
    },
    "Accept-Ranges": {"description": "`bytes`", "schema": {"const": "bytes"}},
    "Content-Disposition": {
        "description": "The file's name (RFC 6266), and whether to save or display it.",
        "schema": {"type": "string"},
    },
    "Content-Encoding": {
        "description": "How the body is compressed, if it is big and `Accept-Encoding` allows it.",
        "schema": {"enum": ["gzip", "zstd"]},
    },
    "Content-Location": {
        "description": "The URL of the resource that the body represents.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Content-Range": {
        "description": "Which bytes these are, and the file's size. With several ranges, each part has its own.",
        "schema": {"type": "string"},
    },
    "ETag": {"description": "For `If-None-Match`.", "schema": {"type": "string", "pattern": '^(W/)?"[^"]*"$'}},
    "Idempotency-Replayed": {
        "description": "`true` if the job was accepted earlier, with the same key.",
        "schema": {"const": "true"},
    },
    "Last-Modified": {"description": "An HTTP date.", "schema": {"type": "string"}},
    "Link": {"description": 'The next page, `rel="next"` (RFC 8288), if there is one.', "schema": {"type": "string"}},
    "Location": {
        "description": (
            "The URL of the job, or where its URL leads. Absolute if the server has a public URL, or for requests with "
            "`x-ms-client-request-id`."
        ),
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Operation-Location": {
        "description": "The URL that Azure's SDKs poll, always absolute.",
        "schema": {"type": "string", "format": "uri"},
    },
    "Preference-Applied": {
        "description": "`wait=30`: the preference that the server applied (RFC 7240, 3).",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    },
    "RateLimit": {
        "description": (
            "How many requests are left under each policy that counts this request, and for how many seconds "
            "(draft-ietf-httpapi-ratelimit-headers-11). Absent for clients without a key on a server that only its own "
            "machine can reach."
        ),
        "schema": {"type": "string"},
        "example": '"submissions-by-owner";r=5999;t=60, "submissions-by-address";r=5999;t=60',
    },
    "RateLimit-Policy": {
        "description": "The policies: how many requests in how many seconds. Present whenever `RateLimit` is.",
        "schema": {"type": "string"},
        "example": '"submissions-by-owner";q=6000;w=60, "submissions-by-address";q=6000;w=60',
    },
    REQUEST_ID: {
        "description": "The id of this request in the server's log: the client's, or one that the server generated.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Retry-After": {
        "description": "Seconds after which to ask again. On a job, only while it is in progress.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Set-Cookie": {"description": "The session's cookie.", "schema": {"type": "string"}},
    "Tus-Extension": {
        "description": "The extensions of tus that the server has.",
        "schema": {"type": "string"},
        "example": "creation,creation-with-upload,expiration,termination",
    },
    "Tus-Max-Size": {"description": "The size of the largest file in bytes.", "schema": {"type": "integer"}},
    "Tus-Resumable": {"description": "The version of tus of this response.", "schema": {"const": "1.0.0"}},
    "Tus-Version": {"description": "The versions of tus that the server speaks.", "schema": {"type": "string"}},
    "Upload-Expires": {
        "description": "When the upload is deleted, if no job has taken it: an HTTP date.",
        "schema": {"type": "string"},
    },
    "Upload-Length": {"description": "The size of the file in bytes.", "schema": {"type": "integer", "minimum": 0}},
    "Upload-Metadata": {"description": "What the client has said about the file.", "schema": {"type": "string"}},
    "Upload-Offset": {
        "description": "How many bytes of the file are durable: the next part begins there.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Vary": {"description": "The request headers that select the response.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to authenticate (RFC 6750, 3).", "schema": {"type": "string"}},
}
