"""The OpenAPI 3.1 description of one model, made from its signature: real fields, ranges and examples."""

from typing import Any

from bento.instances import LONGEST_KEY
from bento.predictor import Predictor, class_key
from bento.problems import CONTENT_TYPE
from bento.signature import CategoryField, NumberField, Signature, TensorField


def describe(predictor: Predictor) -> dict[str, Any]:
    """The document. Its example is one of the instances that the model was checked with when it was packed."""
    signature = predictor.signature
    problems = {
        "400": "The body or an instance does not fit; `errors` names instance and field",
        "413": "The body is too large",
        "415": "The content type is none that this model takes",
        "500": "The model failed",
        "503": "The model is not loaded yet",
    }
    content: dict[str, Any] = {"application/json": {"schema": _request(signature)}}
    if predictor.examples:
        content["application/json"]["example"] = {"instances": list(predictor.examples)}
    if signature.tensor:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": signature.name,
            "version": predictor.provenance.bento.split(":", 1)[1],
            "description": f"Model {predictor.provenance.model}, MLflow run {predictor.provenance.run}.",
        },
        "paths": {
            "/predict": {
                "post": {
                    "operationId": "predict",
                    "requestBody": {"required": True, "content": content},
                    "responses": {
                        "200": {
                            "description": "One prediction and one id an instance, in order",
                            "content": {"application/json": {"schema": _response(signature)}},
                        },
                        **{status: _problem(text) for status, text in problems.items()},
                    },
                }
            },
            "/signature": {
                "get": {
                    "operationId": "signature",
                    "responses": {
                        "200": {
                            "description": "What the model takes and gives",
                            "content": {"application/json": {"schema": {"type": "object"}}},
                        }
                    },
                }
            },
        },
        "components": {"schemas": {"Instance": _instance(signature), "Problem": PROBLEM}},
    }


PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem document",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "as in the header X-Request-ID and in the server's log"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "instance": {"type": "integer"},
                    "field": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _request(signature: Signature) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["instances"],
        "properties": {
            "instances": {
                "type": "array",
                "minItems": 1,
                "maxItems": signature.max_batch,
                "items": {"$ref": "#/components/schemas/Instance"},
            },
            "keys": {
                "type": "array",
                "description": "One text an instance, by which its true value may come back; the model is not shown it",
                "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY},
            },
        },
    }


def _instance(signature: Signature) -> dict[str, Any]:
    fields = {name: _field(field) for name, field in signature.fields.items()}
    required = [name for name, field in signature.fields.items() if not getattr(field, "nullable", False)]
    whole = {"type": "object", "additionalProperties": False, "required": required, "properties": fields}
    if signature.tensor:
        return {"oneOf": [fields[signature.tensor[0]], whole]}
    return whole


def _field(field: NumberField | CategoryField | TensorField) -> dict[str, Any]:
    if isinstance(field, TensorField):
        return _tensor(field)
    if isinstance(field, CategoryField):
        schema: dict[str, Any] = {"type": _nullable("string", field.nullable)}
        if field.one_of:
            schema["enum"] = [*field.one_of, *([None] if field.nullable else [])]
        return schema
    return {"type": _nullable("number", field.nullable), **_limits(field)}


def _tensor(field: TensorField) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer" if field.dtype == "uint8" else "number", **_limits(field)}
    if field.dtype == "uint8":
        schema = {"minimum": 0, "maximum": 255} | schema
    for size in reversed(field.shape):
        schema = {"type": "array", "minItems": size, "maxItems": size, "items": schema}
    return schema


def _limits(field: NumberField | TensorField) -> dict[str, float]:
    pairs = (("minimum", field.min), ("maximum", field.max))
    return {name: value for name, value in pairs if value is not None}


def _nullable(kind: str, nullable: bool) -> Any:
    return [kind, "null"] if nullable else kind


def _response(signature: Signature) -> dict[str, Any]:
    if signature.classes:
        keys = [class_key(name) for name in signature.classes]
        prediction: dict[str, Any] = {
            "type": "object",
            "required": ["label", "probabilities"],
            "properties": {
                "label": {"enum": list(signature.classes)},
                "probabilities": {
                    "type": "object",
                    "required": keys,
                    "properties": {key: {"type": "number", "minimum": 0, "maximum": 1} for key in keys},
                },
            },
        }
    else:
        prediction = {"type": "object", "required": ["value"], "properties": {"value": {"type": "number"}}}
    return {
        "type": "object",
        "required": ["predictions", "ids", "release"],
        "properties": {
            "predictions": {"type": "array", "items": prediction},
            "ids": {"type": "array", "items": {"type": "string"}},
            "release": {"type": "object"},
        },
    }
