"""What is wrong with a value of a contract, a request or a setting, as people read it: by pydantic's name of the
error."""

from __future__ import annotations

from collections.abc import Mapping

_SENTENCES = {
    "missing": "is required",
    "string_type": "must be text",
    "string_unicode": "must be UTF-8 text",
    "path_type": "must be text, the name of a place",
    "literal_error": "must be {expected}",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of at most 64 bits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_long": "may have at most {max_length} entries",
    "too_short": "needs at least {min_length} entries",
    "string_too_long": "may have at most {max_length} characters",
}


def sentence(kind: str, context: Mapping[str, object]) -> str | None:
    """What is wrong with a value, for an error that pydantic calls `kind`. None for an error that we have no words
    for."""
    words = _SENTENCES.get(kind)
    return None if words is None else words.format(**{name: _plain(value) for name, value in context.items()})


def _plain(value: object) -> object:
    """A whole number as people write it: 600 for 600.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
