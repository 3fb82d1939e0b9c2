import json

from pipelines.training.formats.exporter import Exporter, NotExportable


class LinearJsonExporter(Exporter):
    name = "linear-json"

    def takes(self, model):
        return hasattr(model, "coef_") and hasattr(model, "intercept_")

    def export(self, model, signature, folder):
        if len(model.coef_) != 1:
            raise NotExportable("linear-json holds models of two classes")
        weights = dict(zip(signature.fields, map(float, model.coef_[0]), strict=True))
        text = json.dumps({"weights": weights, "bias": float(model.intercept_[0])}, indent=2)
        (folder / "model.json").write_text(text + "\n")

    def answer(self, model, signature, columns, frame):
        return model.predict_proba(frame).astype("float32")
