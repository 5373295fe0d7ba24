"""Kernel types as backend files declare them: what is taken, and what is said about a SPEC that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.contract import DTYPES
from daemon.errors import OperatorError
from daemon.executor import catalog


def declared(folder: Path, text: str) -> catalog.BackendSpec:
    (folder / "mine.py").write_text(text, "utf-8")
    return catalog.load([folder])["mine"]


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    spec = declared(tmp_path, "SPEC = {}\n")
    assert (spec.build, spec.answers, spec.devices, spec.precompiled_header) == ((), "either", ("cpu",), False)
    assert spec.contract.name == "mine"
    assert spec.contract.io_required
    assert spec.contract.is_python
    assert not spec.contract.writes_outputs


@pytest.mark.parametrize(
    ("build", "devices"), [("True", ("cpu", "cuda")), ("['cuda']", ("cuda",)), ("False", ()), ("[]", ())]
)
def test_build_true_means_all_devices(tmp_path: Path, build: str, devices: tuple[str, ...]) -> None:
    assert declared(tmp_path, f"SPEC = {{'build': {build}, 'devices': ['cpu', 'cuda']}}\n").build == devices


def test_no_triton_kernel_takes_complex_numbers_and_others_do() -> None:
    lacking = {name: spec.contract.lacks_dtypes for name, spec in catalog.load().items()}
    assert lacking.pop("triton") == ("complex64",)
    assert not any(lacking.values())


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{'answer': 'args'}", ("answer: there is no such key", "answers")),
        ("{'lacks_dtypes': 'complex64'}", ("lacks_dtypes", "'complex64'")),
        ("{'lacks_dtypes': ['complex']}", ("lacks_dtypes", "'complex'", *DTYPES)),
        ("{'metadata_keys': 'kernel_name'}", ("metadata_keys", "'kernel_name'")),
        ("{'devices': ['gpu']}", ("devices", "'gpu'", "'cuda'")),
        ("{'build': 'cuda'}", ("build", "'cuda'")),
        ("{'io_required': 'no'}", ("io_required", "'no'")),
        ("{'answers': 'return'}", ("answers", "'return'", "'either'")),
        ("{'devices': [], 'python': 1}", ("devices", "python", "1")),
        ("dict(answers='args')", ("not a literal",)),
        ("[]", ("SPEC, a literal dict",)),
        ("{", ("is no Python",)),
        ("'\0'", ("is no Python",)),
    ],
)
def test_a_spec_that_is_wrong_is_refused_with_the_file_and_the_key(
    tmp_path: Path, spec: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(OperatorError) as refused:
        declared(tmp_path, f"SPEC = {spec}\n")
    assert str(tmp_path / "mine.py") in refused.value.message
    for word in words:
        assert word in refused.value.message
