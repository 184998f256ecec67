"""The bundled job types, each about a page long: what to read before writing one's own."""

from typing import Final

MODULES: Final = (
    "server.samples.csv_report",
    "server.samples.csv_import",
    "server.samples.transcode",
    "server.samples.weather",
    "server.samples.lottery",
    "server.samples.sales_report",
    "server.samples.todo",
    "server.samples.ping",
)
"""The modules that register a job type. Names, so that nothing is loaded before it is wanted."""
