"""The bundled job types, each about a page long. Read one before you write your own; they import `headway` only."""

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
"""The modules that register a job type, by name, so that none is loaded before it is needed."""
