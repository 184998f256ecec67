"""The modules of the sample job types. Names, so that a server without samples loads none of them."""

from typing import Final

SAMPLES: Final = (
    "headway.samples.csv_report",
    "headway.samples.csv_import",
    "headway.samples.transcode",
    "headway.samples.weather",
    "headway.samples.lottery",
    "headway.samples.sales_report",
    "headway.samples.todo",
    "headway.samples.ping",
)
