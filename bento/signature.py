"""What a model takes and gives: the contract that training writes and the server holds every request to.

A model folder holds

    model.onnx        where `format` is onnx: inputs named as the fields, number float32 [N, 1], category string
                      [N, 1], tensor [N, *shape]; one output, `probabilities` float32 [N, classes] or `values`
                      float32 [N, 1]. Other formats have files of their own, see bento.formats
    signature.json    this contract
    golden.json       a few real instances and the answers they must get
    provenance.json   where the model comes from (added when it is packed)
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from bento.documents import Document, Value

MODEL_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"
GOLDEN_FILE = "golden.json"
PROVENANCE_FILE = "provenance.json"

PROBABILITIES = "probabilities"
VALUES = "values"

Size = Annotated[int, Field(ge=1, lt=2**31)]
ClassName = (
    bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | str
)  # numbers that every JSON reader and store can hold


class NumberField(Value):
    """One number; `nullable` numbers may be null and reach the model as NaN."""

    type: Literal["number"] = "number"
    min: float | None = None
    max: float | None = None
    nullable: bool = False


class CategoryField(Value):
    """One text; with `one_of` closed, otherwise the model decides. A null reaches the model as the empty text."""

    type: Literal["category"] = "category"
    one_of: tuple[str, ...] | None = None
    nullable: bool = False


class TensorField(Value):
    """An array of exactly this shape (without the batch axis)."""

    type: Literal["tensor"] = "tensor"
    shape: tuple[Size, ...]
    dtype: Literal["uint8", "float32"]
    min: float | None = None
    max: float | None = None


Field_ = Annotated[NumberField | CategoryField | TensorField, Field(discriminator="type")]


class Signature(Document):
    """A model's inputs, in order, and what it answers. `classes` names the columns of `probabilities`.

    `format` says how the model is kept in its folder; before it was written, all were ONNX.
    """

    KIND = "signature"

    name: str
    task: Literal["classification", "regression"]
    fields: dict[str, Field_]
    classes: tuple[ClassName, ...] | None = None
    max_batch: Size = 1000
    format: str = "onnx"

    @property
    def tensor(self) -> tuple[str, TensorField] | None:
        """The single tensor input, for models that take pictures or vectors."""
        return next(((name, field) for name, field in self.fields.items() if isinstance(field, TensorField)), None)


class Golden(Document):
    """Instances as a client would send them, and the raw model outputs they must get."""

    KIND = "golden"

    instances: list[JsonValue]
    outputs: list[list[float]]
    tolerance: float = 1e-4


class Provenance(Document):
    """Where a packed model comes from."""

    KIND = "provenance"

    bento: str
    model: str
    run: str
    data: str
    code: str
    created: str
