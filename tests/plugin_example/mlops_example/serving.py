import json

import numpy as np

from bento.errors import ModelFileBroken
from bento.formats.format import ModelFormat


class LinearModel:
    def __init__(self, weights, bias):
        self.weights, self.bias = weights, bias

    def run(self, columns):
        total = sum(weight * columns[name] for name, weight in self.weights.items()) + self.bias
        yes = 1 / (1 + np.exp(-total))
        return np.stack([1 - yes, yes], axis=1).astype("float32")


class LinearJson(ModelFormat):
    name = "linear-json"
    files = ("model.json",)
    training = "mlops_example.training:LinearJsonExporter"

    def load(self, folder, signature):
        path = folder / "model.json"
        try:
            model = json.loads(path.read_text())
            return LinearModel(model["weights"], model["bias"])
        except (ValueError, KeyError) as error:
            raise ModelFileBroken(f"{path} is no linear model: {error}") from error
