from __future__ import annotations

import json

import pytest
from contract_samples import evaluate, only, parsed, problems

from daemon.contract.problems import MAX_PROBLEMS


def test_a_byte_order_mark_is_tolerated() -> None:
    assert parsed(b"\xef\xbb\xbf" + json.dumps(evaluate()).encode()).request.kind == "evaluate"


@pytest.mark.parametrize(
    ("document", "line", "words"),
    [
        (b"", 1, "empty"),
        (b" \n ", 1, "empty"),
        (b'{\n"a": \xff}', 2, "UTF-8"),
        ('{"a": 1}'.encode("utf-16"), 1, "UTF-16"),
        (b"PK\x03\x04\x14\xff", 1, "the contract is a zip archive, not JSON; a bundle that is one is called NAME.zip"),
        (b"\x1f\x8b\x08", 1, "NAME.tar.gz"),
        (b"[]", 1, "JSON object"),
        (b'"text"', 1, "JSON object"),
        (b'{"a": 1,\n}', 1, "comma before '}'"),
        (b'{"a": [1,\n2,]}', 2, "comma before ']'"),
        (b'{\n"a": 1\n"b": 2}', 3, "expected ','"),
        (b"{\n'a': 1}", 2, "double quotes"),
        (b'{"a" 1}', 1, "':'"),
        (b'{"a": 1} x', 1, "after the end"),
        (b'{"a": \n', 2, "end of text"),
        (b'{"a": "x\ny"}', 1, "end as \\n"),
        (b'{"a": "\\x"}', 1, "escape"),
        (b'{"a": "x', 1, "ends before the text"),
        (b'{"a": "x\ny"}', 1, "close it with a quote"),
        (b'{"a": """x\ny"""}', 1, "no texts in three quotes"),
        (b'{\n// x\n"a": 1}', 2, "no comments"),
        (b'{"a": 1, # x\n"b": 2}', 1, "no comments"),
        (b'{"a": 1 /* x */}', 1, "no comments"),
        (b'{"a": 01}', 1, "expected ','"),
        (b'{"a": .5}', 1, "expected a value"),
        (b'{"a": // x\n 1}', 1, "expected a value"),
        (b"[" * 100_000, 1, "nested"),
        (b'{"a":' * 100_000, 1, "nested"),
        (b"[" + b"0," * 100_001 + b"0]", 1, "values"),
    ],
)
def test_broken_text_is_one_problem_with_its_line(document: bytes, line: int, words: str) -> None:
    message = only(document).message
    assert words.lower() in message.lower()
    assert message.startswith(f"line {line}: ")


def test_words_of_other_languages_are_translated() -> None:
    assert only(b'{"a": True}').suggestion == "true"
    assert only(b'{"a": None}').suggestion == "null"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("NaN", "no NaN"),
        ("-Infinity", "no -Infinity"),
        ("1e999", "too large"),
        ("9" * 5000, "5000 digits"),
        ('"a\\u0000b"', "NUL"),
        ('"\\ud800"', "surrogate"),
    ],
)
def test_a_value_that_cannot_be_kept_is_reported_once_at_its_field(value: str, words: str) -> None:
    document = json.dumps({**evaluate(), "timeout": "@"}).replace('"@"', value).encode()
    problem = only(document)
    assert problem.field == "timeout"
    assert words in problem.message


def test_infinity_is_suggested_as_text_where_text_is_understood() -> None:
    document = json.dumps(evaluate()).replace('"value": 2', '"value": -Infinity').encode()
    assert (only(document).field, only(document).suggestion) == ("kernel.io.args[2].value", '"-inf"')


def test_every_duplicate_key_is_reported_with_its_line_beside_other_problems() -> None:
    text = '{"timeout": 1,\n "kernel": {"kernel_type": "torch",\n "kernel_type": "torch", "source_code": "x"},\n'
    text += ' "a": 1, "a": 2}'
    found = [(problem.field, problem.message.split(":")[0]) for problem in problems(text.encode())]
    assert found[:2] == [("kernel.kernel_type", "line 3"), ("a", "line 4")]
    assert found[2][0] == "timeout"


def test_thousands_of_duplicates_end_soon() -> None:
    text = "{" + ",\n".join(['"a": 1'] * 5000) + "}"
    assert len(problems(text.encode())) <= MAX_PROBLEMS + 1


def test_long_strings_and_deep_but_legal_nesting_pass() -> None:
    nested: object = 1
    for _ in range(60):
        nested = [nested]
    document = {**evaluate(), "note": nested, "long": 'é\\"' * 100_000}
    assert parsed(document).notes["note"] == nested
