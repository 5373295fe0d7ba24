"""Every example parses without a warning, and gets the verdict that examples/expected.json promises."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.config import Sandbox, Settings
from daemon.engine import JobSpec
from daemon.evaluation import Evaluation
from daemon.executor import catalog
from daemon.executor.local import LocalEngine
from daemon.intake.copying import private_copy
from daemon.intake.reading import read_bundle
from daemon.verdict import Verdict

EXAMPLES = Path(__file__).parents[2] / "examples"
WRITTEN: dict[str, str | dict[str, str]] = json.loads((EXAMPLES / "expected.json").read_text("utf-8"))
EXPECTED = {name: verdict if isinstance(verdict, str) else verdict["cpu"] for name, verdict in WRITTEN.items()}
SLOW = {"relu-torch-cuda"}  # half a minute of g++: `make demo` judges it
TYPES = catalog.contract_types(catalog.load())


def test_expected_json_names_every_example_and_real_verdicts() -> None:
    entries = {entry.name for entry in EXAMPLES.iterdir()} - {"README.md", "expected.json", "demo.py", "__pycache__"}
    assert set(EXPECTED) == entries
    assert set(EXPECTED.values()) <= set(Verdict)
    by_device = [verdict for verdict in WRITTEN.values() if not isinstance(verdict, str)]
    assert all(set(verdicts) == {"cpu", "cuda"} and set(verdicts.values()) <= set(Verdict) for verdicts in by_device)


@pytest.mark.parametrize(
    "script", [EXAMPLES / "demo.py", *sorted((EXAMPLES.parent / "bench").glob("*.py"))], ids=lambda path: path.name
)
def test_a_script_beside_the_package_finds_what_it_imports_of_it(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "daemon":
            module = importlib.import_module(str(node.module))
            missing = [one.name for one in node.names if not hasattr(module, one.name)]
            assert [name for name in missing if importlib.util.find_spec(f"{node.module}.{name}") is None] == []


def test_the_readme_explains_every_example() -> None:
    page = (EXAMPLES / "README.md").read_text("utf-8")
    assert [name for name in EXPECTED if f"[{name}]" not in page] == []


@pytest.mark.parametrize("name", EXPECTED)
def test_every_example_is_a_valid_bundle_without_warnings(name: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    bundle = private_copy(EXAMPLES / name, tmp_path / "bundle", settings.limits)
    parsed = read_bundle(bundle.dir, TYPES, settings.limits)
    assert parsed.warnings == ()
    assert parsed.notes == {}
    assert parsed.request.name == name.removesuffix(".json")
    assert parsed.request.problem
    assert parsed.request.labels


def test_every_kernel_type_has_an_example() -> None:
    texts = [path.read_text("utf-8") for path in EXAMPLES.rglob("*.json")]
    assert [name for name in TYPES if not any(f'"kernel_type": "{name}"' in text for text in texts)] == []


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[LocalEngine]:
    settings = Settings(home=tmp_path / "home", device="cpu", sandbox=Sandbox(uid_base=180_000))
    settings.paths.create()
    engine = LocalEngine(settings)
    engine.start()
    yield engine
    engine.close()


@pytest.mark.sandbox
def test_every_fast_example_gets_the_verdict_it_promises(engine: LocalEngine, tmp_path: Path) -> None:
    promised = {name: verdict for name, verdict in EXPECTED.items() if name not in SLOW}
    judged = {name: _judge(engine, name, tmp_path / "bundles" / name) for name in promised}
    got = {name: (str(evaluation.verdict), evaluation.message) for name, evaluation in judged.items()}
    assert {name: pair for name, pair in got.items() if pair[0] != promised[name]} == {}
    assert {name for name in promised if judged[name].verdict is Verdict.PASSED and _untimed(judged[name])} == set()


def _judge(engine: LocalEngine, name: str, folder: Path) -> Evaluation:
    bundle = private_copy(EXAMPLES / name, folder, Settings().limits)
    _hurry(bundle.dir / "contract.json")
    return engine.evaluate(JobSpec(name, name, bundle.dir), lambda _: None)


def _hurry(contract_file: Path) -> None:
    """Time as little as possible: this is about verdicts."""
    contract = json.loads(contract_file.read_text("utf-8"))
    contract["timing"] = {"max_s": 0.05}
    contract_file.write_text(json.dumps(contract), "utf-8")


def _untimed(evaluation: Evaluation) -> list[str]:
    return [case.name for case in evaluation.cases if case.timing is None]
