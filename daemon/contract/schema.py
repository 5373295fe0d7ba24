"""The JSON Schema of a contract, generated from the models, so that an editor completes and checks one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from daemon.contract.kernel_types import KernelTypeSpec
from daemon.contract.request import KernelMetadata
from daemon.contract.wire import CompareDocument, EvaluateDocument, KernelDocument, LegacyDocument

_FORMS: list[type[BaseModel]] = [EvaluateDocument, CompareDocument, LegacyDocument]


def contract_schema(types: Mapping[str, KernelTypeSpec]) -> dict[str, Any]:
    """A JSON Schema (2020-12) that accepts the three forms, with the kernel types of `types`.

    It says what single fields may hold. What needs more than one field (bound shapes, sizes, names that must exist) is
    checked by `parse_contract` only.
    """
    models: list[type[BaseModel]] = [*_FORMS, KernelMetadata]
    _, schema = models_json_schema([(model, "validation") for model in models], ref_template="#/$defs/{model}")
    definitions: dict[str, Any] = schema["$defs"]
    for form in _FORMS:
        # A form is open (unknown keys are notes) but holds no kernel key of another form.
        definition = definitions[form.__name__]
        definition.pop("additionalProperties", None)
        definition["not"] = {"anyOf": [{"required": [key]} for key in _foreign_keys(form)]}
    _describe_kernel(definitions[KernelDocument.__name__], definitions.pop(KernelMetadata.__name__), types)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "evald contract",
        "oneOf": [{"$ref": f"#/$defs/{form.__name__}"} for form in _FORMS],
        "$defs": definitions,
    }


def _foreign_keys(form: type[BaseModel]) -> list[str]:
    keys = {key for other in _FORMS for key in other.model_fields}
    return sorted(keys - set(form.model_fields))


def _describe_kernel(kernel: dict[str, Any], metadata: dict[str, Any], types: Mapping[str, KernelTypeSpec]) -> None:
    kernel["properties"]["kernel_type"]["enum"] = list(types)
    kernel["oneOf"] = [
        {"required": [key], "properties": {key: {"type": "string"}}} for key in ("source_code", "source_file")
    ]
    kernel["allOf"] = [_rule(spec, metadata["properties"]) for spec in types.values()]


def _rule(spec: KernelTypeSpec, known: Mapping[str, Any]) -> dict[str, Any]:
    """What holds for kernels of one type: whether io is needed, and which metadata keys mean something."""
    keys = {key: known.get(key, {}) for key in spec.metadata_keys}
    aliases = {alias: known.get(key, {}) for alias, key in spec.metadata_aliases.items()}
    metadata = {"type": "object", "properties": {**keys, **aliases}, "required": list(spec.metadata_required)}
    required = (["io"] if spec.io_required else []) + (["metadata"] if spec.metadata_required else [])
    return {
        "if": {"properties": {"kernel_type": {"const": spec.name}}, "required": ["kernel_type"]},
        "then": {"properties": {"metadata": metadata}, "required": required},
    }
