"""The routes: which endpoint answers which method and path."""

from collections.abc import Sequence
from functools import partial
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from ..authoring.job_types import ChangingRegistry, JobType, Registry
from ..authoring.resources import overlap
from ..errors import SetupError
from .connections.served_requests import RESOLVE
from .endpoints import (
    actions,
    files,
    health,
    history,
    job_types,
    jobs,
    lists,
    metrics,
    pages,
    results,
    retries,
    sessions,
    submissions,
    tickets,
)
from .endpoints.resources import resource_routes
from .endpoints.sdks import azure, google
from .endpoints.uploads import tus
from .endpoints.webhooks import deliveries, secrets
from .endpoints.work import claims, ends, reports
from .endpoints.work import files as work_files
from .identity.gate import GATE
from .identity.penalties import PENALTIES
from .identity.refusals import REFUSALS
from .openapi import openapi
from .parts import PARTS
from .problems import Problem
from .streams import many, one

BUILT_IN = (
    *("/jobs", "/job-types", "/operations", "/v1/jobs", "/problems", "/session", "/uploads", "/usage", "/webhooks"),
    "/work",
    *("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/static"),
)
"""The server's own paths, and everything below them. No job type's resource may overlap them."""

Routes = Sequence[tuple[str, str, Handler]]
"""Methods, paths and endpoints."""

UPLOADS: Routes = (
    ("POST", "/uploads", tus.create_upload),
    ("OPTIONS", "/uploads", tus.options),
    ("PATCH", "/uploads/{uploadId}", tus.append_part),
    ("HEAD", "/uploads/{uploadId}", tus.read_offset),
    ("DELETE", "/uploads/{uploadId}", tus.delete_upload),
    ("POST", "/uploads/{uploadId}", tus.override),
    ("OPTIONS", "/uploads/{uploadId}", tus.options),
)
OF_WORKERS: Routes = (
    ("POST", "/work/{type}/claim", claims.claim_job),
    ("POST", "/work/{type}/progress", reports.report_progress),
    ("POST", "/work/{type}/logs", reports.add_lines),
    ("POST", "/work/{type}/checkpoint", reports.set_checkpoint),
    ("POST", "/work/{type}/complete", ends.complete_job),
    ("POST", "/work/{type}/fail", ends.fail_job),
    ("GET", "/work/{type}/inputs/{field}", work_files.read_input),
    ("PUT", "/work/{type}/files/{name:[^/]+}", work_files.write_output),
)
"""What workers elsewhere call."""


def check_paths(registry: Registry) -> None:
    """Raise `SetupError` for a job type whose path is the server's own."""
    for job_type in registry:
        for path in BUILT_IN:
            if job_type.resource is not None and overlap(job_type.resource.path, path):
                taken = f"the path {job_type.resource.path} is taken: {path} is the server's own"
                raise SetupError(f"{job_type.place}: {job_type.name}: {taken}")


def add_routes(app: web.Application) -> None:
    """The first match wins: fixed paths come before those with a parameter, and frequent ones before others.

    Routes of one path stand together: aiohttp then makes them one resource and matches it once.
    """
    registry = app[PARTS].registry
    if isinstance(registry, ChangingRegistry):
        _add(app.router, [*WHILE_DEVELOPING, *_routes()])
        app[RESOLVE] = ChangingRoutes(app.router, registry).resolve
    else:
        _add(app.router, [*_routes(), *_routes_of_types(registry)])


class ChangingRoutes:
    """Fixed routes, and those of job types that change, which aiohttp's router cannot give up."""

    def __init__(self, fixed: web.UrlDispatcher, registry: Registry) -> None:
        self._fixed = fixed
        self._registry = registry
        self._changed()
        registry.when_changed(self._changed)

    def _changed(self) -> None:
        self._of_types = web.UrlDispatcher()
        _add(self._of_types, list(resource_routes(self._registry)))

    async def resolve(self, request: web.Request) -> web.UrlMappingMatchInfo:
        """The route of a request. `POST /jobs/{id}` serves types that have no route of their own here."""
        found = await self._fixed.resolve(request)
        if found.http_exception is not None and found.http_exception.status == HTTPStatus.NOT_FOUND:
            return await self._of_types.resolve(request)
        return found


def _add(router: web.UrlDispatcher, routes: Routes) -> None:
    for method, path, endpoint in routes:
        add = router.add_get if method == "GET" else partial(router.add_route, method)
        add(path, endpoint, expect_handler=_expect)
        if path.startswith("/jobs/") and "{" not in path:
            allowed = [hdrs.METH_GET, hdrs.METH_HEAD] if method == "GET" else [method]
            router.add_route(hdrs.METH_ANY, path, _only(allowed), expect_handler=_expect)


WHILE_DEVELOPING: Routes = (
    ("GET", "/", pages.index_while_developing),
    ("GET", "/job-types/reload", job_types.reload),
)


def _routes() -> Routes:
    """Method, path and endpoint of each route of the server's own, in their order."""
    return [
        ("GET", "/jobs/progress", many.jobs_stream),
        ("GET", "/jobs/stats", lists.stats),
        ("POST", "/jobs/batch", submissions.create_batch),
        ("POST", "/jobs/actions", actions.create_action),
        ("GET", "/jobs/{id}", jobs.read_job),
        ("POST", "/jobs/{id}", submissions.create_typed_job),
        ("PATCH", "/jobs/{id}", jobs.edit_job),
        ("DELETE", "/jobs/{id}", jobs.delete_job),
        ("GET", "/jobs/{id}/progress", one.job_stream),
        ("GET", "/jobs/{id}/result", results.read_result),
        ("DELETE", "/jobs/{id}/result", results.delete_result),
        ("GET", "/jobs/{id}/logs", history.read_logs),
        ("GET", "/jobs/{id}/attempts", history.list_attempts),
        ("GET", "/jobs/{id}/badge.svg", jobs.read_badge),
        ("GET", "/jobs/{id}/files", files.list_files),
        ("GET", "/jobs/{id}/files.zip", files.read_archive),
        ("GET", "/jobs/{id}/files/{name:[^/]+}", files.read_file),  # braces too, which aiohttp would leave out
        ("POST", "/jobs/{id}/retry", retries.retry_job),
        ("GET", "/jobs/{id}/deliveries", deliveries.list_deliveries),
        ("POST", "/jobs/{id}/deliveries/{deliveryId}/redeliver", deliveries.redeliver),
        ("POST", "/jobs/{id}/tickets", tickets.make_ticket),
        ("GET", "/jobs", lists.list_jobs),
        ("POST", "/jobs", submissions.create_job),
        ("GET", "/usage", lists.usage),
        *UPLOADS,
        ("GET", "/webhooks/deliveries", deliveries.list_all_deliveries),
        ("GET", "/webhooks/secret", secrets.list_secrets),
        ("POST", "/webhooks/secret/reveal", secrets.reveal_secret),
        ("POST", "/webhooks/secret/rotate", secrets.rotate_secret),
        ("POST", "/webhooks/test", secrets.send_test),
        *OF_WORKERS,
        ("GET", "/job-types", job_types.job_types),
        ("GET", "/session", sessions.read_session),
        ("POST", "/session", sessions.open_session),
        ("DELETE", "/session", sessions.end_session),
        ("GET", "/operations/{id}", azure.read_operation),
        ("GET", "/v1/jobs/operations", google.list_operations),
        ("GET", "/v1/jobs/operations/{id:[^/:]+}", google.read_operation),
        ("DELETE", "/v1/jobs/operations/{id:[^/:]+}", google.delete_operation),
        ("POST", "/v1/jobs/operations/{id}:cancel", google.cancel_operation),
        ("GET", "/healthz", health.healthz),
        ("GET", "/readyz", health.readyz),
        ("GET", "/metrics", metrics.metrics),
        ("GET", "/openapi.json", openapi),
        ("GET", "/docs", pages.docs),
        ("GET", "/", pages.index),
        ("GET", "/static/{path:.+}", pages.static_file),
    ]


def _routes_of_types(registry: Registry) -> Routes:
    return [*(_of_one_type(job_type) for job_type in registry), *resource_routes(registry)]


def _of_one_type(job_type: JobType) -> tuple[str, str, Handler]:
    return ("POST", f"/jobs/{job_type.name}", partial(submissions.create_job_of_type, name=job_type.name))


def _only(allowed: Sequence[str]) -> Handler:
    """Refuses other methods on a path that would otherwise match `/jobs/{id}`."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, allowed)

    return refuse


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """`Expect` (RFC 9110, 10.1.1), with a problem where aiohttp would answer in plain text.

    An unauthorized client is refused before it sends the body.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() != "100-continue":
        return Problem("expectation-failed").response(request)
    try:
        await request.app[GATE].admit(request)
    except Problem as problem:
        request.app[REFUSALS].note(request, problem)
        await request.app[PENALTIES].delay(request, problem.status)
        return problem.response(request)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None
