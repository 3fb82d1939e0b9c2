import numpy as np

from pipelines.evaluation.formulas import MetricUndefined
from pipelines.metric_catalog import Metric

MISSED, FALSE_ALARM = 5.0, 1.0


def cost(answers):
    """Five for a positive that was missed, one for a false alarm; the mean over the rows."""
    if answers.positive is None:
        raise MetricUndefined("costs are for two classes")
    truth, said = answers.are(answers.positive), answers.predicted == answers.positive
    return float(np.mean(np.where(truth & ~said, MISSED, np.where(said & ~truth, FALSE_ALARM, 0.0))))


mean_cost = Metric("classification", "lower", "mean cost of a row", cost, lowest=0, highest=MISSED)
