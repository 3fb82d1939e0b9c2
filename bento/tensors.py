"""Instances of tensor models: nested lists, or raw bytes → one array.

The fast way makes an array of everything at once and looks at its shape, type and range. Only when something does not
fit are the lists walked, to say where. NumPy would quietly take a boolean for a 1, and make room in every cell for the
longest text of a body: such bodies are told by their characters and walked first.
"""

from collections.abc import Iterator
from itertools import chain, islice
from math import prod
from typing import Any

import numpy as np

from bento.faults import MOST_FAULTS, Fault, InvalidInstances
from bento.messages import cut, kind, limits, short, span
from bento.signature import TensorField

Array = np.ndarray[Any, Any]


def tensor_bytes(field: TensorField) -> int:
    """The size of one raw instance."""
    return prod(field.shape) * np.dtype(field.dtype).itemsize


def read_tensors(name: str, field: TensorField, body: bytes) -> Array:
    """Raw little-endian instances (N, *shape), a view of the body. Raises InvalidInstances."""
    values = np.frombuffer(body, dtype=np.dtype(field.dtype).newbyteorder("<")).reshape(-1, *field.shape)
    _require_range(name, field, values)
    return values


def parse_tensors(name: str, field: TensorField, instances: list[Any], body: bytes) -> Array:
    """Nested lists, each bare or in `{name: ...}` → (N, *shape) in the field's dtype. Raises InvalidInstances.

    `body` is the JSON text the instances came from.
    """
    array = _as_array(name, field, instances) if _only_numbers(instances, body) else None
    if array is None:
        faults = list(islice(_faults(name, field, instances), MOST_FAULTS))
        if faults:
            raise InvalidInstances(faults)
        array = np.array(_values(name, instances), dtype=np.float64)
    _require_range(name, field, array)
    return array.astype(field.dtype, copy=False)


def _only_numbers(instances: list[Any], body: bytes) -> bool:
    """Whether no text or boolean can be among the values: no quotes but those of the known keys."""
    named = sum(type(instance) is dict for instance in instances)
    if named:
        return body.count(b'"') == 2 * (1 + named) and b"true" not in body and b"false" not in body
    start = body.find(b'instances"') + len(b'instances"')
    return all(body.find(character, start) < 0 for character in (b'"', b"u", b"a"))  # as in true, null and false


def _values(name: str, instances: list[Any]) -> list[Any]:
    return [instance.get(name) if type(instance) is dict else instance for instance in instances]


def _as_array(name: str, field: TensorField, instances: list[Any]) -> Array | None:
    """None when something does not fit."""
    if any(type(instance) is dict and instance.keys() != {name} for instance in instances):
        return None
    values = _values(name, instances)
    try:
        if field.dtype == "uint8":
            return _pixels(field, values)
        array = np.array(values)
    except (TypeError, ValueError, OverflowError):  # not whole numbers of a byte; ragged, or too deep for an array
        return None
    return array if array.shape[1:] == field.shape and array.dtype.kind in "iuf" else None


def _pixels(field: TensorField, values: list[Any]) -> Array | None:
    """Level by level into one list, which becomes bytes in half the time that an array of nested lists takes."""
    for size in field.shape:
        if set(map(len, values)) != {size}:
            return None
        values = list(chain.from_iterable(values))
    return np.frombuffer(bytes(values), dtype=np.uint8).reshape(-1, *field.shape)


def _require_range(name: str, field: TensorField, array: Array) -> None:
    low, high = limits(field)
    if array.dtype == np.uint8 and (low, high) == (0, 255):
        return
    if low <= array.min() and array.max() <= high:  # false for NaN
        return
    wrong = np.argwhere(~((array >= low) & (array <= high)))[:MOST_FAULTS].tolist()
    raise InvalidInstances(
        [
            Fault(
                f"{array[tuple(place)]} is out of range; expected {span(field)}",
                instance=place[0],
                field=name + "".join(f"[{part}]" for part in place[1:]),
            )
            for place in wrong
        ]
    )


def _faults(name: str, field: TensorField, instances: list[Any]) -> Iterator[Fault]:
    for index, instance in enumerate(instances):
        value = instance
        if isinstance(instance, dict):
            strangers = sorted(instance.keys() - {name})[:MOST_FAULTS]
            yield from (Fault(f"unknown field; the only field is {name}", index, cut(found)) for found in strangers)
            if name not in instance:
                yield Fault(f"is missing; expected {_whole(field)}", index, name)
                continue
            value = instance[name]
        for place, detail in _nested(value, field, field.shape, name):
            yield Fault(detail, index, place)


def _nested(value: Any, field: TensorField, shape: tuple[int, ...], place: str) -> Iterator[tuple[str, str]]:
    if not shape:
        yield from _scalar(value, field, place)
    elif not isinstance(value, list):
        yield place, f"is {kind(value)}; expected a list of {shape[0]} (the whole is {_whole(field)})"
    elif len(value) != shape[0]:
        yield place, f"has {len(value)} entries; expected {shape[0]} (the whole is {_whole(field)})"
    elif len(shape) > 1 or not _all_right(value, field):
        for position, entry in enumerate(value):
            yield from _nested(entry, field, shape[1:], f"{place}[{position}]")


def _all_right(row: list[Any], field: TensorField) -> bool:
    """A whole row at once: walking a large body one number at a time would keep other requests waiting."""
    low, high = limits(field)
    return set(map(type, row)) <= _types(field) and low <= min(row) and max(row) <= high


def _scalar(value: Any, field: TensorField, place: str) -> Iterator[tuple[str, str]]:
    low, high = limits(field)
    whole = field.dtype == "uint8"
    if type(value) not in {int, float} or (whole and value != value // 1):
        yield place, f"is {kind(value)}; expected {'a whole number' if whole else 'a number'}"
    elif not low <= value <= high:
        yield place, f"{short(value)} is out of range; expected {span(field)}"


def _types(field: TensorField) -> set[type]:
    return {int} if field.dtype == "uint8" else {int, float}


def _whole(field: TensorField) -> str:
    return f"{field.dtype} {list(field.shape)}"
