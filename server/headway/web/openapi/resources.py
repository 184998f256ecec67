"""The resources of job types that have a path: mostly what `/jobs` offers, under the type's own names."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ...authoring.job_types import JobType
from ...authoring.resources import Readers, Resource
from ..endpoints.resources import AuthorEndpoints, DownloadQuery
from ..requests.filters import PageQuery
from ..requests.query import NoQuery
from .jobs import OPERATIONS as JOBS
from .operation import Answer, Operation, Operations, Schema, json_content, link
from .outputs import OPERATIONS as OUTPUTS
from .submissions import hoisted, typed

Content = dict[str, Schema]

LIST, READ = JOBS["GET", "/jobs"], JOBS["GET", "/jobs/{id}"]
RESULT, FILE = OUTPUTS["GET", "/jobs/{id}/result"], OUTPUTS["GET", "/jobs/{id}/files/{name}"]


def operations(job_types: Iterable[JobType]) -> Operations:
    """What each type's path offers."""
    return {
        where: replace(operation, tag="resources", summary=f"{job_type.title}: {operation.summary.lower()}")
        for job_type in job_types
        if job_type.resource is not None
        for where, operation in _of_type(job_type, job_type.resource)
    }


def definitions(job_types: Iterable[JobType]) -> Schema:
    """What the schemas of the types' outputs define, by the names that `hoisted` gives."""
    return {
        f"{prefix}.{name}": hoisted(definition, prefix)
        for job_type in job_types
        for prefix, schema in _shown(job_type).items()
        for name, definition in schema.get("$defs", {}).items()
    }


def _shown(job_type: JobType) -> dict[str, Schema]:
    """The schemas of what the paths show, by the prefix of their definitions."""
    if job_type.resource is None:
        return {}
    readers = job_type.resource.readers
    if readers is None:
        return {f"{job_type.name}.result": job_type.output_schema}
    return {f"{job_type.name}.one": readers.get.output_schema, f"{job_type.name}.all": readers.list.output_schema}


def _of_type(job_type: JobType, resource: Resource) -> Iterator[tuple[tuple[str, str], Operation]]:
    path, name = resource.path, job_type.name
    contents = [
        json_content(hoisted({key: value for key, value in schema.items() if key != "$defs"}, prefix))
        for prefix, schema in _shown(job_type).items()
    ]
    if resource.readers is None:
        yield from _of_jobs(path, name, *contents)
    else:
        yield from _of_author(path, name, resource.readers, *contents)
    yield ("POST", path), replace(typed(job_type, options_beside=True), id=f"create-{name}", summary="Submit a job")
    yield ("GET", f"{path}/{{id}}/status"), replace(READ, id=f"status-{name}")
    download = replace(
        FILE,
        id=f"download-{name}",
        description="If there are several files, the first by name or the one given.",
        query=DownloadQuery,
        problems=(*FILE.problems, "not-finished", "gone", "job-failed"),
        problem_headers={**FILE.problem_headers, **RESULT.problem_headers},
    )
    yield ("GET", f"{path}/{{id}}/download"), download


def _of_jobs(path: str, name: str, result: Content) -> Iterator[tuple[tuple[str, str], Operation]]:
    """Where what the path shows are the jobs and their results."""
    following = link(f"list-{name}", "The next page", cursor="$response.body#/nextCursor")
    page = replace(LIST.answers[200], links={"next": following})
    yield ("GET", path), replace(LIST, id=f"list-{name}", query=PageQuery, answers={200: page})
    found = replace(RESULT.answers[200], content=result)
    yield ("GET", f"{path}/{{id}}"), replace(RESULT, id=f"read-{name}", answers={200: found})


def _of_author(
    path: str, name: str, readers: Readers, one: Content, all_of_them: Content
) -> Iterator[tuple[tuple[str, str], Operation]]:
    """For types whose author's functions define the resources."""
    listed = Operation(
        id=f"list-{name}",
        tag="resources",
        summary="List them",
        description="By a function of the job type's author.",
        query=readers.list.query_type or NoQuery,
        conditional=True,
        answers={200: Answer(description="The resources", content=all_of_them)},
        problems=("resource-timeout",),
        problem_headers={503: ("Retry-After",)},
    )
    read = replace(
        listed,
        id=f"read-{name}",
        summary="Read one",
        description="By a function of the job type's author.",
        query=NoQuery,
        answers={200: Answer(description="The resource", content=one)},
        problems=("not-found", "resource-timeout"),
    )
    yield ("GET", path), listed
    yield ("GET", f"{path}/{{{AuthorEndpoints.parameter}}}"), read
