"""The flights are what they claim to be: known before departure, real, and arriving month by month."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.data.snapshot import open_snapshot, take_snapshot
from pipelines.usecase import load_usecase
from pipelines.usecase.code import load_function

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "apps" / "flight-delays"
KNOWN_ONLY_AFTERWARDS = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "tailnum"]


@pytest.fixture(scope="module")
def usecase():
    return load_usecase(ROOT, "flight-delays")


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    return load_function(FOLDER, "model.py:load")()


@pytest.fixture
def raw():
    """The package's own tables, which a test may change before load() reads them."""
    folder = load_function(FOLDER, "model.py:_data_folder")()
    return pd.read_csv(folder / "flights.csv.zip"), pd.read_csv(folder / "weather.csv")


def test_it_is_the_whole_year_of_flights_that_arrived(flights):
    assert len(flights) == 327_346
    assert flights["scheduled_departure"].dt.year.isin([2013, 2014]).all()
    assert 0.23 < flights["late"].mean() < 0.25


def test_no_feature_is_named_after_what_is_only_known_afterwards(usecase):
    assert not set(usecase.data.features) & set(KNOWN_ONLY_AFTERWARDS)


@pytest.mark.slow
def test_nothing_known_only_afterwards_changes_a_feature(usecase, flights, raw, monkeypatch):
    """Scramble every such column among the flights that arrived: target aside, the table stays the same."""
    table, weather = raw
    arrived = table["arr_delay"].notna()
    rng = np.random.default_rng(0)
    for column in KNOWN_ONLY_AFTERWARDS:
        values = table.loc[arrived, column].to_numpy()
        table.loc[arrived, column] = rng.permutation(values)
    monkeypatch.setattr(pd, "read_csv", lambda path: (table if "flights.csv" in str(path) else weather).copy())
    scrambled = load_function(FOLDER, "model.py:load")()

    features = [*usecase.data.features, "scheduled_departure", "flight"]
    pd.testing.assert_frame_equal(scrambled[features], flights[features])
    assert (scrambled["late"] != flights["late"]).mean() > 0.3


def test_the_weather_is_that_of_the_hour_before(flights, raw):
    _, weather = raw
    flight = flights.iloc[0]
    hour_before = flight["scheduled_departure"].floor("h") - pd.Timedelta(hours=1)
    observed = weather[(weather["origin"] == flight["origin"]) & (pd.to_datetime(weather["time_hour"]) == hour_before)]
    assert observed["temp"].iloc[0] == flight["temperature"]


def test_an_as_of_run_sees_only_flights_whose_delay_was_known(usecase, tmp_path):
    spring = take_snapshot(usecase, FOLDER, str(tmp_path), datetime(2013, 4, 1, tzinfo=UTC))
    table = open_snapshot(spring).to_pandas()
    assert table["scheduled_departure"].max() <= pd.Timestamp("2013-03-31", tz="UTC")
    assert 70_000 < spring.rows < 80_000
    assert spring.version != take_snapshot(usecase, FOLDER, str(tmp_path), datetime(2013, 5, 1, tzinfo=UTC)).version


def test_it_drifts_for_real(flights):
    """Population stability index of the temperature, by deciles of the first quarter (Siddiqi, 2006)."""
    month = flights["scheduled_departure"].dt.month
    winter = flights.loc[month <= 3, "temperature"].dropna()
    april = flights.loc[month == 4, "temperature"].dropna()
    edges = np.quantile(winter, np.linspace(0, 1, 11))
    edges[0], edges[-1] = -np.inf, np.inf
    expected = np.histogram(winter, edges)[0] / len(winter)
    actual = np.clip(np.histogram(april, edges)[0] / len(april), 1e-4, None)
    assert np.sum((actual - expected) * np.log(actual / expected)) > 1
