"""Bundles for the executor's tests, and what came out of one as a test wants to read it."""

from __future__ import annotations

import json
import textwrap
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from daemon.evaluation import CaseEvaluation, Evaluation, Failure
from daemon.verdict import Verdict

Doc = dict[str, Any]

# Quick to judge: little data, two trials, few timed calls. Nothing comes near its time limit, on a busy machine either.
FAST: Doc = {"correctness_trials": 2, "num_trials": 5, "timeout": 120}

ADD = """
    class Model(nn.Module):
        def forward(self, a, b):
            return a + b
    def get_inputs():
        return [torch.randn(64, 8), torch.randn(64, 8)]
    """


@dataclass(frozen=True)
class Judged:
    """An evaluation of one case."""

    evaluation: Evaluation

    @property
    def case(self) -> CaseEvaluation:
        assert len(self.evaluation.cases) == 1, self.evaluation
        return self.evaluation.cases[0]

    @property
    def verdict(self) -> Verdict:
        return self.evaluation.verdict

    @property
    def failure(self) -> Failure:
        assert self.case.failure is not None, self.evaluation
        return self.case.failure

    @property
    def message(self) -> str:
        return self.failure.message

    @property
    def report(self) -> dict[str, str]:
        """What a kernel printed as `name=value` lines (NAME=VALUE, the first of each name)."""
        found: dict[str, str] = {}
        for line in self.case.stdout_tail.splitlines():
            name, equals, value = line.partition("=")
            if equals:
                found.setdefault(name, value)
        return found

    def passed(self) -> Judged:
        assert self.verdict is Verdict.PASSED, self.evaluation.model_dump_json(indent=1)
        return self

    def ended(self, verdict: Verdict, *words: str) -> Judged:
        """Not passed, with this verdict, and every word in the message."""
        assert self.verdict is verdict, self.evaluation.model_dump_json(indent=1)
        for word in words:
            assert word in self.message, self.message
        return self


class JudgeOne(Protocol):
    def __call__(self, doc: Doc, **files: str) -> Judged: ...


def with_enough_time(
    judge: JudgeOne, is_as_meant: Callable[[Judged], object], doc_of: Callable[[float], Doc]
) -> Judged:
    """For what is to run into its time limit somewhere, and on a busy machine does so before it has come there: the
    contract that `doc_of` makes of a time limit, with more of it until the outcome is as meant."""
    for timeout_s in (5, 30, 150):
        if is_as_meant(judged := judge(doc_of(timeout_s))):
            break
    return judged


def write_bundle(folder: Path, doc: Doc, files: Mapping[str, str]) -> Path:
    bundle = folder / uuid.uuid4().hex
    bundle.mkdir()
    (bundle / "contract.json").write_text(json.dumps(doc))
    for name, text in files.items():
        path = bundle / name.replace("__", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return bundle


def kernel(source: str, kind: str = "torch", **rest: Any) -> Doc:
    return {"kernel_type": kind, "source_code": textwrap.dedent(source), **rest}


def compare(custom: str | Doc, reference: str | Doc = ADD, **rest: Any) -> Doc:
    """A compare of torch sources, or of whole kernel objects."""
    sides = [side if isinstance(side, dict) else kernel(side) for side in (reference, custom)]
    return {**FAST, "ref_kernel": sides[0], "custom_kernel": sides[1], **rest}


def evaluate(source: str | Doc, **rest: Any) -> Doc:
    return {**FAST, "kernel": source if isinstance(source, dict) else kernel(source), **rest}


def forward(body: str, *, before: str = "", arguments: str = "a, b") -> str:
    """A `ModelNew` whose forward is `body`; `before` stands above the class."""
    inner = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    head = textwrap.dedent(before)
    return f"{head}\nclass ModelNew(nn.Module):\n    def forward(self, {arguments}):\n{inner}\n"


def tensor(name: str, shape: list[Any], dtype: str = "float32", role: str = "input", **spec: Any) -> Doc:
    if role == "input" and not spec:
        spec = {"init": {"kind": "randn"}}
    return {"name": name, "type": "tensor", "role": role, "tensor_spec": {"shape": shape, "dtype": dtype, **spec}}


def scalar(name: str, kind: str, value: Any, *, is_meta: bool = False) -> Doc:
    return {"name": name, "type": kind, "value": value, **({"is_meta": True} if is_meta else {})}


def io(*args: Doc, **launch: Any) -> Doc:
    return {"args": list(args), **({"launch": launch} if launch else {})}
