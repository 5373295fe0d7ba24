from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from contract_samples import (
    LIMITS,
    TYPES,
    changed,
    compare,
    cuda_kernel,
    evaluate,
    fields,
    legacy,
    only,
    parsed,
    problems,
    tensor,
    triton_kernel,
    with_args,
)

import daemon.contract.cases as cases_module
from daemon.config import Limits
from daemon.contract import Check, CompareRequest, EvaluateRequest, KernelTypeSpec, parse_contract
from daemon.errors import BundleError


def test_an_evaluate_contract_becomes_an_evaluate_request() -> None:
    request = parsed(evaluate()).request
    assert isinstance(request, EvaluateRequest)
    assert (request.kind, request.num_trials, request.timeout) == ("evaluate", 10, 60)
    assert request.candidate is request.kernel
    assert request.reference is None


def test_a_compare_contract_becomes_a_compare_request() -> None:
    request = parsed(compare()).request
    assert isinstance(request, CompareRequest)
    assert request.kind == "compare"
    assert request.candidate.kernel_type == "triton"
    assert request.reference is request.ref_kernel
    assert [case.name for case in request.cases] == ["small", "large"]
    assert request.checks == (Check.MEMCHECK,)
    assert request.requires.capability == (9, 0)


def test_a_legacy_body_is_a_compare_of_torch_with_torch_cuda_in_thirty_seconds() -> None:
    request = parsed(legacy()).request
    assert isinstance(request, CompareRequest)
    assert (request.ref_kernel.kernel_type, request.custom_kernel.kernel_type) == ("torch", "torch_cuda")
    assert request.timeout == 30
    assert parsed({**legacy(), "timeout": 90}).request.timeout == 90


def test_a_notebook_is_called_one() -> None:
    [problem] = problems({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    assert "is a Jupyter notebook, and no contract: put its code into a .py file" in problem.message


def test_absent_fields_take_the_documented_defaults() -> None:
    request = parsed({"kernel": {"source_code": "x", "kernel_type": "torch"}}).request
    assert (request.num_trials, request.timeout, request.correctness_trials, request.priority) == (100, 120, 5, 0)
    assert (request.atol, request.rtol, request.name, request.static_args) == (None, None, None, ())
    assert (request.timing.mode, request.timing.max_s, request.metrics, request.checks) == ("auto", None, False, ())


def test_a_contract_without_cases_has_one_named_default() -> None:
    for document in (evaluate(), {**evaluate(), "cases": []}, {**evaluate(), "cases": None}):
        (case,) = parsed(document).request.cases
        assert (case.name, case.bind) == ("default", {})


def test_null_means_not_given_anywhere() -> None:
    document = changed(evaluate(), "kernel.io.args.0.value", None)
    document = {
        **document,
        "labels": None,
        "timing": {"mode": None, "max_s": None},
        "ref_kernel": None,
        "num_trials": None,
    }
    document["kernel"] = {**document["kernel"], "source_file": None}
    assert parsed(document).request.num_trials == 100


def test_numbers_written_as_text_or_with_a_zero_fraction_are_whole_numbers() -> None:
    assert parsed({**evaluate(), "num_trials": "20"}).request.num_trials == 20
    assert parsed({**evaluate(), "num_trials": 20.0}).request.num_trials == 20
    assert fields({**evaluate(), "num_trials": 20.5}) == ["num_trials"]
    assert fields({**evaluate(), "num_trials": True}) == ["num_trials"]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "holds no kernel"),
        ({**evaluate(), **legacy()}, "several forms"),
        ({**evaluate(), "ref_kernel": cuda_kernel()}, "several forms"),
    ],
)
def test_a_contract_is_exactly_one_form(document: dict[str, object], words: str) -> None:
    assert words in only(document).message


def test_a_misspelt_kernel_key_is_suggested() -> None:
    assert only({"kernal": cuda_kernel()}).suggestion == "kernel"


@pytest.mark.parametrize(("document", "missing"), [(compare(), "ref_kernel"), (legacy(), "custom_code")])
def test_half_a_pair_is_reported_at_the_missing_half(document: dict[str, object], missing: str) -> None:
    del document[missing]
    assert (only(document).field, "is required" in only(document).message) == (missing, True)


@pytest.mark.parametrize(
    ("document", "misspelt", "meant"),
    [
        (compare(), "custom_kernal", "custom_kernel"),
        (compare(), "ref_kernl", "ref_kernel"),
        (legacy(), "custom_cod", "custom_code"),
    ],
)
def test_half_a_pair_that_is_misspelt_is_reported_where_it_stands(
    document: dict[str, object], misspelt: str, meant: str
) -> None:
    document["author"] = document["ref_kernel_of"] = "anna"
    document[misspelt] = document.pop(meant)
    problem = only(document)
    assert (problem.field, problem.suggestion) == (misspelt, meant)
    assert f"{meant} is required beside" in problem.message


def test_unknown_top_level_keys_are_notes_with_a_warning() -> None:
    answer = parsed({**evaluate(), "num_trails": 3, "author": {"id": 7}})
    assert answer.notes == {"num_trails": 3, "author": {"id": 7}}
    assert [(warning.field, warning.suggestion) for warning in answer.warnings] == [
        ("num_trails", "num_trials"),
        ("author", None),
    ]


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("kernel.sorce_code", "source_code"),
        ("kernel.io.lunch", "launch"),
        ("kernel.io.args.0.tensor_spec.shpe", "shape"),
        ("kernel.io.args.0.rol", "role"),
        ("kernel.io.launch.num_warp", "num_warps"),
        ("timing.mde", "mode"),
        ("timing.max_seconds", "max_s"),
        ("requires.compute_capability", "min_capability"),
        ("requires.gpu_name", "gpu"),
        ("requires.min_capabilty", "min_capability"),
    ],
)
def test_unknown_keys_inside_an_object_reject_with_the_nearest_name(path: str, suggestion: str) -> None:
    document = {**evaluate(), "timing": {}, "requires": {}}
    assert only(changed(document, path, 1)).suggestion == suggestion


def test_a_source_as_a_list_of_lines_is_told_to_be_joined() -> None:
    lines = ["def f(x):", "    return x"]
    for document in ({"kernel": {**cuda_kernel(), "source_code": lines}}, {**legacy(), "custom_code": lines}):
        assert "must be text, got ['def f(x):', '    return x']; join the lines with \\n" in only(document).message
    assert "join" not in only({**legacy(), "custom_code": [3]}).message


def test_an_object_that_is_given_as_less_is_told_what_it_is_of() -> None:
    assert "an object of kernel_type and source_code or source_file" in only({"kernel": "kernel.py"}).message
    document = evaluate()
    document["kernel"]["io"] = document["kernel"]["io"]["args"]
    assert "an object of args and launch, got a list" in only(document).message


def test_cases_by_their_names_are_told_to_be_a_list() -> None:
    assert only({**evaluate(), "cases": {"a": {"N": 3}}}).suggestion == '[{"name": "a", "bind": {"N": 3}}]'
    assert only({**evaluate(), "cases": {"N": 3}}).suggestion is None


def test_all_problems_are_reported_at_once_with_field_and_suggestion() -> None:
    document = compare()
    document["num_trials"] = 0
    document["custom_kernel"]["io"]["args"][0]["tensor_spec"]["dtype"] = "fp32"
    document["custom_kernel"]["io"]["args"][2]["value"] = "M"
    document["custom_kernel"]["metadata"] = {"kernel_name": 3}
    document["ref_kernel"]["kernel_type"] = "tritn"
    document["cases"][0]["bind"]["if"] = 1
    document["static_args"] = ["xx"]
    document["checks"] = ["memchek"]
    found = {problem.field: problem.suggestion for problem in problems(document)}
    assert found == {
        "num_trials": None,
        "checks[0]": "memcheck",
        "cases[0].bind.if": None,
        "ref_kernel.kernel_type": "triton",
        "custom_kernel.io.args[0].tensor_spec.dtype": "float32",
        "custom_kernel.metadata.kernel_name": None,
        "custom_kernel.io.args[2].value (case large)": None,
        "static_args[0]": "x",
    }


@pytest.mark.parametrize(
    ("field", "accepted", "refused"),
    [
        ("num_trials", [1, 10_000], [0, 10_001, "many", [], 1e300]),
        ("timeout", [5, 600, 7.5], [4.9, 601, "soon", True]),
        ("correctness_trials", [1, 100], [0, 101]),
        ("priority", [-100, 100], [-101, 101]),
        ("contract_version", [1], [0, 2]),
        ("atol", [0, 1e-3], [-1, "x"]),
        ("name", ["a b", "x.y", "é" * 100], ["", " ", "a/b", ".a", "a\nb", "x" * 201, "é" * 101, 7]),
        ("problem", ["level1/3"], ["", "a\tb"]),
        ("labels", [{"a": "b"}], [{"a": 1}, {"a": {"b": "c"}}, ["a"]]),
        ("timing", [{"mode": "graph"}, {"target_rse": 0.01}], [{"mode": "fast"}, {"max_s": 0}, {"target_rse": 1}, 3]),
        ("requires", [{"min_capability": "12.1"}, {"gpus": 1}], [{"min_capability": 9.0}, {"gpus": 0}]),
        ("metrics", [True, False, ["a.b:c"]], ["all", ["--x"], [1]]),
        ("checks", [[], ["racecheck", "initcheck", "synccheck"]], [["leak"], "memcheck"]),
        ("static_args", [[], ["x"]], [["nope"], ["y"], "x"]),
        (
            "cases",
            [[{"name": "a"}]],
            [{}, [{"bind": {}}], [{"name": "a"}, {"name": "a"}], [3], [{"name": "a", "bind": {"N": 0.5}}]],
        ),
    ],
)
def test_top_level_fields_keep_their_ranges(field: str, accepted: list[object], refused: list[object]) -> None:
    for value in accepted:
        assert fields({**evaluate(), field: value}) == [], value
    for value in refused:
        found = fields({**evaluate(), field: value})
        assert found, value
        assert all(name.startswith(field) for name in found), (value, found)


@pytest.mark.parametrize("gpus", [0, 2, 1024, "2", 2.0])
def test_more_gpus_than_one_can_never_be_served_and_are_refused_in_words(gpus: object) -> None:
    problem = only({**evaluate(), "requires": {"gpus": gpus}})
    assert problem.field == "requires.gpus"
    assert problem.message.startswith("must be 1: a job is judged on one GPU, got ")


def test_messages_are_sentences_without_library_wording() -> None:
    texts = [
        str(problem)
        for value in (None, 3, "x", [], {}, 1e9, True, [None])
        for key in ("num_trials", "name", "labels", "cases", "timing", "checks", "kernel")
        for problem in problems({**evaluate(), key: value})
    ]
    assert texts
    assert not [text for text in texts if "pydantic" in text or "Input should" in text or "http" in text]
    assert any("got true" in text for text in texts) and any("got null" in text for text in texts)
    assert not [text for text in texts if text.endswith(("None", "True", "False"))], "words of Python, not of JSON"


def test_a_torch_candidate_needs_no_io_when_the_reference_has_one() -> None:
    reference = {**triton_kernel(), "metadata": {}}
    document = {"ref_kernel": reference, "custom_kernel": {"source_code": "x", "kernel_type": "torch"}}
    assert problems({**document, "cases": [{"name": "a", "bind": {"N": 8}}]}) == ()


@pytest.mark.parametrize("kernel_type", ["", "fortran", " torch"])
def test_a_text_that_is_no_kernel_type_is_refused(kernel_type: str) -> None:
    problem = only({"kernel": {"source_code": "x", "kernel_type": kernel_type}})
    assert problem.field == "kernel.kernel_type"
    assert f"'{kernel_type}' is not a kernel type (known: " in problem.message


@pytest.mark.parametrize("kernel_type", ["triton", "cuda", "multi_kernel"])
def test_types_that_need_io_say_so(kernel_type: str) -> None:
    kernel = {"source_code": "x", "kernel_type": kernel_type, "metadata": {}}
    assert "kernel.io" in fields({"kernel": kernel})


def test_a_kernel_that_writes_its_answers_needs_an_output_tensor() -> None:
    args = [tensor("x", [4]), {"name": "n", "type": "int", "value": 4}]
    kernel = {"source_code": "x", "kernel_type": "cuda", "io": {"args": args}}
    assert fields({"kernel": kernel}) == ["kernel.io.args"]
    args[0]["role"] = "inout"
    assert fields({"kernel": kernel}) == []


def test_a_dtype_that_no_kernel_of_the_type_can_take_is_refused() -> None:
    document = {"kernel": triton_kernel(), "cases": [{"name": "a", "bind": {"N": 8}}]}
    found = only(changed(document, "kernel.io.args.1.tensor_spec.dtype", "complex64"))
    assert (found.field, found.message) == (
        "kernel.io.args[1].tensor_spec.dtype",
        "a triton kernel takes no complex64",
    )
    assert fields(changed(evaluate(), "kernel.io.args.1.tensor_spec.dtype", "complex64")) == []


def test_multi_kernel_needs_its_entry_point() -> None:
    kernel = {"source_code": "x", "kernel_type": "multi_kernel", "io": {"args": [tensor("x", [4])]}}
    assert fields({"kernel": kernel}) == ["kernel.metadata.entry_point"]
    assert (
        parsed({"kernel": {**kernel, "metadata": {"entry_point": "run"}}}).request.candidate.metadata.entry_point
        == "run"
    )


def test_metadata_keys_go_by_kernel_type() -> None:
    document = evaluate()
    document["kernel"]["metadata"] = {"compile_options": ["-O3"], "kernel_nam": "f", "class_name": "M"}
    answer = parsed(document)
    assert answer.request.candidate.metadata.compiler_options == ("-O3",)
    assert answer.request.candidate.metadata.kernel_name is None
    assert [(warning.field, warning.suggestion) for warning in answer.warnings] == [
        ("kernel.metadata.kernel_nam", "kernel_name"),
        ("kernel.metadata.class_name", None),
    ]


@pytest.mark.parametrize(
    "metadata",
    [
        {"compile_options": [], "compiler_options": []},
        {"compiler_options": "-O3"},
        {"backend": "gcc"},
        {"kernel_name": ""},
        {"name_expressions": [3]},
        [],
    ],
)
def test_metadata_values_are_checked(metadata: object) -> None:
    found = fields(changed(evaluate(), "kernel.metadata", metadata))
    assert found
    assert all(field.startswith("kernel.metadata") for field in found)


def test_a_name_that_python_cannot_have_is_refused_for_python_sources_only() -> None:
    kernel = {"source_code": "x", "kernel_type": "torch", "metadata": {"function_name": "a-b"}}
    assert fields({"kernel": kernel}) == ["kernel.metadata.function_name"]
    assert fields(changed(evaluate(), "kernel.metadata.kernel_name", "ns::f<float>")) == []


def test_a_sixth_kernel_type_is_one_entry_and_keeps_its_own_keys() -> None:
    types = {**TYPES, "tile": KernelTypeSpec("tile", metadata_keys=("kernel_name", "tile_size"))}
    kernel = {"source_code": "x", "kernel_type": "tile", "metadata": {"tile_size": [8, 8], "kernel_name": "k"}}
    document = json.dumps({"kernel": kernel}).encode()
    metadata = parse_contract(document, {}, types=types, limits=LIMITS).request.candidate.metadata
    assert (metadata.kernel_name, metadata.extra) == ("k", {"tile_size": [8, 8]})


FILES = {
    "kernel.cu": b"\xef\xbb\xbfint x;",
    "src/helper.cu": b"int y;",
    "blob.bin": b"\xff\xfe",
    "void.cu": b" ",
    "nul.cu": b"a\0b",
}


def from_file(path: object) -> dict[str, object]:
    document = evaluate()
    del document["kernel"]["source_code"]
    return changed(document, "kernel.source_file", path)


@pytest.mark.parametrize(
    ("path", "name", "source"),
    [
        ("kernel.cu", "kernel.cu", "int x;"),
        ("./kernel.cu", "kernel.cu", "int x;"),
        ("src//helper.cu", "src/helper.cu", "int y;"),
    ],
)
def test_a_source_file_is_read_from_the_bundle(path: str, name: str, source: str) -> None:
    kernel = parsed(from_file(path), FILES).request.candidate
    assert (kernel.source_file, kernel.source) == (name, source)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x.cu", "src/../../x", "a\\b.cu", "", ".", "x\0.cu", "blob.bin", "void.cu", "nul.cu", "src", 7],
)
def test_a_source_file_outside_the_bundle_or_not_text_is_refused(path: object) -> None:
    assert fields(from_file(path), FILES) == ["kernel.source_file"]


def test_a_source_file_beside_a_contract_that_stands_alone_is_wanted_as_text() -> None:
    for files in ({}, {"contract.json": b"{}"}):
        assert "source_code" in only(from_file("kernel.cu"), files).message
    assert "source_code" not in only(from_file("kernel.cu"), {"other.cu": b"x"}).message


def test_a_missing_source_file_suggests_the_nearest_name() -> None:
    assert only(from_file("kernal.cu"), FILES).suggestion == "kernel.cu"


def test_the_name_of_a_file_in_place_of_its_text_is_no_source() -> None:
    """It was judged as one: `kernel.py` is an expression, and ended as a NameError."""
    wrong = changed(evaluate(), "kernel.source_code", "kernel.cu\n")
    assert fields(wrong, FILES) == ["kernel.source_code"]
    assert "source_file takes the name" in only(wrong, FILES).message
    assert fields(wrong) == []
    assert fields({"ref_code": "kernel.cu", "custom_code": "x"}, FILES) == ["ref_code"]


def test_a_kernel_that_imports_the_other_ones_source_is_warned() -> None:
    document = changed(
        compare(), "custom_kernel.source_code", "from reference import Model\nclass ModelNew(Model): pass\n"
    )
    document["ref_kernel"] = {"source_file": "reference.py", "kernel_type": "torch"}

    def warned(*others: str) -> list[str]:
        files = {name: b"class Model: pass\n" for name in ("reference.py", *others)}
        return [warning.message for warning in parsed(document, files).warnings]

    (message,) = warned("referee.py")
    assert "does not get to see reference.py, the source of ref_kernel" in message
    assert warned("lib/reference.py") == warned("reference/__init__.py") == []


@pytest.mark.parametrize(
    "line",
    [
        "from torch.utils.cpp_extension import load_inline",
        "    import torch.utils.cpp_extension as ext",
        "from torch.utils import checkpoint, cpp_extension",
    ],
)
def test_a_module_that_compiles_an_extension_is_told_which_type_compiles_it_before(line: str) -> None:
    def warned(kernel_type: str, source: str) -> list[str | None]:
        document = changed(compare(), "custom_kernel.source_code", f"{source}\nclass ModelNew: pass\n")
        document["custom_kernel"]["kernel_type"] = kernel_type
        return [warning.suggestion for warning in parsed(document).warnings]

    assert warned("torch", line) == ["torch_cuda"]
    assert warned("torch_cuda", line) == warned("torch", f"# {line}") == warned("torch", "import torch.utils") == []


def test_only_the_named_file_is_read() -> None:
    class Counting(Mapping[str, bytes]):
        read: list[str] = []  # noqa: RUF012 - one instance

        def __getitem__(self, key: str) -> bytes:
            self.read.append(key)
            return FILES[key]

        def __contains__(self, key: object) -> bool:
            return key in FILES

        def __iter__(self) -> Iterator[str]:
            return iter(FILES)

        def __len__(self) -> int:
            return len(FILES)

    files = Counting()
    parsed(from_file("kernel.cu"), files)
    assert files.read == ["kernel.cu"]


def test_a_source_is_given_exactly_once() -> None:
    both = changed(evaluate(), "kernel.source_file", "kernel.cu")
    assert fields(both, FILES) == ["kernel"]
    neither = evaluate()
    del neither["kernel"]["source_code"]
    assert fields(neither) == ["kernel"]


def test_sizes_and_counts_are_capped() -> None:
    big = changed(evaluate(), "kernel.source_code", "x" * 101)
    assert fields(big, limits=Limits(source_bytes=100)) == ["kernel.source_code"]
    assert fields(from_file("kernel.cu"), FILES, Limits(source_bytes=5)) == ["kernel.source_file"]
    assert "limit is 10" in only(evaluate() and b" " * 11, limits=Limits(contract_bytes=10)).message
    cases = [{"name": f"c{index}"} for index in range(3)]
    assert fields({**evaluate(), "cases": cases}, limits=Limits(cases=2)) == ["cases"]
    assert fields({**evaluate(), "cases": cases}, limits=Limits(cases=3)) == []


def test_tensor_bytes_are_capped_per_case() -> None:
    document = with_args(tensor("x", ["N"]), tensor("y", ["N"], role="output"))
    document["cases"] = [{"name": "a", "bind": {"N": 100}}, {"name": "b", "bind": {"N": 101}}]
    assert fields(document, limits=Limits(tensor_bytes=808)) == []
    assert fields(document, limits=Limits(tensor_bytes=800)) == ["kernel.io.args (case b)"]


def test_the_same_kernels_share_a_source_digest_wherever_their_text_stands() -> None:
    inline = parsed(changed(evaluate(), "kernel.source_code", "int x;"))
    filed = parsed({**from_file("kernel.cu"), "name": "other"}, FILES)
    assert inline.source_sha256 == filed.source_sha256
    assert inline.contract_sha256 != filed.contract_sha256
    assert parsed(evaluate()).source_sha256 != inline.source_sha256


def test_the_file_name_given_is_the_one_in_the_problems() -> None:
    with pytest.raises(BundleError) as caught:
        parse_contract(b"{}", {}, types=TYPES, limits=LIMITS, contract_file="mine.json")
    assert [problem.file for problem in caught.value.problems] == ["mine.json"]


def test_a_flood_of_problems_is_cut_and_counted() -> None:
    document = with_args(*({"name": f"a{index}", "type": "int"} for index in range(300)))
    found = problems(document)
    assert len(found) == 101
    assert "200 more" in found[-1].message


@pytest.mark.parametrize("make", [evaluate, compare, legacy])
def test_a_request_survives_its_own_json(make: object) -> None:
    request = parsed(make()).request  # type: ignore[operator]
    assert type(request).model_validate_json(request.model_dump_json()) == request


def test_an_unknown_key_in_an_argument_does_not_hide_what_else_is_wrong_with_it() -> None:
    negative = tensor("x", [-3], init={"kind": "randn", "men": 2})
    found = fields(with_args({**negative, "rolle": "input"}))
    where = "kernel.io.args[0]"
    assert sorted(found) == [f"{where}.rolle", f"{where}.tensor_spec.init.men", f"{where}.tensor_spec.shape[0]"]


@pytest.mark.parametrize(("role", "meant"), [("out", "output"), ("OUTP", "output"), ("in-out", "inout")])
def test_of_a_few_words_the_one_that_was_begun_is_suggested(role: str, meant: str) -> None:
    document: dict[str, Any] = compare()
    document["custom_kernel"]["io"]["args"][1]["role"] = role
    assert only(document).suggestion == meant


@pytest.mark.parametrize(
    ("path", "written", "meant", "remark"),
    [
        ("role", "in", "input", ""),
        ("role", "result", "output", ""),
        ("type", "constexpr", "int", '"is_meta": true'),
        ("type", "pointer", "tensor", ""),
        ("type", "double", "float", ""),
        ("tensor_spec.init.kind", "rand", "uniform", ""),
        ("tensor_spec.init.kind", "normal", "randn", ""),
        ("tensor_spec.init", "randn", '{"kind": "randn"}', ""),
        ("tensor_spec.shape", 512, "[512]", ""),
        ("tensor_spec.shape", "(4, 8)", "[4, 8]", ""),
        ("tensor_spec.shape", "N", '["N"]', ""),
        ("tensor_spec.dtype", "int4", "int8", ""),
        ("tensor_spec.dtype", "complex128", "complex64", ""),
    ],
)
def test_a_word_of_other_tools_is_answered_with_ours(path: str, written: Any, meant: str, remark: str) -> None:
    document: dict[str, Any] = evaluate()
    argument: Any = document["kernel"]["io"]["args"][0]
    *outer, last = path.split(".")
    for step in outer:
        argument = argument[step]
    argument[last] = written
    problem = next(found for found in problems(document) if found.field.endswith(path))
    assert problem.suggestion == meant
    assert type(problem.suggestion) is str
    assert remark in problem.message


@pytest.mark.parametrize(("written", "meant"), [("cpp", "torch_cuda"), ("pytorch", "torch"), ("nvcc", "cuda")])
def test_a_kernel_type_of_other_tools_is_answered_with_ours(written: str, meant: str) -> None:
    document: dict[str, Any] = compare()
    document["custom_kernel"]["kernel_type"] = written
    assert only(document).suggestion == meant


def test_a_module_that_launches_triton_kernels_is_told_its_kernel_type() -> None:
    document: dict[str, Any] = compare()
    document["custom_kernel"] = {"kernel_type": "triton", "source_code": "class ModelNew(nn.Module):\n    pass\n"}
    problem = only(document)
    assert problem.field == "custom_kernel.io"
    assert 'kernel_type "torch"' in problem.message


@pytest.mark.parametrize(
    ("path", "key", "meant"),
    [
        ("kernel", "num_warps", "io.launch.num_warps"),
        ("kernel", "kernel_name", "metadata.kernel_name"),
        ("kernel", "source", "source_code"),
        ("kernel", "language", "kernel_type"),
        ("kernel.io.args[0]", "dtype", "tensor_spec.dtype"),
        ("kernel.io.args[0]", "seed", "tensor_spec.init.seed"),
        ("kernel.io.args[0]", "is_constexpr", "is_meta"),
        ("kernel.io.args[0].tensor_spec.init", "min", "low"),
        ("kernel.io.args[0].tensor_spec.init", "value", "fill_value"),
    ],
)
def test_a_key_of_other_tools_or_of_another_place_is_answered_with_ours(path: str, key: str, meant: str) -> None:
    document = evaluate()
    inner: Any = document["kernel"]
    for step in path.replace("[0]", "").split(".")[1:]:
        inner = inner[step][0] if step == "args" else inner[step]
    inner[key] = 1
    problem = next(found for found in problems(document) if found.field == f"{path}.{key}")
    assert problem.suggestion == meant


def test_a_top_level_key_of_other_tools_is_warned_about_with_ours() -> None:
    warnings = parsed({**compare(), "tolerance": 1e-3, "max_s": 3}).warnings
    assert [(warning.field, warning.suggestion) for warning in warnings] == [
        ("tolerance", "atol"),
        ("max_s", "timing.max_s"),
    ]


def test_a_side_by_another_name_is_told_where_it_stands() -> None:
    document: dict[str, Any] = compare()
    document["candidate"] = document.pop("custom_kernel")
    problem = next(found for found in problems(document) if found.field == "candidate")
    assert problem.suggestion == "custom_kernel"


def test_a_symbol_beside_the_name_of_a_case_belongs_into_bind() -> None:
    document: dict[str, Any] = {**evaluate(), "cases": [{"name": "small", "N": 1000}]}
    problem = next(found for found in problems(document) if found.field == "cases[0].N")
    assert problem.suggestion == "bind.N"
    text: dict[str, Any] = {**evaluate(), "cases": [{"name": "small", "nam": "x"}]}
    assert next(found for found in problems(text) if found.field == "cases[0].nam").suggestion == "name"


@pytest.mark.parametrize(
    ("grid", "meant"), [("ceildiv(n, BLOCK)", "ceildiv(N, 64)"), ("BLOCK2 * BLOCK", "(N + 1) * 64")]
)
def test_an_argument_in_a_grid_is_answered_with_its_value(grid: str, meant: str) -> None:
    document: dict[str, Any] = {**compare(), "cases": [{"name": "small", "bind": {"N": 128}}]}
    io = document["custom_kernel"]["io"]
    scalars = {"n": "N", "BLOCK": 64, "BLOCK2": "N + 1"}
    io["args"] += [{"name": name, "type": "int", "value": value} for name, value in scalars.items()]
    io["launch"] = {"grid": grid}
    found = next(one for one in problems(document) if ".launch.grid" in one.field)
    assert "is an argument, and no symbol" in found.message
    assert found.suggestion == meant


@pytest.mark.parametrize("grid", ["ceildiv(N, BLOCK)", "ceildiv(N, WIDTH)"])
def test_a_grid_that_follows_the_tuner_is_told_how_that_is_written(grid: str) -> None:
    """Whoever did as was said, and wrote a value, had an honest kernel fail where another one was picked."""
    document: dict[str, Any] = {**compare(), "cases": [{"name": "small", "bind": {"N": 128}}]}
    kernel = document["custom_kernel"]
    kernel["io"]["launch"] = {"grid": grid}
    follows = "no grid of a contract follows what @triton.autotune picks"
    assert follows not in only(document).message
    kernel["source_code"] = "@triton.autotune(configs=[], key=[])\n@triton.jit\ndef f(): pass\n"
    assert follows in only(document).message


def test_a_limit_that_is_a_whole_number_is_written_as_one() -> None:
    assert only({**evaluate(), "timeout": 1e6}).message.startswith("must be at most 600, got")


def test_what_no_symbol_changes_is_tried_with_one_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 cases and two kernels of 512 tensors with long shapes of numbers, each with each took seconds."""
    fixed = [tensor(f"fixed{index}", [1] * 8) for index in range(20)]
    wrong = tensor("wrong", [1], dtype="int8", init={"kind": "full", "fill_value": 1000})
    document = with_args(*fixed, tensor("bound", ["N"]), tensor("out", ["N"], role="output"))
    document["cases"] = [{"name": f"c{number}", "bind": {"N": number + 1}} for number in range(30)]
    bound: list[str] = []
    bind = cases_module.bind_arg
    monkeypatch.setattr(cases_module, "bind_arg", lambda arg, *more: (bound.append(arg.name), bind(arg, *more))[1])
    assert problems(document) == ()
    assert {name: bound.count(name) for name in bound if name.startswith("fixed")} == {arg["name"]: 1 for arg in fixed}
    assert bound.count("bound") == bound.count("out") == 30
    document["kernel"]["io"]["args"].append(wrong)
    (problem,) = problems(document)
    assert "(cases c0, c1, c2, c3 and 26 more)" in problem.field
