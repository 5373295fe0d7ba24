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
    judge(compare(answering("(x * 2,)"), reference)).ended(Verdict.WRONG_ANSWER, "expected a tensor, got [tensor]")


@pytest.mark.parametrize("count", [1, 4])
def test_an_array_is_no_input(judge: JudgeOne, count: int) -> None:
    reference = answering("x * 2", inputs=f"[np.ones({count})]")
    judge(compare(answering("x * 2"), reference)).ended(Verdict.REJECTED, "numpy.ndarray")


BROKEN = """
class Broken(torch.Tensor):
    @classmethod
    def __torch_function__(cls, *args, **kwargs):
        raise RuntimeError("no copies of me")
"""
FIELDS = """
import dataclasses
@dataclasses.dataclass
class Found:
    values: object
    scale: float = 1.0
"""
ASYNC = "async def later(x):\n    return x * 2\n"


@pytest.mark.parametrize(
    ("before", "answer", "words"),
    [
        (FIELDS, "Found(x)", "return a tuple or a dict of its fields: values, scale"),
        (ASYNC, "later(x)", "write def, not async def"),
    ],
    ids=["dataclass", "coroutine"],
)
def test_what_to_return_in_place_of_a_stranger_is_said(judge: JudgeOne, before: str, answer: str, words: str) -> None:
    reference = answering("x * 2", inputs="[torch.rand(4)]")
    judged = judge(compare(answering(answer, before=before), reference)).ended(Verdict.WRONG_ANSWER, words)
    assert judged.case.stderr_tail == ""


def test_an_answer_that_breaks_when_it_is_looked_at_is_a_fault_of_what_was_returned(judge: JudgeOne) -> None:
    reference = answering("x * 2", inputs="[torch.rand(4)]")
    judged = judge(compare(answering("x.as_subclass(Broken)", before=BROKEN), reference))
    judged.ended(Verdict.RUNTIME_ERROR, "RuntimeError in what the call returned: no copies of me")


@pytest.mark.parametrize(
    ("inputs", "place", "advice"),
    [
        ("[torch.rand(4), random.random()]", "get_inputs()[1] was 0.", "torch.tensor("),
        ("[torch.rand(4), {'k': [random.getrandbits(60)]}]", "get_inputs()[1]['k'][0] was int ", "torch.tensor("),
        ("[torch.rand(random.getrandbits(12) + 1), 1]", "get_inputs()[0] was a tensor [", "a case"),
        ("[torch.rand(4), [1] * random.getrandbits(9)]", "get_inputs()[1] was a list of ", "a case"),
    ],
)
def test_inputs_that_change_in_more_than_content_are_named(
    judge: JudgeOne, inputs: str, place: str, advice: str
) -> None:
    reference = "import random\n" + answering("x * 2", inputs=inputs).replace("(self, x)", "(self, x, k)")
    custom = answering("x + x").replace("(self, x)", "(self, x, k)")
    judge(compare(custom, reference)).ended(Verdict.REJECTED, place, ", then ", advice)


def test_complex_numbers_are_inputs_and_answers(judge: JudgeOne) -> None:
    reference = answering("(complex(x.sum()) * k, x * k)", inputs="[torch.rand(4), 1 - 2j]")
    custom = answering("(np.complex128(complex(x.sum()) * k), x * k)")
    sources = [source.replace("(self, x)", "(self, x, k)") for source in (custom, reference)]
    judge(compare(*sources)).passed()
    wrong = sources[0].replace("x.sum()) * k", "x.sum()) * k.conjugate()")
    judge(compare(wrong, sources[1])).ended(Verdict.WRONG_ANSWER, "output[0]")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ("torch.device('cpu')", "x.device says where"),
        ("torch.Generator()", "seeded alike before every call"),
        ("nn.ReLU()", "let each source make it itself"),
        ("slice(3)", "give its numbers"),
    ],
)
def test_what_to_hand_to_a_kernel_in_place_of_a_stranger_is_said(judge: JudgeOne, value: str, advice: str) -> None:
    reference = answering("x * 2", inputs=f"[torch.rand(4), {value}]").replace("(self, x)", "(self, x, k)")
    custom = answering("x * 2").replace("(self, x)", "(self, x, k)")
    judge(compare(custom, reference)).ended(Verdict.REJECTED, "[1] is of type", advice)


def test_of_many_small_answers_the_wrong_one_is_named(judge: JudgeOne) -> None:
    some = "[(x * n).to(torch.int32 if n % 3 == 0 else torch.float32)[: n + 1] for n in range(24)]"
    odd = "[x.to(one) for one in (torch.complex64, torch.bool, torch.bfloat16, torch.float8_e4m3fn)]"
    each = f"{some} + {odd} * 2"
    reference = answering(each, inputs="[torch.rand(32) * 100]")
    judge(compare(answering(each), reference)).passed()
    for number, index in ((17, 5), (18, 0)):  # a float and an integer
        wrong = answering(f"self.spoiled({each})").replace(
            "    calls = 0\n",
            f"    calls = 0\n    def spoiled(self, many):\n        many[{number}][{index}] += 1\n        return many\n",
        )
        judge(compare(wrong, reference)).ended(Verdict.WRONG_ANSWER, f"worst output[{number}][{index}]")
