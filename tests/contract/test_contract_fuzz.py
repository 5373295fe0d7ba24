"""Any bytes give a ParsedContract or a BundleError."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from contract_samples import LIMITS, TYPES, compare, data, evaluate, legacy, tensor, triton_kernel, with_args
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daemon.contract import ParsedContract, bind_case, contract_schema, parse_contract
from daemon.errors import BundleError

SEEDS = [
    evaluate(),
    compare(),
    legacy(),
    {"kernel": triton_kernel(), "cases": [{"name": "a", "bind": {"N": 3, "M": 4}}], "timing": {"mode": "graph"}},
    with_args(tensor("x", ["N", 2], "int8", data=data(bytes(8))), cases=[{"name": "c", "bind": {"N": 4}}]),
    with_args(
        tensor("x", [3], init={"kind": "uniform", "low": "N", "high": 9}),
        static_args=["x"],
        cases=[{"name": "c", "bind": {"N": 4}}],
    ),
    with_args(work={"bytes": "8*N", "flops": 3, "unit": "tensor_bf16"}, cases=[{"name": "c", "bind": {"N": 4}}]),
    with_args({"name": "s", "type": "float", "value": "1.5"}, {"name": "b", "type": "bool", "value": True}),
]
WORDS = [
    "",
    "N",
    "N//0",
    "inf",
    "nan",
    "-inf",
    "a\0",
    "\ud800",
    "é",
    "float32",
    "torch",
    "cuda",
    "../x",
    "x" * 300,
    "x",
    "(",
    "N" * 500,
]
NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63),
    2**64,
    10**50,
    0.5,
    -0.0,
    1e308,
    5e-324,
    float("inf"),
    float("nan"),
    10**4000,
]
SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.text(max_size=5))
KEYS = st.one_of(
    st.sampled_from(
        [
            "shape",
            "dtype",
            "init",
            "data",
            "args",
            "io",
            "kernel",
            "ref_kernel",
            "kind",
            "x",
            "extra",
            "bind",
            "N",
            "work",
            "bytes",
            "flops",
        ]
    ),
    st.text(max_size=3),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=8,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) inside `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


def parse(document: bytes) -> ParsedContract | None:
    try:
        return parse_contract(document, {"x": b"source", "y": b"\xff"}, types=TYPES, limits=LIMITS)
    except BundleError as error:
        assert all(problem.message for problem in error.problems)
        assert str(error).encode()
        return None


def usable(answer: ParsedContract) -> None:
    """What was accepted binds, and is plain text and JSON all through."""
    for case in answer.request.cases:
        bound = bind_case(answer.request, case)
        assert type(bound).model_validate_json(bound.model_dump_json()) is not None
    json.dumps(answer.notes, allow_nan=False).encode()
    str(answer).encode()


@settings(max_examples=1500, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_mutated_contracts_are_accepted_or_refused_with_reasons(draw: st.DataObject) -> None:
    document = copy.deepcopy(draw.draw(st.sampled_from(SEEDS)))
    for _ in range(draw.draw(st.integers(1, 3))):
        spots = list(places(document))
        if not spots:
            break
        container, key = draw.draw(st.sampled_from(spots))
        match draw.draw(st.sampled_from(["replace", "delete", "add"])):
            case "replace":
                container[key] = draw.draw(JSON)
            case "delete":
                del container[key]
            case _ if isinstance(container, dict):
                container[draw.draw(KEYS)] = draw.draw(JSON)
            case _:
                container.append(draw.draw(JSON))
    answer = parse(_json(document))
    if answer is not None:
        usable(answer)


def _json(document: Any) -> bytes:
    try:
        return json.dumps(document).encode()
    except ValueError:  # an int too long for Python to print
        return b'{"timeout": ' + b"9" * 5000 + b"}"


@settings(max_examples=400)
@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example(b"{" * 70_000)
@example(b"9" * 100_000)
@example(b'{"\\ud800": "\\udfff", "\\u0000": NaN}')
def test_raw_bytes_are_refused_with_reasons(document: bytes) -> None:
    assert parse(document) is None


@settings(max_examples=600)
@given(st.sampled_from(SEEDS), st.data())
def test_damaged_text_is_accepted_or_refused_with_reasons(seed: dict[str, Any], draw: st.DataObject) -> None:
    text = json.dumps(seed).encode()
    at = draw.draw(st.integers(0, len(text)))
    cut = draw.draw(st.integers(0, 4))
    insert = draw.draw(
        st.one_of(st.binary(max_size=3), st.text(alphabet='{}[]",:\\nul0-9eE.', max_size=3).map(str.encode))
    )
    answer = parse(text[:at] + insert + text[at + cut :])
    if answer is not None:
        usable(answer)


@settings(max_examples=200)
@given(JSON)
def test_any_json_is_accepted_or_refused_with_reasons(document: Any) -> None:
    answer = parse(_json(document))
    if answer is not None:
        usable(answer)


def test_the_seeds_of_the_mutations_are_valid() -> None:
    for seed in SEEDS:
        assert parse(json.dumps(seed).encode()) is not None
    assert contract_schema(TYPES)
