"""What a server's `/metrics` says, as Prometheus' own parser reads it."""

from collections.abc import Callable, Mapping

from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import ServerProcess

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(server: ServerProcess, **headers: str) -> Samples:
    reply = server.request("GET", "/metrics", headers=headers)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(reply.body.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def metric(server: ServerProcess, name: str, **labels: str) -> Callable[[], float]:
    return lambda: value(scrape(server), name, **labels)
