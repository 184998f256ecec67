"""`weather`: simulates a city's temperature: a few seconds of work with a reproducible result."""

import datetime as dt
import hashlib
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from headway import BlockingContext, job

PATHS: Final = 20_000
_BATCH: Final = 100
_HOURS: Final = 10 * 24
_WET: Final = 0.8


class Weather(BaseModel):
    """A city and a day. The forecast for both is always the same."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"city": "Zürich", "date": "2026-07-01"}]})

    city: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"\S",
        title="City",
        description="Any name: the climate is made up.",
    )
    date: dt.date | None = Field(default=None, title="Day", description="Today (UTC) if omitted.")


class Forecast(BaseModel):
    """The simulated forecast."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    city: str
    date: dt.date
    temperature_c: float = Field(description="Mean over all paths")
    summary: str = Field(description="Temperature and sky in a few words")


@dataclass(frozen=True, slots=True)
class Climate:
    """A made-up climate; temperatures in °C, `warmest` as a share of the year."""

    mean: float
    amplitude: float
    warmest: float
    humidity: float

    def seasonal(self, day: dt.date) -> float:
        """Return the expected temperature on a day of the year."""
        share = day.timetuple().tm_yday / 365.25
        return self.mean + self.amplitude * math.cos(2 * math.pi * (share - self.warmest))


@job("weather", title="Forecast the weather")
def weather(ctx: BlockingContext, input: Weather) -> Forecast:
    """Simulates thousands of possible weather paths, hour by hour, in a made-up climate. Reproducible."""
    day = input.date or dt.datetime.now(dt.UTC).date()
    city = input.city.strip()
    ctx.progress(0, PATHS, unit="paths", step="reading the climate")
    climate = climate_of(city)
    expected = climate.seasonal(day)
    chance = Random(f"{city.casefold()} {day.isoformat()}")  # noqa: S311 - reproducible, not secret
    temperatures: list[float] = []
    rainy = 0
    ctx.progress(step="simulating")
    for first in range(0, PATHS, _BATCH):
        ctx.raise_if_cancelled()
        for _ in range(_BATCH):
            anomaly, humidity = simulate(climate.humidity, chance.gauss)
            temperatures.append(expected + anomaly)
            rainy += humidity > _WET
        so_far = statistics.fmean(temperatures)
        ctx.progress(first + _BATCH, message=f"{so_far:.1f} °C so far")
    ctx.progress(step="summing up")
    mean, rain_chance = statistics.fmean(temperatures), rainy / PATHS
    low, *_, high = statistics.quantiles(temperatures, n=10)
    ctx.log(f"{low:.1f} to {high:.1f} °C in 8 of 10 paths, chance of rain {rain_chance:.0%}")
    return Forecast(
        city=city,
        date=day,
        temperature_c=round(mean, 1),
        summary=summarise(mean, rain_chance),
    )


def climate_of(city: str) -> Climate:
    """Derive a climate from the city's name: always the same one."""
    digest = hashlib.sha256(city.casefold().encode()).digest()
    mean, amplitude, hemisphere, humidity = (byte / 255 for byte in digest[:4])
    return Climate(
        mean=4 + 20 * mean,
        amplitude=3 + 9 * amplitude,
        warmest=0.55 if hemisphere < 0.75 else 0.05,  # noqa: PLR2004 - three quarters of all cities are northern
        humidity=0.35 + 0.3 * humidity,
    )


def simulate(humidity_mean: float, gauss: Callable[[float, float], float]) -> tuple[float, float]:
    """Simulate one path of ten days; return the anomaly in °C and the humidity (0 to 1) at its end.

    Both are Ornstein-Uhlenbeck processes (Euler-Maruyama, one-hour steps) that revert to their means within two
    days. Humid air is cooler.
    """
    anomaly, humidity = 0.0, humidity_mean
    for _ in range(_HOURS):
        humidity += 0.02 * (humidity_mean - humidity) + gauss(0, 0.04)
        anomaly += 0.02 * (2 * (humidity_mean - humidity) - anomaly) + gauss(0, 0.6)
    return anomaly, min(1.0, max(0.0, humidity))


def summarise(temperature_c: float, rain_chance: float) -> str:
    """Describe the weather in a few words."""
    warmth = next(word for limit, word in _WARMTH if temperature_c < limit)
    frost = 0.0
    falling = "snow" if temperature_c < frost else "rain"
    sky = next(word for limit, word in _SKY if rain_chance < limit)
    return f"{warmth}, {sky.format(falling)}"


_WARMTH: Final = ((0, "freezing"), (8, "cold"), (16, "mild"), (24, "warm"), (math.inf, "hot"))
_SKY: Final = (
    (0.1, "clear"),
    (0.2, "partly cloudy"),
    (0.35, "cloudy with a chance of {}"),
    (math.inf, "{} likely"),
)
