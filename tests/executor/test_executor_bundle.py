"""Which files of a bundle its kernels get."""

from __future__ import annotations

import json
import py_compile
import sys
import textwrap
from pathlib import Path

import pytest
from executor_bundles import ADD, FAST, forward, kernel, write_bundle

from daemon.config import Limits
from daemon.engine import JobSpec
from daemon.errors import HarnessError
from daemon.executor import catalog
from daemon.executor.artifacts.bundle import files_for, parse_folder
from daemon.executor.local import LocalEngine
from daemon.verdict import Side, Verdict

pytestmark = pytest.mark.sandbox

OPTIONAL = """
try:
    import helper
except ImportError:
    pass
"""


@pytest.mark.parametrize("place", [f"__pycache__/{{}}.{sys.implementation.cache_tag}.pyc", "{}.pyc"])
def test_compiled_python_in_a_bundle_is_not_taken_for_a_source(place: str, engine: LocalEngine, tmp_path: Path) -> None:
    """One that says it needs no comparison with its source would be the reference, or what that imports."""
    planted = tmp_path / "planted.py"
    planted.write_text("raise RuntimeError('planted')\n")
    doc = {
        **FAST,
        "ref_kernel": {"source_file": "reference.py", "kernel_type": "torch"},
        "custom_kernel": kernel(forward("return a + b")),
    }
    bundle = write_bundle(tmp_path, doc, {"reference__py": OPTIONAL + textwrap.dedent(ADD)})
    for name in ("reference", "helper"):
        compiled = str(bundle / place.format(name))
        py_compile.compile(str(planted), compiled, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    evaluation = engine.evaluate(JobSpec(bundle.name, "test", bundle), lambda _: None)
    assert evaluation.verdict is Verdict.PASSED, evaluation.message


@pytest.mark.parametrize(
    ("reference", "custom", "seen_by_reference", "seen_by_custom"),
    [
        ("reference.py", "kernel.py", {"common/c.py", "a/x.py", "b/y.py"}, {"common/c.py", "a/x.py", "b/y.py"}),
        ("reference.py", "b/kernel.py", {"common/c.py", "a/x.py"}, {"common/c.py", "a/x.py", "b/y.py"}),
        ("a/reference.py", "b/kernel.py", {"common/c.py", "a/x.py"}, {"common/c.py", "b/y.py"}),
        ("a/reference.py", "a/kernel.py", {"common/c.py", "a/x.py", "b/y.py"}, {"common/c.py", "a/x.py", "b/y.py"}),
        ("a/reference.py", "a/in/kernel.py", {"common/c.py", "a/x.py", "b/y.py"}, {"common/c.py", "a/x.py", "b/y.py"}),
        ("a/reference.py", None, {"common/c.py", "a/x.py", "b/y.py"}, {"common/c.py", "b/y.py"}),
    ],
)
def test_a_source_in_a_folder_of_its_own_has_that_to_itself(
    reference: str, custom: str | None, seen_by_reference: set[str], seen_by_custom: set[str], tmp_path: Path
) -> None:
    """What comes with a candidate is then nothing that the reference could import."""
    theirs = {"source_file": custom} if custom else {"source_code": "x = 1"}
    doc = {
        "name": "apart",
        "ref_kernel": {"source_file": reference, "kernel_type": "torch"},
        "custom_kernel": {**theirs, "kernel_type": "torch"},
    }
    sources = {reference, *({custom} if custom else ())}
    for name in {"common/c.py", "a/x.py", "b/y.py"} | sources:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1")
    (tmp_path / "contract.json").write_text(json.dumps(doc))
    request = parse_folder(tmp_path, catalog.contract_types(catalog.load()), Limits()).request
    seen = {side: {name for name, _ in files_for(request, side, tmp_path, suffix=".py").contents} for side in Side}
    assert seen[Side.REFERENCE] == seen_by_reference | {reference}
    assert seen[Side.CANDIDATE] == seen_by_custom | {custom or "candidate.py"}


def test_a_source_that_is_gone_by_now_is_no_fault_of_the_bundle(tmp_path: Path) -> None:
    """A cleaner of temporary files may have taken it, or an admin."""
    doc = {
        "name": "gone",
        "ref_kernel": kernel("x = 1"),
        "custom_kernel": {"source_file": "kernel.py", "kernel_type": "torch"},
    }
    bundle = write_bundle(tmp_path, doc, {"kernel__py": "x = 1"})
    request = parse_folder(bundle, catalog.contract_types(catalog.load()), Limits()).request
    (bundle / "kernel.py").unlink()
    with pytest.raises(HarnessError, match=r"kernel\.py is gone"):
        files_for(request, Side.CANDIDATE, bundle, suffix=".py")
    assert files_for(request, Side.REFERENCE, bundle, suffix=".py").source_file == "reference.py"


def test_a_source_in_the_contract_lies_beside_whatever_has_its_name(tmp_path: Path) -> None:
    doc = {"name": "taken", "ref_kernel": kernel("x = 1"), "custom_kernel": kernel("y = 2")}
    bundle = write_bundle(tmp_path, doc, {})
    (bundle / "candidate.py").mkdir()
    (bundle / "candidate.py" / "weights.bin").write_text("w")
    request = parse_folder(bundle, catalog.contract_types(catalog.load()), Limits()).request
    found = files_for(request, Side.CANDIDATE, bundle, suffix=".py")
    assert dict(found.contents) == {"candidate.py/weights.bin": b"w", "_candidate.py": b"y = 2"}
    assert found.source_file == "_candidate.py"
