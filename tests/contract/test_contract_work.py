"""The declared work of a call: read, bound per case, and refused with reasons."""

from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

import pytest
from contract_jsonschema import valid
from contract_samples import TYPES, changed, compare, evaluate, fields, legacy, only, parsed, problems, with_args

from daemon.client import contracts
from daemon.contract import CaseSpec, FlopUnit, Work, bind_case, contract_schema
from daemon.errors import BundleError
from daemon.executor.tools import ceilings

SCHEMA = contract_schema(TYPES)


def declaring(work: Any, **bind: int) -> dict[str, Any]:
    """A compare whose cases bind N (and what `bind` says) and that declares `work`."""
    document = changed({**compare(), "work": work}, "cases.0.bind", {"N": 1000, **bind})
    return changed(document, "cases.1.bind", {"N": 100_000, **bind})


def test_work_is_bound_for_every_case() -> None:
    request = parsed(declaring({"bytes": "8*N", "flops": "2*N*K", "unit": "tensor_bf16"}, K=3)).request
    bound = [bind_case(request, case).work for case in request.cases]
    assert bound[0] == Work(bytes=8000, flops=6000, unit=FlopUnit.TENSOR_BF16)
    assert bound[1] == Work(bytes=800_000, flops=600_000, unit=FlopUnit.TENSOR_BF16)


@pytest.mark.parametrize("document", [evaluate(), compare(), legacy()])
def test_every_form_may_declare_work_and_need_not(document: dict[str, Any]) -> None:
    assert parsed(document).request.work is None
    assert parsed({**document, "work": None}).request.work is None
    assert parsed({**document, "work": {"flops": 10}}).request.work == Work(flops=10)


def test_flops_are_done_in_float32_unless_said_otherwise() -> None:
    work = parsed({**evaluate(), "work": {"flops": 1e12}}).request.work
    assert work is not None
    assert (work.bytes, work.flops, work.unit) == (None, 10**12, "float32")


def test_a_symbol_that_only_work_uses_is_used() -> None:
    assert not parsed(declaring({"bytes": "4*N*M"}, M=2)).warnings
    assert [warning.field for warning in parsed(declaring({"bytes": "4*N"}, M=2)).warnings] == [
        "cases[0].bind.M",
        "cases[1].bind.M",
    ]


def test_a_request_with_work_survives_json() -> None:
    request = parsed(declaring({"bytes": "4*N", "unit": "tensor_fp16", "flops": 1})).request
    for one in (request, bind_case(request, request.cases[0])):
        assert type(one).model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize("work", [{}, {"bytes": None}, {"unit": "float32"}, {"bytes": None, "flops": None}])
def test_work_that_declares_nothing_says_what_to_give(work: dict[str, Any]) -> None:
    problem = only({**evaluate(), "work": work})
    assert (problem.field, problem.message) == ("work", "declares nothing: give bytes, flops or both")


@pytest.mark.parametrize(
    ("work", "field", "words", "suggestion"),
    [
        ({"flop": 3}, "work.flop", "known: bytes, flops, unit", "flops"),
        ({"flops": 3, "unit": "tensor_b16"}, "work.unit", "must be one of float32", "tensor_bf16"),
        ({"bytes": "4*size"}, "work.bytes (cases small, large)", "'size' is not bound", "sizes"),
        ({"flops": "cieldiv(N, 2)"}, "work.flops", "no function", "ceildiv"),
        ({"bytes": -1}, "work.bytes (cases small, large)", "at least 0", None),
        ({"bytes": "2000-N"}, "work.bytes (case large)", "at least 0, got -98000", None),
        ({"flops": "N//0"}, "work.flops (cases small, large)", "divides by zero", None),
        ({"flops": "N*9223372036854775807"}, "work.flops (cases small, large)", "beyond 64 bits", None),
    ],
)
def test_each_fault_names_its_field(work: Any, field: str, words: str, suggestion: str | None) -> None:
    problem = only(declaring(work, sizes=1))
    assert (problem.field, problem.suggestion) == (field, suggestion)
    assert words in problem.message


@pytest.mark.parametrize("name", ["bytes", "flops"])
@pytest.mark.parametrize(
    "value",
    [
        10**30, -(10**30), 2**63, 1e300, 0.5, True, [], [1], {}, {"a": {"b": [1]}}, "", " ", "nan", "inf", "1e9", "0.5",
        "2**N", "N.real", "__import__('os')", "x" * 300, "(" * 200 + "1" + ")" * 200, "-" * 100 + "1",
        "9" * 200, "N" * 250, "é", "min()",
    ],
)  # fmt: skip
def test_hostile_values_are_problems(name: str, value: Any) -> None:
    found = problems(declaring({name: value}))
    assert found
    assert all(problem.field.startswith(f"work.{name}") for problem in found)


@pytest.mark.parametrize("work", [[], "N", 3, True, [{"bytes": 1}]])
def test_work_is_an_object(work: Any) -> None:
    assert only({**evaluate(), "work": work}).field == "work"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_numbers_that_json_does_not_have_are_problems(value: str) -> None:
    text = json.dumps({**evaluate(), "work": {"bytes": "@"}}).replace('"@"', value)
    assert "work.bytes" in fields(text.encode())


def test_other_problems_hide_none_of_those_of_work() -> None:
    found = fields({**declaring({"bytes": "M"}), "num_trials": 0})
    assert found == ["num_trials", "work.bytes (cases small, large)"]


def test_a_unit_without_flops_is_probably_a_mistake() -> None:
    warning = parsed({**evaluate(), "work": {"bytes": 4, "unit": "tensor_bf16"}}).warnings[0]
    assert warning.field == "work.unit"


def test_a_case_that_was_not_checked_is_refused_when_it_is_bound() -> None:
    request = parsed(with_args(work={"bytes": "N"}, cases=[{"name": "a", "bind": {"N": 1}}])).request
    with pytest.raises(BundleError, match=r"work\.bytes \(case b\)"):
        bind_case(request, CaseSpec(name="b", bind={"M": 1}))


def test_a_misspelt_key_is_kept_as_a_note_with_the_right_one() -> None:
    [warning] = parsed({**evaluate(), "wrok": {"bytes": 1}}).warnings
    assert (warning.field, warning.suggestion) == ("wrok", "work")


@pytest.mark.parametrize(
    "work", [None, {"bytes": 1}, {"flops": "N", "unit": "tensor_fp64"}, {"bytes": "N", "flops": 0}]
)
def test_the_schema_accepts_what_parses(work: Any) -> None:
    document = declaring(work)
    assert problems(document) == ()
    assert valid(document, SCHEMA, SCHEMA)


@pytest.mark.parametrize("work", [{}, [], {"unit": "float32"}, {"flop": 1}, {"flops": 1, "unit": "fp8"}, {"bytes": []}])
def test_the_schema_refuses_what_does_not_parse(work: Any) -> None:
    document = declaring(work)
    assert problems(document)
    assert not valid(document, SCHEMA, SCHEMA)


def test_the_units_are_those_whose_rate_is_measured() -> None:
    measured = {name for name, _, _ in ceilings.contracts()} - {"copy"}
    assert {unit.value for unit in FlopUnit} == measured


def test_the_client_completes_what_a_contract_may_declare() -> None:
    hints = get_type_hints(contracts.Work)
    assert hints.keys() == Work.model_fields.keys()
    assert get_args(hints["unit"]) == tuple(FlopUnit)
    made = contracts.evaluate("class Model: ...", work={"bytes": 4, "flops": 2, "unit": "tensor_tf32"})
    assert parsed(made).request.work == Work(bytes=4, flops=2, unit=FlopUnit.TENSOR_TF32)
