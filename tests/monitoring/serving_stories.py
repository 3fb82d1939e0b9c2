"""Alerts about a model that serves: when they fire, when they do not, when they stop."""

from tests.monitoring.rules import Story
from tests.monitoring.scenes import FLIGHTS, OF, OWNER, RELEASE, UP, answers, model, within

SERVING = [
    model("the last server goes, and comes back")
    .given(UP, "1x10 0x9 1x20")
    .silent("ModelDown", 10, 12)
    .fires(
        "ModelDown",
        15,
        says="flights is down in staging: a version is released, and no server of it can be asked",
        **FLIGHTS,
    )
    .silent("ModelDown", 21),
    model("one of two servers goes: the other answers")
    .given(UP, "1x40")
    .given(UP.replace("pod-1", "pod-2"), "1x5 0x35")
    .silent("ModelDown", 20, 40),
    model("released, and no server was ever found")
    .given(RELEASE, "1x20 _x20")
    .fires("ModelDown", 5, **FLIGHTS)
    .silent("ModelDown", 30),
    Story("the monitor has never said a word: the platform's people are told")
    .given(UP, "0x10")
    .fires("ModelDown", 5, usecase="flights", environment="staging", owner="platform"),
    Story("the monitor goes down with the model: its last word about the owner holds")
    .given(OWNER, "1x10 _x20")
    .given(UP, "1x15 0x15")
    .fires("ModelDown", 20, **FLIGHTS),
    Story("a use case that has just changed hands has one owner, the new one")
    .given(OWNER, "1x10 _x20")
    .given(OWNER.replace("flight-team", "other-team"), "_x10 1x20")
    .given(UP, "1x15 0x15")
    .fires("ModelDown", 20, **{**FLIGHTS, "owner": "other-team"}),
    model("a tenth of the answers are errors, for ten minutes")
    .given(answers(200), "0+100x60 6000+90x10 6900+100x120")
    .given(answers(500), "0x60 0+10x10 110x120")
    .silent("ErrorBudgetBurnsFast", 59)
    .fires(
        "ErrorBudgetBurnsFast",
        70,
        says="flights in staging fails on 1.525% of the requests",
        **FLIGHTS,
    )
    .silent("ErrorBudgetBurnsFast", 115, 180),
    model("one error an hour on a model that is seldom asked")
    .given(answers(200), "0+1x360")
    .given(answers(500), "0x60 1x60 2x60 3x180")
    .silent("ErrorBudgetBurnsFast", 65, 125, 185, 300),
    model("callers send what is wrong: no errors of the server's own")
    .given(answers(200), "0+10x120")
    .given(answers(400), "0+90x120")
    .silent("ErrorBudgetBurnsFast", 60, 120)
    .silent("ErrorBudgetBurnsSlowly", 120),
    model("probes that fail or succeed do not count")
    .given(answers(200), "0+100x120")
    .given(answers(503, "/readyz"), "0+100x120")
    .silent("ErrorBudgetBurnsFast", 60, 120),
    model("three in a thousand for days, then none", step=5)
    .given(answers(200), "0+997x600 598200+1000x400")
    .given(answers(500), "0+3x600 1800x400")
    .silent("ErrorBudgetBurnsSlowly", 30)
    .fires(
        "ErrorBudgetBurnsSlowly",
        2900,
        says="flights in staging has failed on 0.3% of the requests for days",
        **FLIGHTS,
    )
    .silent("ErrorBudgetBurnsFast", 600, 2900)
    .silent("ErrorBudgetBurnsSlowly", 3500),
    model("the slowest two in a hundred take longer than promised, then all is well again")
    .given(within("0.05"), "0+98x40 3920+100x40")
    .given(within("0.1"), "0+100x80")
    .given(within("+Inf"), "0+100x80")
    .given(answers(200), "0+100x80")
    .silent("ModelSlow", 8)
    .fires("ModelSlow", 30, says="flights in staging is slow: one answer in a hundred takes 75ms or longer", **FLIGHTS)
    .silent("ModelSlow", 60),
    model("two slow answers of ten in five minutes say nothing about the hundredth")
    .given(within("0.05"), "0+2x40")
    .given(within("0.1"), "0+4x40")
    .given(within("+Inf"), "0+4x40")
    .given(answers(200), "0+4x40")
    .silent("ModelSlow", 30),
    model("predictions are lost in one burst, with a counter that is new")
    .given(UP, "1x60")
    .given(f'model_predictions_dropped_total{{reason="spool-full", instance="pod-1", {OF}}}', "_x10 40x50")
    .silent("PredictionsDropped", 9)
    .fires(
        "PredictionsDropped",
        12,
        says="flights in staging lost about 40 predictions: spool-full",
        reason="spool-full",
        **FLIGHTS,
    )
    .silent("PredictionsDropped", 40),
    model("predictions are lost again, and again")
    .given(f'model_predictions_dropped_total{{reason="queue-full", instance="pod-1", {OF}}}', "7x30 8+1x10 18x30")
    .silent("PredictionsDropped", 29)
    .fires("PredictionsDropped", 38, reason="queue-full", **FLIGHTS)
    .silent("PredictionsDropped", 65),
    model("the monitor is away for half an hour, then takes what waited")
    .given(f'model_predictions_oldest_spooled_seconds{{instance="pod-1", {OF}}}', "10x5 60+60x30 5x20")
    .silent("PredictionsLate", 20)
    .fires(
        "PredictionsLate", 30, says="Predictions of flights in staging have waited 25m 0s for the monitor", **FLIGHTS
    )
    .silent("PredictionsLate", 40),
]
