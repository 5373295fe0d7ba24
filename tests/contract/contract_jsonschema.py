"""As much of JSON Schema 2020-12 as the generated schema uses. An unknown keyword is an error, never ignored."""

from __future__ import annotations

import re
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": (int, float),
    "integer": int,
}
_IGNORED = {"title", "description", "default", "$defs", "$schema", "then", "format"}


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind in ("number", "integer"):
        return False
    return isinstance(value, _TYPES[kind])


def valid(value: Any, schema: Any, root: dict[str, Any]) -> bool:
    if isinstance(schema, bool):
        return schema
    return all(_keyword(key, rule, value, schema, root) for key, rule in schema.items() if key not in _IGNORED)


def _keyword(key: str, rule: Any, value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:  # noqa: C901, PLR0911, PLR0912
    match key:
        case "$ref":
            return valid(value, root["$defs"][rule.removeprefix("#/$defs/")], root)
        case "type":
            return any(_is(value, kind) for kind in ([rule] if isinstance(rule, str) else rule))
        case "enum":
            return value in rule
        case "const":
            return bool(value == rule)
        case "anyOf":
            return any(valid(value, option, root) for option in rule)
        case "allOf":
            return all(valid(value, option, root) for option in rule)
        case "oneOf":
            return sum(valid(value, option, root) for option in rule) == 1
        case "not":
            return not valid(value, rule, root)
        case "if":
            return not valid(value, rule, root) or valid(value, schema["then"], root)
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            return not _is(value, "number") or _within(key, rule, value)
        case "minLength" | "maxLength" | "pattern":
            return not isinstance(value, str) or _text(key, rule, value)
        case "minItems" | "maxItems" | "items" | "prefixItems":
            return not isinstance(value, list) or _list(key, rule, value, root)
        case "required" | "properties" | "additionalProperties" | "maxProperties" | "propertyNames":
            return not isinstance(value, dict) or _object(key, rule, value, schema, root)
    raise AssertionError(f"keyword {key} is not understood")


def _within(key: str, rule: float, value: float) -> bool:
    return {
        "minimum": value >= rule,
        "maximum": value <= rule,
        "exclusiveMinimum": value > rule,
        "exclusiveMaximum": value < rule,
    }[key]


def _text(key: str, rule: Any, value: str) -> bool:
    if key == "pattern":
        return re.search(rule, value) is not None
    return len(value) >= rule if key == "minLength" else len(value) <= rule


def _list(key: str, rule: Any, value: list[Any], root: dict[str, Any]) -> bool:
    if key == "items":
        return all(valid(item, rule, root) for item in value)
    if key == "prefixItems":
        return all(valid(item, one, root) for item, one in zip(value, rule, strict=False))
    return len(value) >= rule if key == "minItems" else len(value) <= rule


def _object(key: str, rule: Any, value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any]) -> bool:
    match key:
        case "required":
            return all(name in value for name in rule)
        case "properties":
            return all(valid(value[name], one, root) for name, one in rule.items() if name in value)
        case "maxProperties":
            return len(value) <= rule
        case "propertyNames":
            return all(valid(name, rule, root) for name in value)
    extra = [item for name, item in value.items() if name not in schema.get("properties", {})]
    return all(valid(item, rule, root) for item in extra)
