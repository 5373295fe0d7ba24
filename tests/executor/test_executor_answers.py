"""What a kernel may answer with, in its first call and in every later one."""

from __future__ import annotations

import pytest
from executor_bundles import Doc, JudgeOne, compare, io, kernel, scalar, tensor

from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox


def steps(source: str, kernel_type: str, contract: Doc) -> Doc:
    name = "entry_point" if kernel_type == "multi_kernel" else "function_name"
    return kernel(source, kernel_type, io=contract, metadata={name: "step"})


@pytest.mark.parametrize("kernel_type", ["torch", "multi_kernel"])
def test_an_output_argument_behind_a_text_or_a_number_is_the_answer(judge: JudgeOne, kernel_type: str) -> None:
    contract = io(
        tensor("x", [32]), scalar("mode", "str", "twice"), scalar("by", "int", 3), tensor("out", [32], role="output")
    )
    writes = "def step(x, mode, by, out):\n    out.copy_(x * by if mode == 'twice' else x)\n"
    other = "def step(x, mode, by, out):\n    torch.mul(x, by, out=out)\n"
    judge(compare(steps(writes, kernel_type, contract), steps(other, "torch", contract))).passed()
    wrong = steps(writes.replace("by if", "2 if"), kernel_type, contract)
    judge(compare(wrong, steps(other, "torch", contract))).ended(Verdict.WRONG_ANSWER, "out")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("float(x.sum())", "np.float32(x.sum().item())"),
        ("np.float64(x.sum().item())", "x.sum()"),
        ("len(x)", "np.int32(32)"),
        ("np.bool_(True)", "True"),
    ],
)
def test_numbers_of_python_and_numpy_are_answers(judge: JudgeOne, one: str, other: str) -> None:
    judge(compare(answering(one), answering(other, inputs="[torch.rand(32)]"))).passed()


def answering(value: str, *, before: str = "", inputs: str = "") -> str:
    """A module that answers with `value` of its `x`; a reference where it has inputs."""
    name, get = ("Model", f"def get_inputs():\n    return {inputs}\n") if inputs else ("ModelNew", "")
    head = f"import numpy as np\n{before}\nclass {name}(nn.Module):\n"
    return head + f"    calls = 0\n    def forward(self, x):\n        self.calls += 1\n        return {value}\n" + get


def test_a_float_is_the_same_whatever_a_kernel_made_the_default(judge: JudgeOne) -> None:
    reference = answering("x.sum().item()", inputs="[torch.rand(32)]")
    judge(compare(answering("x.sum().item()", before="torch.set_default_dtype(torch.float64)"), reference)).passed()


def test_a_sparse_answer_is_refused_in_whichever_call(judge: JudgeOne) -> None:
    reference = answering("x * 2", inputs="[torch.rand(4, 4)]")
    judge(compare(answering("(x * 2).to_sparse()"), reference)).ended(Verdict.WRONG_ANSWER, "sparse")
    later = "x * 2 if self.calls < 2 else (x * 2).to_sparse()"
    judge(compare(answering(later), reference)).ended(Verdict.WRONG_ANSWER, "sparse")


def test_what_is_no_answer_is_told_in_words(judge: JudgeOne) -> None:
    reference = answering("x * 2", inputs="[torch.rand(4)]")
    judge(compare(answering("None"), reference)).ended(Verdict.WRONG_ANSWER, "None (is a return missing?)")
    judge(compare(answering("(x * 2,)"), reference)).ended(Verdict.WRONG_ANSWER, "expected a tensor, got [*]")


@pytest.mark.parametrize("count", [1, 4])
def test_an_array_is_no_input(judge: JudgeOne, count: int) -> None:
    reference = answering("x * 2", inputs=f"[np.ones({count})]")
    judge(compare(answering("x * 2"), reference)).ended(Verdict.REJECTED, "numpy.ndarray")
