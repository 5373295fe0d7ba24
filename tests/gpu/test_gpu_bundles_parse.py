"""The bundles of this suite are good bundles: checked on every host, with or without a GPU."""

from __future__ import annotations

import ast
import base64
import json
import runpy
import zlib
from pathlib import Path

import pytest
from gpu_bundles import FOLDER, candidate_type, expected, names, parsed

from daemon.executor import catalog

ALL = names()


@pytest.mark.parametrize("name", ALL)
def test_a_contract_of_this_suite_parses_without_a_warning(name: str) -> None:
    found = parsed(name)
    assert found.warnings == ()
    assert found.notes == {}
    assert found.request.name == name
    assert found.request.timeout <= 30
    assert len(found.request.cases) == 1
    assert (found.request.timing.max_s or 1) <= 0.3


@pytest.mark.parametrize("name", ALL)
def test_an_expectation_of_this_suite_says_enough(name: str) -> None:
    wanted = expected(name)
    assert wanted.verdicts
    if wanted.passes:
        assert (wanted.messages, wanted.line) == ((), None)
    else:
        assert wanted.mode is None and wanted.labels == ()


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_python_source_of_this_suite_compiles(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), str(path))


def test_every_kernel_type_has_a_bundle_that_must_pass_and_one_that_must_not() -> None:
    outcomes = {(candidate_type(name), expected(name).passes) for name in ALL}
    assert {kind for kind, passes in outcomes if passes} == set(catalog.load())
    assert {kind for kind, passes in outcomes if not passes} == set(catalog.load())


def test_a_bundle_that_must_pass_follows_every_one_that_must_not() -> None:
    pairs = zip(ALL, [*ALL[1:], None], strict=True)
    assert [
        name for name, after in pairs if not expected(name).passes and (after is None or not expected(after).passes)
    ] == []


def test_a_generated_contract_is_the_one_its_script_writes() -> None:
    scripts = list(FOLDER.rglob("write_contract.py"))
    assert scripts
    for script in scripts:
        written = script.with_name("contract.json").read_text("utf-8")
        fresh = json.dumps(runpy.run_path(str(script))["contract"]())
        assert json.loads(fresh, object_hook=expanded) == json.loads(written, object_hook=expanded)


def expanded(item: dict[str, object]) -> dict[str, object]:
    """Embedded data decompressed: no two versions of zlib need to agree on every byte."""
    packed = item.get("data_b64")
    return {**item, "data_b64": zlib.decompress(base64.b64decode(packed))} if isinstance(packed, str) else item
