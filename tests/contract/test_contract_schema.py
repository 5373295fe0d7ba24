from __future__ import annotations

import json
from typing import Any

import pytest
from contract_jsonschema import valid
from contract_samples import (
    TYPES,
    changed,
    compare,
    cuda_kernel,
    data,
    evaluate,
    legacy,
    problems,
    tensor,
    triton_kernel,
    with_args,
)

from daemon.contract import KernelTypeSpec, contract_schema

SCHEMA = contract_schema(TYPES)


def accepted(document: Any) -> bool:
    return valid(document, SCHEMA, SCHEMA)


@pytest.mark.parametrize(
    "document",
    [
        evaluate(),
        compare(),
        legacy(),
        {**evaluate(), "unknown": 1},
        {"kernel": triton_kernel(), "cases": [{"name": "a", "bind": {"N": 3}}]},
        with_args(tensor("x", [2], "int8", data=data(b"ab"))),
        with_args(tensor("x", [2], init={"kind": "full", "fill_value": "-inf"})),
        {"kernel": {"source_file": "a.py", "kernel_type": "torch", "metadata": {"class_name": "M"}}},
        {**evaluate(), "labels": {"a": "b"}, "metrics": True, "timing": {"mode": "auto", "max_s": 3}},
    ],
)
def test_contracts_that_parse_satisfy_the_schema(document: Any) -> None:
    assert problems(document, {"a.py": b"x"}) == ()
    assert accepted(document)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"kernel": 3},
        {**evaluate(), **legacy()},
        {**evaluate(), "num_trials": 0},
        {**evaluate(), "num_trials": "many"},
        {**evaluate(), "checks": ["leak"]},
        {"kernel": {"kernel_type": "torch"}},
        {"kernel": {"kernel_type": "torch", "source_code": "x", "source_file": "y"}},
        {"kernel": {"kernel_type": "tritn", "source_code": "x"}},
        {"kernel": {"kernel_type": "cuda", "source_code": "x"}},
        {"kernel": {"kernel_type": "multi_kernel", "source_code": "x", "io": {"args": []}}},
        changed(evaluate(), "kernel.metadata.backend", "gcc"),
        changed(evaluate(), "kernel.sorce", 1),
        changed(evaluate(), "kernel.io.args.0.tensor_spec.dtype", "fp32"),
        changed(evaluate(), "kernel.io.args.0.type", "tensr"),
        changed(evaluate(), "kernel.io.launch.block", [1, 2, 3, 4]),
        changed(evaluate(), "kernel.io.launch.block", {"w": 1}),
        {"ref_kernel": cuda_kernel()},
    ],
)
def test_documents_that_do_not_parse_break_the_schema(document: Any) -> None:
    assert problems(document, {"y": b"x"})
    assert not accepted(document)


def test_the_schema_is_plain_json_with_every_reference_in_place() -> None:
    text = json.dumps(SCHEMA, allow_nan=False)
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    references = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert references == SCHEMA["$defs"].keys()


def test_every_field_says_what_it_is() -> None:
    for name, definition in SCHEMA["$defs"].items():
        for field, schema in definition.get("properties", {}).items():
            assert "description" in schema, (name, field)


def test_a_sixth_kernel_type_appears_with_its_metadata() -> None:
    types = {**TYPES, "tile": KernelTypeSpec("tile", io_required=True, metadata_keys=("tile_size",))}
    schema = contract_schema(types)
    kernel = {"source_code": "x", "kernel_type": "tile", "io": {"args": []}, "metadata": {"tile_size": 3}}
    assert valid({"kernel": kernel}, schema, schema)
    assert not accepted({"kernel": kernel})
    del kernel["io"]
    assert not valid({"kernel": kernel}, schema, schema)
