"""Triton kernels compiled for a GPU that is not here, by the real compiler, each in a process of its own."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import evald_processes
import pytest

pytest.importorskip("triton")

HEAD = "import triton\nimport triton.language as tl\n"
ADD = """
@triton.jit
def add(a, b, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out + at, tl.load(a + at, mask=mask) + tl.load(b + at, mask=mask), mask=mask)
"""
TUNED = """
@triton.autotune(
    configs=[triton.Config({"BLOCK": 64}, num_warps=2), triton.Config({"BLOCK": 128}, num_warps=4),
             triton.Config({"BLOCK": 96}, num_warps=4)],
    key=["n"],
    prune_configs_by={"early_config_prune": lambda configs, args, **_: [c for c in configs if c.kwargs["BLOCK"] != 96]},
    reset_to_zero=["out"],
)
@triton.heuristics({"EVEN": lambda args: args["n"] % args["BLOCK"] == 0 and args["a"].numel() > 0})
@triton.jit
def add(a, b, out, BLOCK: tl.constexpr, n, EVEN: tl.constexpr, scale=1.0):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < n
    tl.store(out + at, scale * tl.load(a + at, mask=mask) + tl.load(b + at, mask=mask), mask=mask)
"""
MIXED = """
@triton.jit
def half_of(x):
    return x / 2

@triton.jit
def mixed(a, flag, BLOCK: tl.constexpr, f, one, big, KIND: tl.constexpr, empty, out, n: tl.int64):
    at = tl.arange(0, BLOCK)
    value = half_of(tl.load(a + at).to(tl.float32)) * f + one + big
    if flag:
        value += 1
    if KIND == "twice":
        value *= 2
    tl.store(out + at, value.to(out.dtype.element_ty), mask=at < n)
"""


def tensor(name: str, *shape: int, dtype: str = "float32") -> dict[str, Any]:
    return {"name": name, "is_meta": False, "type": "tensor", "dtype": dtype, "shape": list(shape)}


def scalar(name: str, kind: str, value: Any, *, is_meta: bool = False) -> dict[str, Any]:
    return {"name": name, "is_meta": is_meta, "type": kind, "value": value}


VECTORS = [tensor("a", 256), tensor("b", 256), tensor("out", 256), scalar("n", "int", 256)]
PLAIN = [*VECTORS, scalar("BLOCK", "int", 64, is_meta=True)]
ODD = [
    tensor("a", 64, dtype="float16"),
    scalar("flag", "bool", True),
    scalar("BLOCK", "int", 64, is_meta=True),
    scalar("f", "float", 0.5),
    scalar("one", "int", 1),
    scalar("big", "int", 2**40),
    scalar("KIND", "str", "twice", is_meta=True),
    tensor("empty", 0),
    tensor("out", 64, dtype="bfloat16"),
    scalar("n", "int", 48),
]


class Stages:
    """Build in one process, load and launch in another, with cache folders of their own."""

    def __init__(self, folder: Path, source: str, args: list[dict[str, Any]], launch: dict[str, Any], name: str | None):
        (folder / "bundle").mkdir()
        (folder / "bundle" / "kernel.py").write_text(HEAD + source)
        self.folder = folder
        self.spec = json.dumps({"args": args, "launch": launch, "metadata": {"kernel_name": name} if name else {}})

    def run(self, stage: str) -> Any:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TRITON")}
        environment["TRITON_CACHE_DIR"] = str(self.folder / f"cache-{stage}")
        program = [sys.executable, "-m", "executor.triton_stage", stage, str(self.folder), self.spec]
        done = evald_processes.carried_out(program, env=environment, timeout_s=240)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def stages(folder: Path, source: str, args: list[dict[str, Any]], name: str | None = None, **launch: Any) -> Stages:
    return Stages(folder, textwrap.dedent(source), args, launch, name)


@pytest.mark.parametrize(
    ("source", "args", "launch", "variants"),
    [(ADD, PLAIN, {}, 1), (ADD, PLAIN, {"num_warps": 8, "num_stages": 2}, 1), (TUNED, VECTORS, {"num_warps": 8}, 2)],
    ids=["plain", "options", "tuned"],
)
def test_what_the_build_cell_compiles_is_what_the_launch_looks_for(
    tmp_path: Path, source: str, args: list[dict[str, Any]], launch: dict[str, Any], variants: int
) -> None:
    work = stages(tmp_path, source, args, **launch)
    built = work.run("build")
    assert (built["compiled"], built["variants"]) == (True, variants), built
    assert list((tmp_path / "artifacts").glob("*/*.cubin"))
    assert work.run("again") == [True] * variants


def test_scalars_of_every_kind_an_empty_tensor_and_a_helper_hit_the_cache_too(tmp_path: Path) -> None:
    work = stages(tmp_path, MIXED, ODD, "mixed", num_warps=2)
    assert work.run("build")["compiled"] is True
    assert work.run("again") == [True]
    unlike = [*ODD[:4], scalar("one", "int", 2), *ODD[5:]]  # 1 is a constant to Triton: another kernel
    (tmp_path / "other").mkdir()
    other = stages(tmp_path / "other", MIXED, unlike, "mixed", num_warps=2)
    (tmp_path / "artifacts").rename(tmp_path / "other" / "artifacts")
    assert other.run("again") == [False]


def test_thirty_arguments_are_compiled(tmp_path: Path) -> None:
    names = [f"x{index}" for index in range(28)]
    body = "".join(f"    value += tl.load({name} + at)\n" for name in names)
    head = f"\n@triton.jit\ndef total({', '.join(names)}, out, N: tl.constexpr):\n    at = tl.arange(0, N)\n"
    text = f"{head}    value = tl.zeros([N], dtype=tl.float32)\n{body}    tl.store(out + at, value)\n"
    args = [tensor(name, 32) for name in [*names, "out"]] + [scalar("N", "int", 32, is_meta=True)]
    work = stages(tmp_path, text, args)
    assert work.run("build")["compiled"] is True
    assert work.run("again") == [True]


def test_what_does_not_compile_is_answered_with_the_line_in_the_users_file(tmp_path: Path) -> None:
    wrong = MIXED.replace("return x / 2", "y = x\n    return y.nonsense(2)")
    failed = stages(tmp_path, wrong, ODD, "mixed").run("build")
    assert failed["verdict"] == "compile_error"
    assert failed["message"].startswith("kernel.py:7: "), failed
    assert "nonsense" in failed["message"]


def test_a_variable_of_the_module_does_not_compile(tmp_path: Path) -> None:
    """Triton's interpreter takes it: a result of that has a note."""
    plain = "GAIN = 2.0\n" + ADD.replace("tl.load(a", "GAIN * tl.load(a")
    failed = stages(tmp_path, plain, PLAIN).run("build")
    assert failed["verdict"] == "compile_error"
    assert "Cannot access global variable GAIN" in failed["message"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import triton_nothing\n" + ADD, "triton_nothing"),
        (ADD + "\ndef broken(:\n", "SyntaxError"),
        (ADD.replace("add(a, b,", "add(a,"), "5 arguments (a, b, out, n, BLOCK), but the kernel add takes 4"),
    ],
)
def test_what_no_gpu_could_heal_ends_the_build(tmp_path: Path, source: str, words: str) -> None:
    failed = stages(tmp_path, source, PLAIN).run("build")
    assert failed["verdict"] == "compile_error"
    assert words in failed["message"], failed


def test_options_of_a_launch_among_the_arguments_are_sent_where_they_belong(tmp_path: Path) -> None:
    options = [scalar(name, "int", 4, is_meta=True) for name in ("num_warps", "num_stages")]
    failed = stages(tmp_path, ADD, [*PLAIN, *options]).run("build")
    assert failed["message"].endswith("takes 5 (a, b, out, n, BLOCK): give num_warps and num_stages in io.launch"), (
        failed
    )


def test_a_source_that_touches_the_gpu_when_imported_is_left_to_the_candidate_cell(tmp_path: Path) -> None:
    built = stages(tmp_path, "import torch\nready = torch.zeros(1, device='cuda')\n" + ADD, PLAIN).run("build")
    assert built["compiled"] is False
    assert "while importing" in built["reason"]
    (tmp_path / "second").mkdir()
    needy = TUNED.replace('args["a"].numel() > 0', "args['a'].cpu().sum() > 0")
    built = stages(tmp_path / "second", needy, VECTORS).run("build")
    assert built["compiled"] is False
    assert "meta" in built["reason"]
