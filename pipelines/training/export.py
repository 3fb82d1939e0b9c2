"""The contract of an exported model, read off usecase.yaml. pipelines.training.formats exports the model itself."""

from typing import Any

from bento.signature import CategoryField, NumberField, Signature, TensorField
from pipelines.training.formats.exporter import NotExportable
from pipelines.usecase import UseCase
from pipelines.usecase.model import CategoryFeature, Feature, NumberFeature

__all__ = ["NotExportable", "signature_of"]


def signature_of(usecase: UseCase, classes: tuple[Any, ...] | None, model_format: str = "onnx") -> Signature:
    """What the server will accept and answer, read off usecase.yaml."""
    return Signature(
        name=usecase.name,
        task=usecase.task,
        fields={name: _field(feature) for name, feature in usecase.data.features.items()},
        classes=classes,
        max_batch=usecase.serving.max_batch,
        format=model_format,
    )


def _field(feature: Feature) -> NumberField | CategoryField | TensorField:
    if isinstance(feature, NumberFeature):
        return NumberField(min=feature.min, max=feature.max, nullable=feature.max_missing > 0)
    if isinstance(feature, CategoryFeature):
        allowed = tuple(feature.one_of) if feature.one_of else None
        return CategoryField(one_of=allowed, nullable=feature.max_missing > 0)
    return TensorField(shape=feature.shape, dtype=feature.dtype, min=feature.min, max=feature.max)
