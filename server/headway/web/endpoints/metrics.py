"""`/metrics`: what the rooms count, in Prometheus' format. Made anew for each request, without global state."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ...clock import utc_now
from ...domain.jobs import Status
from ...errors import StoreUnavailableError
from ...metrics import DELIVERY_OUTCOMES, CommitMetrics, DeliveryMetrics, Histogram, JobMetrics, RequestMetrics
from ...ports.record import Levels
from ..connections.limits import CONNECTIONS
from ..identity.gate import refuse_unless_operator
from ..parts import Parts, parts
from ..responses.json import NOT_KEPT
from ..streams.open_streams import OpenStreams


async def metrics(request: web.Request) -> web.Response:
    """`GET /metrics`: for operators only, because the figures are those of all owners."""
    refuse_unless_operator(request)
    now = utc_now()
    try:
        levels = await parts(request).keeper.levels(now)
    except StoreUnavailableError:
        levels = None  # the other figures are needed all the more
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Headway(parts(request), len(request.app[CONNECTIONS]), levels, now))
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(registry), headers={"Content-Type": content_type, **NOT_KEPT})


@dataclass(frozen=True, slots=True, eq=False)
class _Headway(Collector):
    """A snapshot of the server."""

    parts: Parts
    connections: int
    levels: Levels | None
    now: datetime

    def collect(self) -> Iterator[Metric]:
        if self.levels is not None:
            yield from _levels(self.levels, self.now)
        metrics = self.parts.metrics
        yield from _jobs(metrics.jobs)
        yield _deliveries(metrics.deliveries)
        yield from _streams(self.parts.streams)
        yield from _held_open(self.parts, self.connections)
        yield from _commits(metrics.commits)
        yield from _requests(metrics.requests)
        lag = {(): metrics.loop_lag}
        yield _histogram("headway_event_loop_lag_seconds", "How late the event loop ran a timer.", (), lag)


def _levels(levels: Levels, now: datetime) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("headway_jobs", "Jobs in the record.", labels=("type", "status"))
    age = GaugeMetricFamily(
        "headway_queue_age_seconds",
        "How long the oldest waiting job has been ready to run. Those that wait for a quota are not.",
        labels=("type",),
    )
    for job_type, counts in sorted(levels.counts.by_type.items()):
        for status in Status:
            jobs.add_metric((job_type, status.value), counts.get(status, 0))
        since = levels.waiting_since.get(job_type, now)
        age.add_metric((job_type,), max(0.0, (now - since).total_seconds()))
    yield jobs
    yield age
    yield GaugeMetricFamily(
        "headway_kept_bytes",
        "Bytes that all jobs keep, as quotas count them: inputs, uploads, results, output files, logs, checkpoints.",
        value=levels.kept_bytes,
    )
    yield GaugeMetricFamily(
        "headway_deliveries_pending",
        "Webhook deliveries that are still to be made.",
        value=levels.pending_deliveries,
    )


def _jobs(jobs: JobMetrics) -> Iterator[Metric]:
    waited = {(job_type,): histogram for job_type, histogram in jobs.waited.items()}
    yield _histogram(
        "headway_job_wait_seconds", "Time from when a job was ready to run to its claim.", ("type",), waited
    )
    yield _histogram("headway_job_run_seconds", "Time from claim to the attempt's end.", ("type", "outcome"), jobs.ran)
    cpu = {(job_type,): histogram for job_type, histogram in jobs.cpu_s.items()}
    yield _histogram("headway_job_cpu_seconds", "CPU time of an attempt's processes.", ("type",), cpu)
    memory = {(job_type,): histogram for job_type, histogram in jobs.peak_memory_bytes.items()}
    yield _histogram(
        "headway_job_peak_memory_bytes", "Peak resident memory of an attempt's largest process.", ("type",), memory
    )


def _deliveries(deliveries: DeliveryMetrics) -> Metric:
    attempts = CounterMetricFamily(
        "headway_delivery_attempts", "Attempts to deliver a webhook, by outcome.", labels=("outcome",)
    )
    for outcome in DELIVERY_OUTCOMES:
        attempts.add_metric((outcome,), deliveries.attempts[outcome])
    return attempts


def _streams(streams: OpenStreams) -> Iterator[Metric]:
    yield GaugeMetricFamily("headway_streams_open", "Event streams that are open.", value=len(streams))
    sent, skipped = streams.frames_sent, streams.frames_skipped
    yield CounterMetricFamily("headway_stream_frames_sent", "Frames sent on event streams.", value=sent)
    yield CounterMetricFamily(
        "headway_stream_frames_skipped", "Frames skipped because the client was behind.", value=skipped
    )


def _held_open(parts: Parts, connections: int) -> Iterator[Metric]:
    waits, arriving = len(parts.service.waiting), parts.arriving
    yield GaugeMetricFamily("headway_connections_open", "Connections that are open.", value=connections)
    yield GaugeMetricFamily("headway_waits_open", "Requests that wait for a job.", value=waits)
    yield GaugeMetricFamily("headway_bodies_arriving", "Bodies being received.", value=len(arriving.contents))
    yield GaugeMetricFamily("headway_uploads_under_way", "Forms being received and recorded.", value=arriving.uploads)


def _commits(commits: CommitMetrics) -> Iterator[Metric]:
    seconds, operations = {(): commits.seconds}, {(): commits.operations}
    yield _histogram("headway_commit_seconds", "Time until a transaction was durable.", (), seconds)
    yield _histogram("headway_commit_operations", "Changes that shared a transaction.", (), operations)


def _requests(requests: RequestMetrics) -> Iterator[Metric]:
    labels = ("method", "route", "status")
    answered = CounterMetricFamily("headway_requests", "Requests that were answered.", labels=labels)
    for (method, route, status), of_kind in requests.answered.items():
        answered.add_metric((method, route, str(status)), of_kind.count)
    yield answered
    timed = [(*key, of_kind.seconds) for key, of_kind in requests.answered.items() if of_kind.seconds.count]
    seconds = {(method, route, str(status)): histogram for method, route, status, histogram in timed}
    yield _histogram("headway_request_seconds", "Time to send a response, except streams and files.", labels, seconds)


def _histogram(name: str, text: str, labels: Sequence[str], found: Mapping[Any, Histogram]) -> HistogramMetricFamily:
    """`found`: the histograms by their labels' values."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in found.items():
        buckets = [("+Inf" if bound == float("inf") else repr(bound), count) for bound, count in histogram.cumulative()]
        family.add_metric(values, buckets, histogram.sum)
    return family
