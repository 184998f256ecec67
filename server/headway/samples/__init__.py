"""The bundled job types, each about a page long: what to read before writing one's own."""

from typing import Final

MODULES: Final = (
    "headway.samples.csv_report",
    "headway.samples.csv_import",
    "headway.samples.transcode",
    "headway.samples.weather",
    "headway.samples.lottery",
    "headway.samples.sales_report",
    "headway.samples.todo",
    "headway.samples.ping",
)
"""The modules that register a job type. Names, so that nothing is loaded before it is wanted."""
