"""The weather: reproducible and physically plausible."""

import datetime as dt
import re
import statistics
from random import Random

import pytest
from headway.samples import weather as forecasting
from headway.samples.weather import Climate, Weather, climate_of, simulate, summarise, weather
from headway.testing import run
from pydantic import ValidationError

DAY = dt.date(2026, 7, 1)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "PATHS", 200)


def test_the_same_city_and_day_have_the_same_weather() -> None:
    first, again, elsewhere = (
        run(weather, Weather(city=city, date=DAY)).result for city in ("Zürich", " zürich ", "Oslo")
    )
    assert again.temperature_c == first.temperature_c
    assert elsewhere.temperature_c != first.temperature_c


def test_the_result_has_a_city_a_day_a_temperature_and_a_summary() -> None:
    result = run(weather, {"city": "Bern", "date": "2026-07-01"}).json
    assert list(result) == ["city", "date", "temperatureC", "summary"]
    assert (result["city"], result["date"]) == ("Bern", "2026-07-01")


def test_the_log_states_how_certain_the_forecast_is() -> None:
    ran = run(weather, Weather(city="Bern", date=DAY))
    (line,) = ran.messages
    found = re.fullmatch(r"(-?[\d.]+) to (-?[\d.]+) °C in 8 of 10 paths, chance of rain \d+%", line)
    assert found is not None
    assert float(found[1]) < ran.result.temperature_c < float(found[2])


def test_progress_is_in_simulated_paths() -> None:
    last = run(weather, Weather(city="Bern", date=DAY)).progress[-1]
    assert (last.done, last.total, last.unit, last.step) == (200, 200, "paths", "summing up")


def test_the_climate_is_warmest_at_its_warmest_day() -> None:
    climate = Climate(mean=10, amplitude=8, warmest=0.55, humidity=0.5)
    year = [climate.seasonal(dt.date(2026, 1, 1) + dt.timedelta(days=day)) for day in range(365)]
    assert max(year) == pytest.approx(18, abs=0.01)
    assert year.index(max(year)) == pytest.approx(0.55 * 365, abs=2)


def test_the_ends_of_paths_have_the_standard_deviation_of_the_process() -> None:
    """Stationary Ornstein-Uhlenbeck: sigma / sqrt(2 theta), about 3 °C, around no anomaly."""
    gauss = Random(4).gauss
    anomalies = [simulate(0.5, gauss)[0] for _ in range(1500)]
    assert statistics.fmean(anomalies) == pytest.approx(0, abs=0.4)
    assert statistics.stdev(anomalies) == pytest.approx(0.6 / (2 * 0.02) ** 0.5, rel=0.15)


@pytest.mark.parametrize(
    ("temperature", "rain", "words"),
    [
        (-5, 0.9, "freezing, snow likely"),
        (12, 0.0, "mild, clear"),
        (20, 0.3, "warm, cloudy with a chance of rain"),
        (35, 0.15, "hot, partly cloudy"),
    ],
)
def test_the_summary_describes_temperature_and_sky(temperature: float, rain: float, words: str) -> None:
    assert summarise(temperature, rain) == words


def test_climates_differ_from_city_to_city() -> None:
    assert len({climate_of(f"city {number}").mean for number in range(50)}) > 30


@pytest.mark.parametrize("bad", [{}, {"city": ""}, {"city": "  "}, {"city": "Bern", "date": "2026-02-30"}])
def test_a_city_must_have_a_name_and_a_day_must_exist(bad: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Weather.model_validate(bad)


@pytest.mark.parametrize("day", [dt.date.min, dt.date.max])
def test_every_day_has_a_forecast(day: dt.date) -> None:
    assert run(weather, Weather(city="Bern", date=day)).result.date == day


def test_a_cancelled_forecast_stops() -> None:
    ran = run(weather, Weather(city="Bern"), cancel_when=lambda report: report.done == 0)
    assert (ran.status, ran.progress[-1].done) == ("cancelled", 0)
