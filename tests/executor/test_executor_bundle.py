"""Which files of a bundle its kernels get."""

from __future__ import annotations

import py_compile
import sys
import textwrap
from pathlib import Path

import pytest
from executor_bundles import ADD, FAST, forward, kernel, write_bundle

from daemon.engine import JobSpec
from daemon.executor.local import LocalEngine
from daemon.verdict import Verdict

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
