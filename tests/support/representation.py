"""The fields that every representation of a job must have, written down a second time, independently of the code."""

import re
from typing import Any

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

FIELDS = {
    *("jobId", "type", "label", "status", "progress", "done", "total", "unit", "message", "step"),
    *("ratePerSecond", "etaSeconds", "queuePosition", "attempt", "maxAttempts", "cancelRequested"),
    *("createdAt", "runAt", "startedAt", "updatedAt", "completedAt", "expiresAt"),
    *(
        "statusUrl",
        "progressUrl",
        "resultUrl",
        "files",
        "filesTotal",
        "metadata",
        "error",
        "retryOf",
        "editTag",
        "version",
    ),
}
DETAIL_FIELDS = {*FIELDS, "input", "result"}


def assert_representation(job: Any, *, detail: bool = False) -> None:
    """Check that the job has all fields, each `null` or in its format, and no others."""
    assert job.keys() == (DETAIL_FIELDS if detail else FIELDS)
    assert UUID7.fullmatch(job["jobId"])
    assert job["statusUrl"] == f"/jobs/{job['jobId']}"
    assert job["progressUrl"] == f"/jobs/{job['jobId']}/progress"
    for name in ("createdAt", "runAt", "updatedAt"):
        assert INSTANT.fullmatch(job[name]), job[name]
    for name in ("startedAt", "completedAt", "expiresAt"):
        assert job[name] is None or INSTANT.fullmatch(job[name]), job[name]
    for name in ("attempt", "maxAttempts", "version"):
        assert type(job[name]) is int
    assert 0 <= job["attempt"] <= job["maxAttempts"]
    assert type(job["cancelRequested"]) is bool
    _assert_progress(job)
    _assert_state(job)


def _assert_progress(job: Any) -> None:
    progress = job["progress"]
    if progress is None:
        return
    assert 0 <= progress <= (100 if job["status"] == "completed" else 99.9)
    assert round(progress, 1) == progress


def _assert_state(job: Any) -> None:
    terminal = job["status"] in ("completed", "failed", "cancelled")
    assert terminal or job["status"] in ("queued", "running")
    assert (job["completedAt"] is not None) == (job["expiresAt"] is not None) == terminal
    completed = job["status"] == "completed"
    assert job["resultUrl"] == (f"/jobs/{job['jobId']}/result" if completed else None)
    assert (job["error"] is not None) == (job["status"] == "failed")
    assert job["status"] == "queued" or job["queuePosition"] is None
    if completed:
        assert job["progress"] == 100
    if job["status"] == "failed":
        assert job["error"].keys() == {"type", "title", "detail", "status"}
    assert len(job["files"]) == min(job["filesTotal"], 100)
    for file in job["files"]:
        assert file.keys() == {"name", "sizeBytes", "contentType", "url"}
        assert file["url"].startswith(f"/jobs/{job['jobId']}/files/")
