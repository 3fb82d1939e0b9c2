"""From a request's body to the model's columns, or to a list of what is wrong with it.

Nothing is converted silently: a text is no number, 1.5 is no pixel, true is no 1. What an unknown value of an open
category means is the model's to decide; a closed one (`one_of`) refuses it here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from bento.errors import BentoError
from bento.signature import CategoryField, NumberField, Signature, TensorField

MOST_FAULTS = 20
FLOAT32_MAX = float(np.finfo(np.float32).max)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: in which instance (counted from 0), in which field, and what would be right."""

    detail: str
    instance: int | None = None
    field: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            k: v
            for k, v in (("instance", self.instance), ("field", self.field), ("detail", self.detail))
            if v is not None
        }


class InvalidBody(BentoError):
    """The body as a whole is not what the API takes."""


@dataclass
class InvalidInstances(BentoError):
    """Instances that do not fit the signature; at most the first 20 faults are listed."""

    faults: list[Fault] = field(default_factory=list)

    def __str__(self) -> str:
        return "; ".join(fault.detail for fault in self.faults)


def parse_json(body: bytes, signature: Signature) -> dict[str, Array]:
    """`{"instances": [...]}` → columns, one entry an instance."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidBody(f"the body is not valid JSON: {error}") from None
    instances = _instances(document, signature)
    if signature.tensor:
        name, tensor = signature.tensor
        # A boolean among numbers would become a 1; looking for the words first keeps the fast way safe.
        suspicious = b"true" in body or b"false" in body
        return {name: _tensors(name, tensor, instances, suspicious)}
    return _table(signature, instances)


def parse_bytes(body: bytes, signature: Signature) -> dict[str, Array]:
    """Raw tensors one after the other, little endian → the one tensor column."""
    if signature.tensor is None:
        raise InvalidBody("raw bytes are for models with a tensor; send application/json")
    name, tensor = signature.tensor
    dtype = np.dtype(tensor.dtype).newbyteorder("<")
    size = int(np.prod(tensor.shape)) * dtype.itemsize
    if not body or len(body) % size:
        raise InvalidBody(
            f"{len(body)} bytes are no whole number of instances: one is {size} bytes, {tensor.dtype} {list(tensor.shape)}"
        )
    count = len(body) // size
    _require_count(count, signature)
    values = np.frombuffer(body, dtype=dtype).reshape(count, *tensor.shape)
    faults = list(_range_faults(name, tensor, values))
    if faults:
        raise InvalidInstances(faults[:MOST_FAULTS])
    return {name: values}


def _instances(document: Any, signature: Signature) -> list[Any]:
    if not isinstance(document, dict):
        raise InvalidBody(f'the body is {_kind(document)}; expected an object {{"instances": [...]}}')
    if "instances" not in document:
        raise InvalidBody('the key "instances" is missing; expected {"instances": [...]}')
    extra = sorted(document.keys() - {"instances"})
    if extra:
        raise InvalidBody(f'unknown key {extra[0]!r}; the only key is "instances"')
    instances = document["instances"]
    if not isinstance(instances, list):
        raise InvalidBody(f'"instances" is {_kind(instances)}; expected a list')
    _require_count(len(instances), signature)
    return instances


def _require_count(count: int, signature: Signature) -> None:
    if count == 0:
        raise InvalidBody('"instances" is empty; send at least one')
    if count > signature.max_batch:
        raise InvalidBody(f"{count} instances are too many; send at most {signature.max_batch} in one request")


# --- tables -----------------------------------------------------------------------------------------------


def _table(signature: Signature, instances: list[Any]) -> dict[str, Array]:
    faults: list[Fault] = []
    for index, instance in enumerate(instances):
        if not isinstance(instance, dict):
            faults.append(Fault(f"is {_kind(instance)}; expected an object with the fields {_names(signature)}", index))
        elif instance.keys() - signature.fields.keys():
            for stranger in sorted(instance.keys() - signature.fields.keys()):
                faults.append(Fault(f"unknown field; the fields are {_names(signature)}", index, stranger))
    rows = [instance if isinstance(instance, dict) else {} for instance in instances]
    if faults and len(faults) == len(rows) and not any(rows):
        raise InvalidInstances(faults[:MOST_FAULTS])
    columns = {}
    for name, declared in signature.fields.items():
        read = _numbers if isinstance(declared, NumberField) else _categories
        columns[name] = read(name, declared, rows, faults)  # type: ignore[arg-type]
    if faults:
        skipped = {index for index, instance in enumerate(instances) if not isinstance(instance, dict)}
        told = [fault for fault in faults if fault.field is None or fault.instance not in skipped]
        raise InvalidInstances(sorted(told, key=lambda fault: fault.instance or 0)[:MOST_FAULTS])
    return columns


def _numbers(name: str, declared: NumberField, rows: list[dict[str, Any]], faults: list[Fault]) -> Array:
    values = np.empty(len(rows), dtype=np.float32)
    low = -FLOAT32_MAX if declared.min is None else declared.min
    high = FLOAT32_MAX if declared.max is None else declared.max
    for index, row in enumerate(rows):
        value = row.get(name)
        kind = type(value)
        if kind is float or kind is int:
            if low <= value <= high:  # type: ignore[operator]
                values[index] = value
            else:
                faults.append(Fault(f"{_short(value)} is out of range; expected {_range(declared)}", index, name))
        elif value is None and declared.nullable:
            values[index] = np.nan
        else:
            faults.append(Fault(_missing_or_wrong(row, name, value, "a number", declared.nullable), index, name))
    return values


def _categories(name: str, declared: CategoryField, rows: list[dict[str, Any]], faults: list[Fault]) -> Array:
    values = np.empty(len(rows), dtype=object)
    allowed = frozenset(declared.one_of) if declared.one_of else None
    for index, row in enumerate(rows):
        value = row.get(name)
        if type(value) is str:
            if allowed is None or value in allowed:
                values[index] = value
            else:
                listed = ", ".join(declared.one_of or ())
                faults.append(Fault(f"{_short(value)} is not allowed; expected one of {listed}", index, name))
        elif value is None and declared.nullable:
            values[index] = ""
        else:
            faults.append(Fault(_missing_or_wrong(row, name, value, "a text", declared.nullable), index, name))
    return values


def _missing_or_wrong(row: dict[str, Any], name: str, value: Any, expected: str, nullable: bool) -> str:
    if name not in row:
        return f"is missing; expected {expected}"
    return f"is {_kind(value)}; expected {expected}{' or null' if nullable else ''}"


# --- tensors ----------------------------------------------------------------------------------------------


def _tensors(name: str, tensor: TensorField, instances: list[Any], suspicious: bool) -> Array:
    values = [
        instance.get(name) if isinstance(instance, dict) and instance.keys() == {name} else instance
        for instance in instances
    ]
    array = _as_array(values)
    fits = (
        array is not None
        and array.shape[1:] == tensor.shape
        and array.dtype.kind in ("iuf" if tensor.dtype == "float32" else "iu")
        and not suspicious
    )
    if not fits or array is None:
        raise InvalidInstances(list(_tensor_faults(name, tensor, instances))[:MOST_FAULTS])
    faults = list(_range_faults(name, tensor, array))
    if faults:
        raise InvalidInstances(faults[:MOST_FAULTS])
    return array.astype(tensor.dtype)


def _as_array(values: list[Any]) -> Array | None:
    try:
        return np.array(values)
    except (ValueError, OverflowError):  # ragged, or beyond 64 bits
        return None


def _range_faults(name: str, tensor: TensorField, array: Array) -> Iterator[Fault]:
    low, high = _limits(tensor)
    wrong = ~((array >= low) & (array <= high))
    if not wrong.any():
        return
    for position in np.argwhere(wrong)[:MOST_FAULTS]:
        index, *inside = (int(part) for part in position)
        value = array[tuple(position)]
        place = name + "".join(f"[{part}]" for part in inside)
        yield Fault(f"{value} is out of range; expected {_range(tensor)}", index, place)


def _tensor_faults(name: str, tensor: TensorField, instances: list[Any]) -> Iterator[Fault]:
    """The slow way, taken once something is wrong: find where, and say it."""
    found = 0
    for index, instance in enumerate(instances):
        value = instance
        if isinstance(instance, dict):
            strangers = sorted(instance.keys() - {name})
            if strangers:
                yield Fault(f"unknown field; the only field is {name}", index, strangers[0])
                found += 1
                continue
            if name not in instance:
                yield Fault(f"is missing; expected {_shape(tensor)}", index, name)
                found += 1
                continue
            value = instance[name]
        for place, detail in _nested_faults(value, tensor, tensor.shape, name):
            yield Fault(detail, index, place)
            found += 1
            if found >= MOST_FAULTS:
                return


def _nested_faults(value: Any, tensor: TensorField, shape: tuple[int, ...], place: str) -> Iterator[tuple[str, str]]:
    if not shape:
        yield from _scalar_faults(value, tensor, place)
    elif not isinstance(value, list):
        yield place, f"is {_kind(value)}; expected a list of {shape[0]} (the whole is {_shape(tensor)})"
    elif len(value) != shape[0]:
        yield place, f"has {len(value)} entries; expected {shape[0]} (the whole is {_shape(tensor)})"
    else:
        for position, entry in enumerate(value):
            yield from _nested_faults(entry, tensor, shape[1:], f"{place}[{position}]")


def _scalar_faults(value: Any, tensor: TensorField, place: str) -> Iterator[tuple[str, str]]:
    low, high = _limits(tensor)
    expected = "a whole number" if tensor.dtype == "uint8" else "a number"
    if type(value) is not int and (type(value) is not float or tensor.dtype == "uint8"):
        yield place, f"is {_kind(value)}; expected {expected}"
    elif not low <= value <= high:
        yield place, f"{_short(value)} is out of range; expected {_range(tensor)}"


def _limits(tensor: TensorField) -> tuple[float, float]:
    low, high = (0.0, 255.0) if tensor.dtype == "uint8" else (-FLOAT32_MAX, FLOAT32_MAX)
    return (low if tensor.min is None else max(low, tensor.min), high if tensor.max is None else min(high, tensor.max))


# --- words ------------------------------------------------------------------------------------------------


def _range(declared: NumberField | TensorField) -> str:
    low, high = _limits(declared) if isinstance(declared, TensorField) else (declared.min, declared.max)
    if low in (None, -FLOAT32_MAX) and high in (None, FLOAT32_MAX):
        return "a finite 32-bit number"
    if low in (None, -FLOAT32_MAX):
        return f"at most {high:g}"
    if high in (None, FLOAT32_MAX):
        return f"at least {low:g}"
    return f"{low:g} to {high:g}"


def _shape(tensor: TensorField) -> str:
    return f"{tensor.dtype} {list(tensor.shape)}"


def _names(signature: Signature) -> str:
    return ", ".join(signature.fields)


def _kind(value: Any) -> str:
    kinds = {
        bool: "a boolean",
        int: "a whole number",
        float: "a number with a fraction",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else kinds[type(value)]


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode() if not isinstance(value, int) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
