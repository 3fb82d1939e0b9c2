"""Instances of tabular models: objects with exactly the signature's fields → one column a field."""

from typing import Any

import numpy as np

from bento.faults import MOST_FAULTS, Fault, InvalidInstances
from bento.messages import cut, kind, limits, short, span
from bento.signature import CategoryField, NumberField, Signature

Array = np.ndarray[Any, Any]
Row = dict[str, Any]


def parse_table(signature: Signature, instances: list[Any]) -> dict[str, Array]:
    """Numbers as float32 (null → NaN), categories as text (null → ""). Raises InvalidInstances."""
    faults = _not_objects(signature, instances) or _strangers(signature, instances)
    columns = {}
    if not any(fault.field is None for fault in faults):
        for name, field in signature.fields.items():
            read = _numbers if isinstance(field, NumberField) else _categories
            columns[name] = read(name, field, instances, faults)  # type: ignore[arg-type]
    if faults:
        raise InvalidInstances(sorted(faults, key=lambda fault: fault.instance or 0))
    return columns


def _not_objects(signature: Signature, instances: list[Any]) -> list[Fault]:
    wrong = [index for index, instance in enumerate(instances) if not isinstance(instance, dict)][:MOST_FAULTS]
    expected = f"expected an object with the fields {', '.join(signature.fields)}"
    return [Fault(f"is {kind(instances[index])}; {expected}", index) for index in wrong]


def _strangers(signature: Signature, rows: list[Row]) -> list[Fault]:
    known = signature.fields.keys()
    faults: list[Fault] = []
    for index, row in enumerate(rows):
        if not row.keys() <= known:
            for name in sorted(row.keys() - known)[:MOST_FAULTS]:
                faults.append(Fault(f"unknown field; the fields are {', '.join(known)}", index, cut(name)))
        if len(faults) >= MOST_FAULTS:
            break
    return faults


def _numbers(name: str, field: NumberField, rows: list[Row], faults: list[Fault]) -> Array:
    values = np.empty(len(rows), dtype=np.float32)
    low, high = limits(field)
    for index, row in enumerate(rows):
        value = row.get(name)
        of = type(value)
        if of is float or of is int:
            if low <= value <= high:  # type: ignore[operator]
                values[index] = value
            else:
                faults.append(Fault(f"{short(value)} is out of range; expected {span(field)}", index, name))
        elif value is None and field.nullable:
            values[index] = np.nan
        else:
            faults.append(Fault(_missing_or_wrong(row, name, field, "a number"), index, name))
    return values


def _categories(name: str, field: CategoryField, rows: list[Row], faults: list[Fault]) -> Array:
    values = np.empty(len(rows), dtype=object)
    allowed = None if field.one_of is None else frozenset(field.one_of)
    for index, row in enumerate(rows):
        value = row.get(name)
        if type(value) is str:
            if allowed is None or value in allowed:
                values[index] = value
            else:
                one_of = ", ".join(field.one_of or ())
                faults.append(Fault(f"{short(value)} is not allowed; expected one of {one_of}", index, name))
        elif value is None and field.nullable:
            values[index] = ""
        else:
            faults.append(Fault(_missing_or_wrong(row, name, field, "a text"), index, name))
    return values


def _missing_or_wrong(row: Row, name: str, field: NumberField | CategoryField, expected: str) -> str:
    if name not in row:
        return f"is missing; expected {expected}"
    return f"is {kind(row[name])}; expected {expected}{' or null' if field.nullable else ''}"
