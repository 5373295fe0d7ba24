"""Modules made at random, judged against themselves and against copies that spoil one element of one answer.

    python tests/corpus/random_modules.py [--device auto|cpu|cuda] [--first 0] [--count 100]

A module has one to four inputs of any dtype, shape and layout, does a little with each, and nests its answers anyhow.
Whatever it is, against itself it passes, spoilt it is wrong, and evald itself never fails. A number makes one module,
always the same. What is faster or slower than itself is told, and fails nothing: that may be chance.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from corpus import Bench, evaluated

from daemon.evaluation import Evaluation
from daemon.executor.local import LocalEngine
from daemon.verdict import Comparison, Verdict

FLOATS = ("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64")
COMPLEX = ("complex64", "complex128")
USUAL = ("float32", "float16", "bfloat16")
EXTENTS = (1, 2, 3, 7, 16, 33, 128)
OTHER_ANSWERS = ("None", "3", "2.5", "True", "x0", "self.weight", "t0.unsqueeze(0).expand(2, *t0.shape)", "t0.cpu()")
SPOILER = '''
def spoilt(tensor):
    """A copy with another element, far beyond any tolerance."""
    tensor = tensor.clone(memory_format=torch.contiguous_format)
    flat, at = tensor.view(-1), tensor.numel() * 7 // 11
    if tensor.dtype is torch.bool:
        flat[at] = ~flat[at]
    elif tensor.is_floating_point() or tensor.is_complex():
        flat[at] = (flat[at].to(torch.complex128) * 2 + 1).to(tensor.dtype)
    else:
        flat[at : at + 1].view(torch.uint8)[:1].bitwise_xor_(1)
    return tensor
'''


@dataclass(frozen=True)
class Module:
    """`inputs`: expressions; `lines`: of forward, which leave an answer `t0`, `t1`, … for each input; `answer`: what is
    returned; `can_be_spoilt`: the answers that have elements."""

    inputs: tuple[str, ...]
    lines: tuple[str, ...]
    answer: str
    can_be_spoilt: tuple[str, ...]

    def source(self, name: str, spoilt: str | None = None) -> str:
        """Python with the class `name`."""
        lines = [*self.lines, *([f"{spoilt} = spoilt({spoilt})"] if spoilt else [])]
        body = "".join(f"        {line}\n" for line in lines)
        arguments = ", ".join(f"x{number}" for number in range(len(self.inputs)))
        return (
            f"import torch\nfrom torch import nn\n{SPOILER if spoilt else ''}\n"
            f"class {name}(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
            "        self.weight = nn.Parameter(torch.randn(5))\n"
            f"    def forward(self, {arguments}):\n{body}        return {self.answer}\n"
            f"def get_inputs():\n    return [{', '.join(self.inputs)}]\n"
        )


def made(number: int) -> Module:
    """The module of this number."""
    draw = random.Random(number)
    inputs, lines, full = list[str](), list[str](), list[str]()
    count = draw.randint(1, 4)
    for index in range(count):
        dtype = draw.choice((*USUAL * 3, *FLOATS, *INTEGERS, *COMPLEX, "bool"))
        rank = draw.choice((0, 1, 1, 2, 2, 2, 3, 4))
        shape = [draw.choice(EXTENTS if rank < 3 else EXTENTS[:-1]) for _ in range(rank)]
        is_empty = bool(shape) and draw.random() < 0.05
        if is_empty:
            shape[draw.randrange(len(shape))] = 0
        inputs.append(_laid_out(draw, _filled(dtype, shape), shape))
        lines += _worked_on(draw, index, dtype, bool(shape))
        full += [] if is_empty else [f"t{index}"]
    answers = [f"t{index}" for index in range(count)]
    if draw.random() < 0.4:
        answers.append("(self.weight * 2).sum()")
    if draw.random() < 0.3:
        answers.append(draw.choice(OTHER_ANSWERS))
    draw.shuffle(answers)
    if full and draw.random() < 0.25:
        answer = full[0]
        return Module(tuple(inputs), tuple(lines), answer, (answer,))
    return Module(tuple(inputs), tuple(lines), _nested(draw, answers), tuple(full))


def _filled(dtype: str, shape: list[int]) -> str:
    if dtype == "bool":
        return f"torch.rand({shape}) > 0.5"
    if dtype in COMPLEX:
        return f"torch.randn({shape}, dtype=torch.{dtype})"
    values = f"torch.randn({shape})" if dtype in FLOATS else f"torch.randint(0, 100, {shape})"
    return f"{values}.to(torch.{dtype})"


def _laid_out(draw: random.Random, tensor: str, shape: list[int]) -> str:
    """The tensor, or the same content or more of it, with other strides."""
    ways = ["{0}", "{0}", "{0}", "({0}).expand(3, *{1})"]
    if shape:
        ways.append("({0}).repeat_interleave(2, 0)[::2]")
    if len(shape) >= 2:
        ways.append("({0}).transpose(0, -1)")
    if len(shape) == 4:
        ways.append("({0}).contiguous(memory_format=torch.channels_last)")
    return draw.choice(ways).format(tensor, shape)


def _worked_on(draw: random.Random, index: int, dtype: str, has_dimensions: bool) -> Iterator[str]:
    """What makes `t` of `x`: in a wide dtype, for torch computes little in some; then maybe another view; then back, or
    in another dtype."""
    name, other = f"t{index}", draw.random() < 0.3
    if dtype == "bool":
        yield f"{name} = ~x{index}"
    elif dtype in COMPLEX:
        yield f"{name} = x{index} * x{index}.conj() + x{index}"
    elif dtype in INTEGERS:
        yield f"{name} = (x{index}.long() * 3 + 1) % 100"
    else:
        yield f"{name} = torch.sin(x{index}.double()) * 2 + x{index}.double()"
    if has_dimensions:
        yield draw.choice(("pass", f"{name} = {name}.flip(0)", f"{name} = {name}[::2]", f"{name} = {name}.movedim(0, -1)"))
    if dtype in FLOATS:
        dtype = draw.choice(FLOATS) if other else dtype
    elif dtype in INTEGERS and other:
        dtype = draw.choice((*FLOATS, *INTEGERS))
    yield f"{name} = {name}.to(torch.{dtype})"


def _nested(draw: random.Random, answers: list[str]) -> str:
    inside = ", ".join(answers)
    forms = (
        f"({inside},)",
        f"[{inside}]",
        "{" + ", ".join(f"'key {number}': {one}" for number, one in enumerate(answers)) + "}",
        f"{{'first': [{answers[0]}], 'rest': ({''.join(f'{one}, ' for one in answers[1:])})}}",
    )
    return draw.choice(forms)


def problems(engine: LocalEngine, number: int, folder: Path) -> Iterator[str]:
    """In words, what is not as it should be with the module of this number."""
    module = made(number)
    again = _judged(engine, module, folder / f"{number}-again", None)
    if again.verdict is not Verdict.PASSED:
        yield f"{number}: {again.verdict} against itself: {again.message}\n{module.source('Model')}"
    for answer in module.can_be_spoilt:
        spoilt = _judged(engine, module, folder / f"{number}-{answer}", answer)
        if spoilt.verdict is not Verdict.WRONG_ANSWER:
            yield f"{number}: {spoilt.verdict} with {answer} spoilt: {spoilt.message}\n{module.source('Model')}"
    for case in again.cases:
        if case.comparison in (Comparison.FASTER, Comparison.SLOWER):
            print(f"{number}: {case.comparison} than itself, {case.speedup} times as fast", flush=True)


def _judged(engine: LocalEngine, module: Module, folder: Path, spoilt: str | None) -> Evaluation:
    folder.mkdir()
    (folder / "reference.py").write_text(module.source("Model"), "utf-8")
    (folder / "kernel.py").write_text(module.source("ModelNew", spoilt), "utf-8")
    sides = {"ref_kernel": "reference.py", "custom_kernel": "kernel.py"}
    contract: dict[str, object] = {side: {"source_file": file, "kernel_type": "torch"} for side, file in sides.items()}
    contract |= {"correctness_trials": 2, "num_trials": 5, "timeout": 120, "timing": {"max_s": 0.05}}
    (folder / "contract.json").write_text(json.dumps(contract), "utf-8")
    return evaluated(engine, folder.name, folder)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Judge modules made at random against themselves and spoilt copies.")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    asked = parser.parse_args(argv)
    found = 0
    with tempfile.TemporaryDirectory(prefix="evald-random-") as name:
        home = Path(name)
        with closing(Bench(home, asked.device)) as bench:
            for number in range(asked.first, asked.first + asked.count):
                for problem in problems(bench.engine, number, home):
                    found += 1
                    print(problem, flush=True)
    print(f"{asked.count} modules, {found} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
