"""docs/reference/contract.md is kept true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from contract_jsonschema import valid
from contract_samples import TYPES, parsed

from daemon.config import Limits
from daemon.contract import DTYPES, InitKind, InitSpec, LaunchSpec, Work, contract_schema, default_tolerance
from daemon.contract.binding import KIND_PARAMETERS
from daemon.contract.document import MAX_DEPTH, MAX_VALUES
from daemon.contract.problems import MAX_PROBLEMS
from daemon.contract.request import KernelMetadata, RequestFields, Requirements, TimingSpec
from daemon.contract.rules import MAX_EVALUATED_CHARACTERS, MAX_EVALUATIONS, MAX_WRITTEN, MAX_WRITTEN_CHARACTERS
from daemon.contract.tensors import MAX_ARGS, ArgSpec, TensorData, TensorSpec
from daemon.contract.wire import KernelDocument

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "contract.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_parses_without_a_warning_and_satisfies_the_schema(example: str) -> None:
    answer = parsed(example.encode(), {"kernel.cu": b"__global__ void scale() {}"})
    assert answer.warnings == ()
    schema = contract_schema(TYPES)
    assert valid(json.loads(example), schema, schema)


def test_there_is_an_example_of_every_form() -> None:
    keys = {key for example in EXAMPLES for key in json.loads(example)}
    assert {"kernel", "ref_kernel", "custom_kernel", "ref_code", "custom_code"} <= keys


@pytest.mark.parametrize(
    "model",
    [
        RequestFields,
        TimingSpec,
        Requirements,
        Work,
        KernelDocument,
        KernelMetadata,
        ArgSpec,
        TensorSpec,
        InitSpec,
        TensorData,
        LaunchSpec,
    ],
)
def test_every_field_is_described(model: type[RequestFields]) -> None:
    mentioned = set(re.findall(r"`(?:timing\.|requires\.|work\.|init\.)?(\w+)`", PAGE))
    mentioned |= {"timing", "requires", "work", "extra"}
    assert model.model_fields.keys() - mentioned == set()


def test_the_tolerance_table_is_the_code_s() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d) \| ([\de.-]+) \|$", PAGE, re.MULTILINE)
    written = {name: (int(size), float(tolerance)) for name, size, tolerance in rows}
    assert written == {name: (info.itemsize, default_tolerance(name)[0]) for name, info in DTYPES.items()}


def test_the_caps_table_is_the_settings() -> None:
    rows = re.findall(r"\| (\d+)[^|]*\| `limits\.(\w+)` \|", PAGE)
    assert {name: int(number) for number, name in rows} == {
        name: getattr(Limits(), name)
        for name in ("contract_bytes", "source_bytes", "cases", "tensor_bytes", "decompressed_bytes")
    }
    of_expressions = (MAX_EVALUATIONS, MAX_WRITTEN, MAX_WRITTEN_CHARACTERS, MAX_EVALUATED_CHARACTERS)
    for number in (MAX_DEPTH, MAX_VALUES, *of_expressions, MAX_PROBLEMS, MAX_ARGS):
        assert str(number) in PAGE


def test_the_init_kinds_are_all_there_with_their_parameters() -> None:
    for kind in InitKind:
        (row,) = [line for line in PAGE.splitlines() if line.startswith("| ") and f"`{kind}`" in line.split("|")[1]]
        assert all(f"`{name}`" in row for name in KIND_PARAMETERS[kind])
