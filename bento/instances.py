"""From a request's body to the model's columns, or to a list of what is wrong with it.

Nothing is converted silently: a text is no number, 1.5 is no pixel, true is no 1. What an unknown value of an open
category means is the model's to decide; a closed one (`one_of`) refuses it here.
"""

from typing import Any

import numpy as np
import orjson

from bento.faults import InvalidBody
from bento.messages import cut, kind
from bento.signature import Signature
from bento.tables import parse_table
from bento.tensors import parse_tensors, read_tensors, tensor_bytes

KEYS = {"instances", "keys"}
LONGEST_KEY = 200

Array = np.ndarray[Any, Any]


def parse_json(body: bytes, signature: Signature) -> dict[str, Array]:
    """`{"instances": [...]}` → columns, one entry an instance. Raises InvalidBody or InvalidInstances."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidBody(f"the body is not valid JSON: {error}") from None
    instances = _instances(document, signature)
    if signature.tensor:
        name, field = signature.tensor
        return {name: parse_tensors(name, field, instances, body)}
    return parse_table(signature, instances)


def parse_bytes(body: bytes, signature: Signature) -> dict[str, Array]:
    """Raw tensors one after the other, little endian → the one tensor column. Raises as `parse_json` does."""
    if signature.tensor is None:
        raise InvalidBody("raw bytes are for models with a tensor; send application/json")
    name, field = signature.tensor
    size = tensor_bytes(field)
    if len(body) % size:
        raise InvalidBody(
            f"{len(body)} bytes are no whole number of instances: {field.dtype} {list(field.shape)} is {size} bytes"
        )
    _require_count(len(body) // size, signature, "the body")
    return {name: read_tensors(name, field, body)}


def _instances(document: Any, signature: Signature) -> list[Any]:
    if not isinstance(document, dict):
        raise InvalidBody(f'the body is {kind(document)}; expected an object {{"instances": [...]}}')
    if "instances" not in document:
        raise InvalidBody('the key "instances" is missing; expected {"instances": [...]}')
    if len(document) > 1 and (strangers := document.keys() - KEYS):
        raise InvalidBody(f'unknown key "{cut(min(strangers))}"; the keys are "instances" and, if you like, "keys"')
    instances = document["instances"]
    if not isinstance(instances, list):
        raise InvalidBody(f'"instances" is {kind(instances)}; expected a list')
    _require_count(len(instances), signature, '"instances"')
    if "keys" in document:
        _require_keys(document["keys"], len(instances))
    return instances


def _require_keys(keys: Any, count: int) -> None:
    """By them true values may come back that know nothing of ids. The model is not shown them."""
    if not isinstance(keys, list):
        raise InvalidBody(f'"keys" is {kind(keys)}; expected a list of texts, one an instance')
    if len(keys) != count:
        raise InvalidBody(f'"keys" has {len(keys)} entries; expected {count}, one an instance')
    for index, key in enumerate(keys):
        if not isinstance(key, str):
            raise InvalidBody(f'"keys"[{index}] is {kind(key)}; expected a text')
        if not 0 < len(key) <= LONGEST_KEY:
            raise InvalidBody(f'"keys"[{index}] has {len(key)} characters; expected 1 to {LONGEST_KEY}')


def _require_count(count: int, signature: Signature, what: str) -> None:
    if count == 0:
        raise InvalidBody(f"{what} is empty; send at least one instance")
    if count > signature.max_batch:
        raise InvalidBody(f"{count} instances are too many; send at most {signature.max_batch} in one request")
