"""How faults speak of JSON values and of what a field takes."""

from typing import Any

import numpy as np
import orjson

from bento.signature import NumberField, TensorField

FLOAT32_MAX = float(np.finfo(np.float32).max)
LONGEST = 40

KINDS = {
    bool: "a boolean",
    int: "a whole number",
    float: "a number with a fraction",
    str: "a text",
    list: "a list",
    dict: "an object",
}


def kind(value: Any) -> str:
    """What a JSON value is, in words."""
    return "null" if value is None else KINDS[type(value)]


def short(value: Any) -> str:
    """A JSON value as a client wrote it, cut where it is long: nobody's body is echoed whole."""
    return cut(str(value) if isinstance(value, int) else orjson.dumps(value).decode())


def cut(text: str) -> str:
    """A text, cut where it is long."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def limits(field: NumberField | TensorField) -> tuple[float, float]:
    """The least and the greatest number that the field takes and its type can hold."""
    least, most = (
        (0.0, 255.0) if isinstance(field, TensorField) and field.dtype == "uint8" else (-FLOAT32_MAX, FLOAT32_MAX)
    )
    return (least if field.min is None else max(least, field.min), most if field.max is None else min(most, field.max))


def span(field: NumberField | TensorField) -> str:
    """The field's range in words."""
    low, high = limits(field)
    if (low, high) == (-FLOAT32_MAX, FLOAT32_MAX):
        return "a finite 32-bit number"
    if low == -FLOAT32_MAX:
        return f"at most {high:g}"
    if high == FLOAT32_MAX:
        return f"at least {low:g}"
    return f"{low:g} to {high:g}"
