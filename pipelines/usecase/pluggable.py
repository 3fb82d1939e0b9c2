"""Sections of usecase.yaml that say by `type` what they are, and of which plugins may add further types.

The built-in types are in the JSON Schema and on the reference page. A plugin's section is validated by the plugin's
own model, and its problems are reported with file, line and key like all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from pipelines.errors import did_you_mean
from pipelines.plugins import Group, PluginBroken, find_plugin, plugin_names
from pipelines.usecase.strict import Misfit, Strict


@dataclass(frozen=True, eq=False)
class Pluggable:
    """An annotation: one of the `built_in` models by its `type`, or the `settings` of a plugin of the group."""

    group: Group
    base: type[Strict]
    built_in: tuple[type[Strict], ...]
    _adapters: dict[type[Strict], TypeAdapter[Any]] = field(default_factory=dict, repr=False)

    @property
    def types(self) -> dict[str, type[Strict]]:
        """The built-in models by the `type` they are for."""
        return {str(type_of(model)): model for model in self.built_in}

    def plugin_settings(self, name: str) -> type[Strict] | None:
        """The model of a plugin's section; None where no plugin has the name.

        Raises:
            PluginBroken: the plugin cannot be loaded, or its `settings` are no model for this type.
            PluginClash: two distributions offer it.
        """
        plugin = find_plugin(self.group, name)
        if plugin is None:
            return None
        model = getattr(plugin.load(), "settings", None)
        if not (isinstance(model, type) and issubclass(model, self.base)):
            raise plugin.broken(f"needs `settings`, a subclass of {self.base.__module__}.{self.base.__name__}")
        if type_of(model) != name:
            raise plugin.broken(f'needs `type: Literal["{name}"]` in its settings {model.__name__}')
        return model

    def loaded_plugins(self) -> tuple[type[Strict], ...]:
        """The models of plugins that a use case has named so far."""
        return tuple(self._adapters)

    def validate(self, value: Any, built_in: core_schema.ValidatorFunctionWrapHandler) -> Any:
        """The section as its type's model."""
        kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
        if not isinstance(kind, str) or kind in self.types:
            return built_in(value)
        try:
            model = self.plugin_settings(kind)
        except PluginBroken as error:
            raise Misfit(error.message, "type") from error
        if model is None:
            known = [*self.types, *plugin_names(self.group)]
            guess = did_you_mean(kind, known)
            raise Misfit(f"{kind!r} is not allowed{guess}; allowed: {', '.join(known)}", "type")
        if model not in self._adapters:
            # A union with the built-in ones, so that problems are placed in it as theirs are.
            self._adapters[model] = TypeAdapter(_union((*self.built_in, model)))
        return self._adapters[model].validate_python(value)

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self.validate,
            handler.generate_schema(_union(self.built_in)),
            serialization=core_schema.simple_ser_schema("any"),
        )


def type_of(model: type[Strict]) -> str | None:
    """The value of `type` that a model is for."""
    declared = model.model_fields.get("type")
    if declared is None or get_origin(declared.annotation) is not Literal:
        return None
    return str(get_args(declared.annotation)[0])


def with_plugins(schema: dict[str, Any], unions: tuple[Pluggable, ...], generator: type[Any]) -> dict[str, Any]:
    """The JSON Schema with the sections of the plugins that were named so far beside the built-in ones."""
    for union in unions:
        for model in union.loaded_plugins():
            name = str(type_of(model))
            own = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}", schema_generator=generator)
            parts = {f"{name}.{key}": part for key, part in own.pop("$defs", {}).items()}
            schema["$defs"] |= {f"{union.group}.{name}": own, **parts}
            for node in list(_nodes(schema)):
                if set(node.get("discriminator", {}).get("mapping", {})) >= union.types.keys():
                    node["discriminator"]["mapping"][name] = f"#/$defs/{union.group}.{name}"
    return schema


def _union(models: tuple[type[Strict], ...]) -> Any:
    return Annotated[reduce(or_, models), Field(discriminator="type")]


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _nodes(child)
    elif isinstance(node, list):
        for child in node:
            yield from _nodes(child)
