"""`headway types`, `headway stats` and `headway open`"""

import sys
import webbrowser
from typing import Annotated, Any

import typer

from ..jobs.connecting import connected
from ..jobs.options import AsJson, Quiet, Url
from ..jobs.values import known_keys
from ..printing import fail, show, show_json, show_table

STATUSES = ("queued", "running", "completed", "failed", "cancelled")


def types(
    name: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="Only this type, with its fields.")] = None,
    url: Url = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List the job types, or the fields of one.

    --json prints them with their schemas; --quiet the names alone.
    """
    with connected(url) as client:
        found = [each for each in client.types() if name is None or each["name"] == name]
    if not found and name is not None:
        fail(f"there is no job type {name!r}: see `headway types`")
    for each in found if as_json or quiet else ():
        show_json(each) if as_json else show(each["name"])
    if as_json or quiet:
        return
    if name is not None:
        _show_fields(found[0])
    elif found:
        show_table([("TYPE", "WHAT IT DOES"), *((each["name"], _about(each)) for each in found)])


def _about(job_type: dict[str, Any]) -> str:
    about = str(job_type["title"])
    return about if job_type["available"] else f"{about} (not available: {job_type['unavailableReason']})"


def _show_fields(job_type: dict[str, Any]) -> None:
    show(f"{job_type['name']}: {_about(job_type)}")
    if job_type["description"]:
        show(job_type["description"])
    schema = job_type["inputSchema"]
    fields = schema.get("properties") or {}
    rows = [(key, *_described(key, fields.get(key) or {}, job_type)) for key in known_keys(schema)]
    if rows:
        show("")
        show_table([("FIELD", "KIND", "DEFAULT", "WHAT IT IS"), *rows])


def _described(key: str, field: dict[str, Any], job_type: dict[str, Any]) -> tuple[str, str, str]:
    kinds = [str(part["type"]) for part in (field, *(field.get("anyOf") or ())) if "type" in part]
    kind = "file" if key in job_type["uploads"] else " or ".join(kinds) or "any"
    required = key in (job_type["inputSchema"].get("required") or ())
    default = "required" if required else str(field.get("default", "-"))
    return kind, default, str(field.get("description") or field.get("title") or "")


def stats(url: Url = None, as_json: AsJson = False) -> None:
    """Count the jobs by status and type."""
    with connected(url) as client:
        counted = client.stats()
    if as_json:
        show_json(counted)
        return
    by_type: dict[str, dict[str, int]] = counted["byType"]
    rows = [(name, *(f"{counts.get(status, 0):,}" for status in STATUSES)) for name, counts in by_type.items()]
    total = ("all", *(f"{counted['byStatus'].get(status, 0):,}" for status in STATUSES))
    show_table([("TYPE", *(status.upper() for status in STATUSES)), *rows, total])


def open_page(url: Url = None, quiet: Quiet = False) -> None:
    """Open the server's page in a browser.

    Prints the address, which --quiet leaves out; without a terminal that is all.
    """
    with connected(url) as client:
        client.whoami()  # is it there?
        address = f"{client.url}/"
    if not quiet:
        show(address)
    if sys.stdout.isatty():
        webbrowser.open(address)
