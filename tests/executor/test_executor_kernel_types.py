from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_bundles import Doc, JudgeOne, compare, evaluate, forward, io, kernel, scalar, tensor, write_bundle
from executor_settings import cell_uid, small_settings

from daemon.engine import JobSpec
from daemon.executor.local import LocalEngine
from daemon.verdict import Phase, Verdict

pytestmark = pytest.mark.sandbox

HEAD = "import triton\nimport triton.language as tl\n"
VECTOR_ADD = """
    @triton.jit
    def add(a, b, out, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = at < n
        tl.store(out + at, tl.load(a + at, mask=mask) + tl.load(b + at, mask=mask), mask=mask)
    """
PLUS = "class Model(nn.Module):\n    def forward(self, a, b):\n        return a + b\n"


def vectors(n: int | str = 200, *, block: bool = True, **launch: object) -> Doc:
    args = [tensor("a", [n]), tensor("b", [n]), tensor("out", [n], role="output"), scalar("n", "int", n)]
    if block:
        args.append(scalar("BLOCK", "int", 64, is_meta=True))
    return io(*args, **{"grid": 4, **launch})


def triton(source: str, contract: Doc, **rest: object) -> Doc:
    return kernel(HEAD + kernel(source)["source_code"], "triton", io=contract, **rest)


def test_a_triton_kernel_runs_in_the_interpreter_and_the_result_says_so(judge: JudgeOne) -> None:
    judged = judge(compare(triton(VECTOR_ADD, vectors(num_warps=2, num_stages=1)), PLUS)).passed()
    assert any("interpreter" in note for note in judged.case.notes)


def test_arguments_that_are_in_another_order_than_the_kernels_are_not_passed(judge: JudgeOne) -> None:
    contract = vectors()
    args = contract["args"]
    contract["args"] = [args[1], args[0], *args[2:]]
    swapped = triton(VECTOR_ADD, contract)
    judge(compare(swapped, PLUS)).ended(Verdict.COMPILE_ERROR, "gives b, a,", "takes a, b,", "by position")


def test_a_wrong_triton_kernel_is_a_wrong_answer_also_when_it_only_skips_the_tail(judge: JudgeOne) -> None:
    wrong = triton(VECTOR_ADD.replace("tl.load(a + at, mask=mask) +", "2 *"), vectors())
    judge(compare(wrong, PLUS)).ended(Verdict.WRONG_ANSWER, "out")
    short = triton(VECTOR_ADD, vectors(grid=3))  # 192 of 200
    judge(compare(short, PLUS)).ended(Verdict.WRONG_ANSWER, "8 elements were never written")


def test_a_two_dimensional_grid_a_helper_and_heuristics_work(judge: JudgeOne) -> None:
    source = """
        @triton.jit
        def double(x):
            return x * 2
        @triton.heuristics({"BLOCK": lambda args: 16})
        @triton.jit
        def scale(x, out, columns, BLOCK: tl.constexpr):
            row = tl.program_id(0)
            at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
            mask = at < columns
            tl.store(out + row * columns + at, double(tl.load(x + row * columns + at, mask=mask)), mask=mask)
        """
    contract = io(
        tensor("x", ["R", "C"]),
        tensor("out", ["R", "C"], role="output"),
        scalar("columns", "int", "C"),
        grid={"x": "R", "y": "ceildiv(C, 16)"},
    )
    reference = "class Model(nn.Module):\n    def forward(self, x):\n        return x * 2\n"
    judge(compare(triton(source, contract), reference, cases=[{"name": "c", "bind": {"R": 5, "C": 40}}])).passed()


def test_an_autotuned_kernel_is_found_and_run_with_its_first_config(judge: JudgeOne) -> None:
    tuned = '@triton.autotune(configs=[triton.Config({"BLOCK": 64})], key=["n"])\n'
    source = tuned + kernel(VECTOR_ADD)["source_code"].lstrip()
    judge(compare(triton(source, vectors(block=False)), PLUS)).passed()


def test_a_sum_into_an_output_is_told_that_it_does_not_begin_as_zeros(judge: JudgeOne) -> None:
    adding = VECTOR_ADD.replace("tl.store(", "tl.atomic_add(")
    assert adding != VECTOR_ADD
    remark = 'not as zeros: what the kernel adds to has the role inout and "init": {"kind": "zeros"})'
    judge(compare(triton(adding, vectors()), PLUS)).ended(Verdict.WRONG_ANSWER, remark)
    judge(evaluate(triton(adding, vectors()))).ended(Verdict.WRONG_ANSWER, remark)
    wrong = judge(compare(triton(VECTOR_ADD.replace("tl.load(b", "2 * tl.load(b"), vectors()), PLUS)).case
    assert wrong.failure is not None
    assert "zeros" not in wrong.failure.message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"shape": [200], "dtype": "float16"}, "dtype of out: expected float32, got float16, as this kernel's io"),
        ({"shape": [2, 100], "dtype": "float32"}, "shape of out: expected [200], got [2, 100], as this kernel's io"),
    ],
)
def test_an_output_that_io_declares_otherwise_is_told_where_that_stands(
    judge: JudgeOne, spec: dict[str, object], words: str
) -> None:
    contract = vectors()
    contract["args"][2]["tensor_spec"] = spec
    judge(compare(triton(VECTOR_ADD, contract), PLUS)).ended(Verdict.WRONG_ANSWER, words)


TUNED_SUM = """
    def clear(arguments):
        arguments["out"].zero_()

    CONFIGS = [triton.Config({"BLOCK": 32}, num_warps=2, pre_hook=clear), triton.Config({"BLOCK": 64}, pre_hook=clear)]

    @triton.autotune(configs=CONFIGS, key=["n"])
    @triton.jit
    def add(a, b, out, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = at < n
        tl.atomic_add(out + at, tl.load(a + at, mask=mask) + tl.load(b + at, mask=mask), mask=mask)
    """


def test_of_several_configs_the_first_is_used_with_its_hook(judge: JudgeOne) -> None:
    contract = vectors(block=False, grid=7, num_warps=4)
    judged = judge(compare(triton(TUNED_SUM, contract), PLUS)).passed()
    assert any("add runs with its first config, {'BLOCK': 32}" in note for note in judged.case.notes)
    assert any("launch.num_warps is not used" in note for note in judged.case.notes)


def test_a_variable_of_the_module_that_no_gpu_would_take_is_noted(judge: JudgeOne) -> None:
    """The compiler's side of it is in test_backend_triton.py."""
    source = """
    BLOCK, SCALE, GAIN, DEFAULT = 32, tl.constexpr(1), 1.0, 0

    @triton.jit
    def times(x, by: tl.constexpr = DEFAULT):
        return x * GAIN * SCALE

    @triton.jit
    def add(a, b, out, n):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = at < n
        tl.store(out + at, times(tl.load(a + at, mask=mask)) + tl.load(b + at, mask=mask), mask=mask)
    """
    judged = judge(compare(triton(source, vectors(block=False, grid=7)), PLUS)).passed()
    noted = [note for note in judged.case.notes if "would not compile for a GPU" in note]
    assert [note.split(", which")[0] for note in noted] == [
        "times would not compile for a GPU: it reads GAIN of its module",
        "add would not compile for a GPU: it reads BLOCK of its module",
    ]


def test_the_interpreter_sees_what_a_kernel_reads_of_the_function_it_is_defined_in(judge: JudgeOne) -> None:
    """As the compiler for a GPU does; what that would refuse is noted there too."""
    source = """
    @triton.jit
    def plus(x, y):
        return x + y

    @triton.jit
    def minus(x, y):
        return x - y

    def made(join, size, twice):
        HALF = tl.constexpr(0.5)

        @triton.jit
        def add(a, b, out, n, BLOCK: tl.constexpr = size):
            at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
            mask = at < n
            found = join(tl.load(a + at, mask=mask), tl.load(b + at, mask=mask))
            tl.store(out + at, found * HALF * twice, mask=mask)

        return add

    other = made(minus, 64, 3)
    add = made(plus, 32, 2)
    """
    custom = triton(source, vectors(block=False, grid=7), metadata={"kernel_name": "add"})
    judged = judge(compare(custom, PLUS)).passed()
    note = "add would not compile for a GPU: it reads twice of the function it is defined in, which has to be"
    assert any(one.startswith(note) for one in judged.case.notes)


def test_in_the_interpreter_a_constant_times_a_tensor_is_a_tensor(judge: JudgeOne) -> None:
    """Of Triton's, it is a constant that holds one, which `tl.exp` and `tl.where` refuse."""
    source = """
    ONE = tl.constexpr(1.0)
    LOW = tl.constexpr(-1000)

    @triton.jit
    def add(a, b, out, n, BLOCK: tl.constexpr):
        at = BLOCK * tl.program_id(0) + tl.arange(0, BLOCK)
        x = tl.load(a + at, mask=at < n)
        x = tl.where(LOW < x, tl.log(tl.exp(ONE * x)), ONE - x)
        tl.store(out + at, tl.fma(x, ONE * ONE, tl.abs(ONE * tl.load(b + at, mask=at < n))), mask=at < n)
    """
    contract = vectors()
    contract["args"][1]["tensor_spec"]["init"] = {"kind": "uniform"}
    judge(compare(triton(source, contract), PLUS)).passed()


TO_BFLOAT16 = """
    @triton.jit
    def add(a, b, out, n, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        nibble = (tl.load(a + at, mask=at < n, other=0) & 15).to(tl.int32) - 8
        wide = tl.load(b + at, mask=at < n, other=0).to(tl.float64)
        tl.store(out + at, nibble.to(tl.bfloat16) * (nibble > 0).to(tl.bfloat16) + wide.to(tl.bfloat16), mask=at < n)
    """
NIBBLES = """
class Model(nn.Module):
    def forward(self, a, b):
        return ((a & 15).int() - 8).clamp(min=0).bfloat16() + b.double().bfloat16()
"""


def test_in_the_interpreter_whole_numbers_and_float64_become_bfloat16(judge: JudgeOne) -> None:
    """Of Triton's, the number was taken for the bits."""
    contract = vectors()
    contract["args"][0]["tensor_spec"]["dtype"] = "uint8"
    contract["args"][2]["tensor_spec"]["dtype"] = "bfloat16"
    judge(compare(triton(TO_BFLOAT16, contract), NIBBLES)).passed()


BY_WORDS = """
    @triton.jit
    def add(a, b, out, n, BLOCK: tl.constexpr, OFF: tl.constexpr = False):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        mask = (at < n) and (at >= 0) and not (at >= n)
        x, y = tl.load(a + at, mask=mask), tl.load(b + at, mask=mask)
        neither = not (x > 0 or y > 0)
        both = OFF or (x > 0 and y > 0)
        if OFF and tl.load(a + n) > 0:
            x = y
        if n > 0 and not OFF:
            found = tl.where(neither, -1.0, tl.where(both, 1.0, 0.0))
            tl.store(out + at, found, mask=mask)
    """
SIGNS = """
class Model(nn.Module):
    def forward(self, a, b):
        return ((a > 0) & (b > 0)).float() - (~((a > 0) | (b > 0))).float()
"""


def test_what_no_compiler_takes_of_a_kernels_text_is_noted(judge: JudgeOne) -> None:
    """More of it, and the compiler's side, is in test_backend_triton_syntax.py."""
    source = VECTOR_ADD.replace("mask = at < n", "mask = at < n\n        if 5 < n < 500:\n            n = n + 0")
    judged = judge(compare(triton(source, vectors()), PLUS)).passed()
    noted = [note for note in judged.case.notes if "would not compile for a GPU" in note]
    assert noted == [
        "add would not compile for a GPU, whose compiler does not take a chained comparison (it does "
        "(a < b) & (b < c)) in line 8"
    ]


def test_in_the_interpreter_blocks_are_joined_element_by_element(judge: JudgeOne) -> None:
    """As Triton's compiler does it."""
    judge(compare(triton(BY_WORDS, vectors()), SIGNS)).passed()


def test_in_the_interpreter_the_larger_and_the_smaller_are_those_of_each_element(judge: JudgeOne) -> None:
    """Of Triton's, `max(x, 0.0)` of a block was zero."""
    source = VECTOR_ADD.replace("tl.load(a + at, mask=mask) +", "max(min(tl.load(a + at, mask=mask), 0.5), -0.5) +")
    clamped = PLUS.replace("a + b", "a.clamp(-0.5, 0.5) + b")
    judge(compare(triton(source, vectors()), clamped)).passed()


METHODS = [
    "exp",
    "exp2",
    "log",
    "log2",
    "sqrt",
    "sqrt_rn",
    "rsqrt",
    "sin",
    "cos",
    "erf",
    "ceil",
    "floor",
    "abs",
    "sigmoid",
]


def test_in_the_interpreter_functions_of_a_number_are_methods_as_well(judge: JudgeOne) -> None:
    """Of Triton's, those of tl.math were not."""
    source = VECTOR_ADD.replace(
        "mask = at < n\n",
        f"""mask = at < n
        x = tl.load(a + at, mask=mask, other=1).abs() + 0.5
        same = True
        {"; ".join(f"same = same & (x.{name}() == tl.{name}(x))" for name in METHODS)}
""",
    )
    source = source.replace("tl.load(a + at, mask=mask) +", "tl.where(same, tl.load(a + at, mask=mask), 1000.0) +")
    judge(compare(triton(source, vectors()), PLUS)).passed()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("if at > 3:\n            n = n + 0", "Tensor with more than one value is ambiguous"),
        ("while at < 3:\n            at = at + 1", "Tensor with more than one value is ambiguous"),
        ("mask = 0 <= at < n", "Tensor with more than one value is ambiguous"),
        ("half = float(n) / 2", "float() takes no tensor on a GPU"),
        ("none = tl.dot(tl.zeros([8, 8], tl.float16), tl.zeros([8, 8], tl.float16))", "K >= 16"),
    ],
    ids=["if", "while", "chain", "float", "dot"],
)
def test_in_the_interpreter_what_no_gpu_takes_fails_as_well(judge: JudgeOne, line: str, words: str) -> None:
    """The compiler's side is in test_backend_triton_syntax.py."""
    source = VECTOR_ADD.replace("mask = at < n", f"mask = at < n\n        {line}")
    judge(compare(triton(source, vectors()), PLUS)).ended(Verdict.RUNTIME_ERROR, words)


COMPILED = {
    "a whole graph": "call = torch.compile(launch, fullgraph=True)",
    "in the first call": """
    def call(a, b):
        return torch.compile(launch)(a, b)
    """,
    "an operator of torch": """
    @torch.library.triton_op("interpreted::plus", mutates_args=())
    def plus(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(a)
        torch.library.wrap_triton(add)[(7,)](a, b, out, a.numel(), BLOCK=32)
        return out

    compiled = torch.compile(lambda a, b: plus(a, b), dynamic=True)

    def call(a, b):
        return compiled(a, b)
    """,
}


def launching(name: str) -> str:
    """A function of Python that launches `VECTOR_ADD`."""
    return f"""
    def {name}(a, b):
        out = torch.empty_like(a)
        add[(7,)](a, b, out, a.numel(), BLOCK=32)
        return out
    """


@pytest.mark.parametrize("way", COMPILED)
def test_what_launches_interpreted_kernels_is_not_compiled(judge: JudgeOne, way: str) -> None:
    """torch would follow the interpreter, or find that it has no memory to give it."""
    parts = (VECTOR_ADD, launching("launch"), COMPILED[way])
    source = HEAD + "\n".join(kernel(part)["source_code"] for part in parts)
    custom = kernel(source, metadata={"function_name": "call"}, io=io(tensor("a", [200]), tensor("b", [200])))
    notes = judge(compare(custom, PLUS)).passed().case.notes
    assert any(note.startswith("torch.compile is left out") for note in notes) == (way != "in the first call")


@pytest.mark.parametrize("kind", ["torch", "multi_kernel"])
def test_a_tuned_kernel_that_python_launches_is_not_tuned_either(judge: JudgeOne, kind: str) -> None:
    launch = """
    def call(a, b):
        out = torch.empty_like(a)
        add[lambda meta: (triton.cdiv(a.numel(), meta["BLOCK"]),)](a, b, out, a.numel())
        return out
    """
    source = HEAD + kernel(TUNED_SUM + launch)["source_code"]
    name = {"torch": "function_name", "multi_kernel": "entry_point"}[kind]
    custom = kernel(source, kind, metadata={name: "call"}, io=io(tensor("a", [200]), tensor("b", [200])))
    judged = judge(compare(custom, PLUS)).passed()
    assert any("first config" in note for note in judged.case.notes)
    assert judged.case.notes.count("run by Triton's interpreter: no GPU") == 1


@pytest.mark.parametrize("kind", ["torch", "multi_kernel"])
def test_that_the_interpreter_runs_what_python_launches_is_said(judge: JudgeOne, kind: str) -> None:
    source = HEAD + kernel(VECTOR_ADD + launching("call"))["source_code"]
    name = {"torch": "function_name", "multi_kernel": "entry_point"}[kind]
    custom = kernel(source, kind, metadata={name: "call"}, io=io(tensor("a", [200]), tensor("b", [200])))
    assert "run by Triton's interpreter: no GPU" in judge(compare(custom, PLUS)).passed().case.notes


def test_a_kernel_from_another_file_and_a_byte_order_mark_are_no_obstacle(judge: JudgeOne) -> None:
    imported = kernel("from kernels import add\n", "triton", io=vectors())
    judge(compare(imported, PLUS), kernels__py=HEAD + kernel(VECTOR_ADD)["source_code"]).passed()
    marked = triton(VECTOR_ADD, vectors())
    marked["source_code"] = "\ufeff" + marked["source_code"]
    judge(compare(marked, PLUS)).passed()


WAYS = {
    "a module": ("from triton.language.extra import libdevice", "libdevice.tanh"),
    "a function": ("from triton.language.extra.libdevice import tanh as squash", "squash"),
    "the module of a GPU": ("from triton.language.extra.cuda import libdevice as of_cuda", "of_cuda.tanh"),
    "attributes": ("", "tl.extra.cuda.libdevice.tanh"),
}


@pytest.mark.parametrize("way", WAYS)
def test_in_the_interpreter_libdevice_is_there_by_whatever_way_it_is_imported(judge: JudgeOne, way: str) -> None:
    imports, name = WAYS[way]
    source = f"{imports}\n" + kernel(VECTOR_ADD)["source_code"]
    source = source.replace("tl.load(b + at, mask=mask)", f"{name}(tl.load(b + at, mask=mask))")
    judge(compare(triton(source, vectors()), PLUS.replace("+ b", "+ b.tanh()"))).passed()


def test_what_of_libdevice_the_interpreter_lacks_is_named(judge: JudgeOne) -> None:
    source = VECTOR_ADD.replace("mask = at < n", "mask = at < n; zeros = tl.extra.cuda.libdevice.clz(at)")
    judge(compare(triton(source, vectors()), PLUS)).ended(Verdict.RUNTIME_ERROR, "libdevice's clz is not there")


@pytest.mark.parametrize(
    "line",
    [
        "none = tl.map_elementwise(twice, at)",
        "eighths = tl.zeros([32, 32], tl.float8e5); one = tl.full([32, 1], 127, tl.uint8); "
        'none = tl.dot_scaled(eighths, one, "e5m2", eighths, one, "e5m2")',
    ],
    ids=["map_elementwise", "dot_scaled"],
)
def test_what_the_interpreter_does_not_do_is_left_to_a_gpu(judge: JudgeOne, line: str) -> None:
    source = VECTOR_ADD.replace("mask = at < n", f"mask = at < n\n        {line}")
    source += """
    @triton.jit
    def twice(x):
        return 2 * x
    """
    custom = triton(source, vectors(), metadata={"kernel_name": "add"})
    judge(compare(custom, PLUS)).ended(Verdict.RUNTIME_ERROR, "nothing for what this line calls")


def test_a_triton_kernel_over_nothing_passes(judge: JudgeOne) -> None:
    judge(compare(triton(VECTOR_ADD, vectors(0, grid=1)), PLUS)).passed()


def test_an_inout_accumulator_is_given_its_content_and_compared(judge: JudgeOne) -> None:
    source = """
        @triton.jit
        def accumulate(x, total, n, BLOCK: tl.constexpr):
            at = tl.arange(0, BLOCK)
            tl.store(total + at, tl.load(total + at) + tl.load(x + at))
        """
    contract = io(
        tensor("x", [64]),
        tensor("total", [64], role="inout", init={"kind": "randn"}),
        scalar("n", "int", 64),
        scalar("BLOCK", "int", 64, is_meta=True),
    )
    reference = "def run(x, total):\n    return total + x\n"
    named = kernel(reference, metadata={"function_name": "run"})
    judge(compare(triton(source, contract), named)).passed()
    judge(compare(triton(source.replace(" + tl.load(x + at)", ""), contract), named)).ended(
        Verdict.WRONG_ANSWER, "total"
    )


def test_the_tolerance_of_an_argument_that_only_the_reference_describes_counts(judge: JudgeOne) -> None:
    def step(change: float, **options: Doc) -> Doc:
        source = f"def step(x, cache):\n    cache.add_({change})\n    return x * 2\n"
        return kernel(source, metadata={"function_name": "step"}, **options)

    def described(**tolerance: float) -> Doc:
        init = {"kind": "randn"}
        return step(1.0, io=io(tensor("x", [32]), tensor("cache", [32], role="inout", init=init, **tolerance)))

    judge(compare(step(1.1), described(atol=0.5))).passed()
    judge(compare(step(1.1), described())).ended(Verdict.WRONG_ANSWER, "cache")


@pytest.mark.parametrize("ours", [{"atol": 0.5}, {"atol": 0.5, "rtol": 0.5}])
def test_a_kernel_cannot_widen_the_tolerance_that_its_reference_declares(
    judge: JudgeOne, ours: dict[str, float]
) -> None:
    def adding(number: float, **tolerance: float) -> Doc:
        source = f"def add(x, y):\n    y.copy_(x + {number})\n"
        arguments = io(tensor("x", [32]), tensor("y", [32], role="output", **tolerance))
        return kernel(source, metadata={"function_name": "add"}, io=arguments)

    judge(compare(adding(1.1, **ours), adding(1.0))).passed()
    judge(compare(adding(1.1, **ours), adding(1.0, atol=0.01, rtol=0.01))).ended(Verdict.WRONG_ANSWER, "atol 0.01")


def test_two_entries_without_a_name_are_listed(judge: JudgeOne) -> None:
    source = kernel(VECTOR_ADD)["source_code"]
    both = source + source.replace("def add", "def plus")
    judged = judge(evaluate(triton(both, vectors()))).ended(Verdict.COMPILE_ERROR, "add", "plus", "kernel_name")
    assert judged.failure.phase is Phase.LOAD
    judge(evaluate(triton(both, vectors(), metadata={"kernel_name": "plus"}))).passed()


def test_a_multi_kernel_answers_by_return_value_or_by_output_arguments(judge: JudgeOne) -> None:
    contract = io(tensor("a", [32]), tensor("b", [32]), tensor("out", [32], role="output"))
    writes = "def main(a, b, out):\n    torch.add(a, b, out=out)\n"
    returns = "def main(a, b, out):\n    return a + b\n"
    entry = {"entry_point": "main"}
    judge(compare(kernel(writes, "multi_kernel", io=contract, metadata=entry), PLUS)).passed()
    judge(compare(kernel(returns, "multi_kernel", io=contract, metadata=entry), PLUS)).passed()
    both = kernel(writes + "    return 0\n", "multi_kernel", io=contract, metadata=entry)
    judge(compare(both, PLUS)).ended(Verdict.WRONG_ANSWER, "shape of output", "not what it wrote into out")
    idle = kernel("def main(a, b, out):\n    pass\n", "multi_kernel", io=contract, metadata=entry)
    judge(compare(idle, PLUS)).ended(Verdict.WRONG_ANSWER, "never written")
    judge(compare(kernel(writes, "multi_kernel", io=contract, metadata={"entry_point": "mian"}), PLUS)).ended(
        Verdict.COMPILE_ERROR, "mian", "main"
    )


@pytest.mark.thorough  # so is the one of test_executor_headers.py, which makes a header as well
def test_a_cpp_extension_is_built_once_and_its_artifact_reused(judge: JudgeOne) -> None:
    # Not all of torch/extension.h, which is compiled for a minute.
    source = """
        from torch.utils.cpp_extension import load_inline
        lines = (
            "#include <torch/csrc/Exceptions.h>",
            "#include <torch/csrc/utils/pybind.h>",
            "#include <ATen/ops/add.h>",
            "at::Tensor plus(at::Tensor a, at::Tensor b) { return at::add(a, b); }",
        )
        code = "\\n".join(lines)
        extension = load_inline(name="plus_ext", cpp_sources=code, functions=["plus"], no_implicit_headers=True)
        class ModelNew(nn.Module):
            def forward(self, a, b):
                return extension.plus(a, b)
        """
    doc = compare(kernel(source, "torch_cuda"), timeout=300)
    first = judge(doc).passed().case
    second = judge(doc).passed().case
    assert (first.build["cached"], second.build["cached"]) == (False, True)
    broken = kernel(source.replace('"#include <', '"// ').replace("(a, b);", "(a, ;"), "torch_cuda")
    failed = judge(compare(broken)).ended(Verdict.COMPILE_ERROR, "error:")
    assert failed.failure.phase is Phase.BUILD


CUDA = 'extern "C" __global__ void twice(const float* x, float* out, int n) { out[0] = 2.0f * x[0]; }\n'


def cuda(source: str, **metadata: object) -> Doc:
    contract = io(tensor("x", [4]), tensor("out", [4], role="output"), scalar("n", "int", 4))
    return evaluate(kernel(source, "cuda", io=contract, metadata=metadata), timeout=300)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")
def test_a_cuda_kernel_is_compiled_and_reported_as_not_run(judge: JudgeOne) -> None:
    judged = judge(cuda(CUDA, backend="nvcc")).ended(Verdict.UNSUPPORTED, "compiled, not run", "GPU")
    assert judged.case.compiled
    assert judged.case.build["compiler"] == "nvcc"


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")
def test_a_cuda_kernel_that_does_not_compile_is_a_compile_error_with_the_compilers_words(judge: JudgeOne) -> None:
    judge(cuda(CUDA.replace("2.0f *", "2.0f oops"), backend="nvcc")).ended(Verdict.COMPILE_ERROR, "error", "oops")
    judge(cuda(CUDA + '#include "/etc/shadow"\n', backend="nvcc")).ended(Verdict.COMPILE_ERROR, "shadow")
    judge(cuda(CUDA, compiler_options=["-Xcompiler=-fplugin=x.so"])).ended(Verdict.COMPILE_ERROR, "not allowed")
    judge(cuda(CUDA + CUDA.replace("twice", "thrice"))).ended(Verdict.COMPILE_ERROR, "twice", "thrice", "kernel_name")


def test_a_sixth_kernel_type_is_one_file_and_a_missing_compiler_or_module_is_unsupported(
    tmp_path: Path, judge_in: Callable[[LocalEngine, Path], JudgeOne]
) -> None:
    folder = tmp_path / "backends"
    folder.mkdir()
    spec = '{"io_required": True, "metadata_keys": ["factor"], "python": False, "build": %s, "answers": "args"}'
    (folder / "recipe.py").write_text(
        "from daemon.executor.source import Kernel\n"
        f"SPEC = {spec % 'False'}\n"
        "def load(source):\n"
        "    factor = float(source.text) * source.metadata.get('factor', 1)\n"
        "    return Kernel(lambda x, out: out.copy_(x * factor))\n"
    )
    (folder / "toolless.py").write_text(
        "from daemon.executor.source import KernelFault\n"
        f"SPEC = {spec % 'True'}\n"
        "def build(source):\n    raise KernelFault('unsupported', 'no compiler here: install one')\n"
    )
    (folder / "moduleless.py").write_text(f"import nowhere.to.be.found\nSPEC = {spec % 'False'}\n")
    engine = LocalEngine(small_settings(tmp_path / "home", backend_paths=(folder,), sandbox={"uid_base": cell_uid(2)}))
    try:
        judge = judge_in(engine, tmp_path)
        contract = io(tensor("x", [8]), tensor("out", [8], role="output"))
        reference = "class Model(nn.Module):\n    def forward(self, x):\n        return x * 6\n"
        judge(compare(kernel("3.0", "recipe", io=contract, metadata={"factor": 2}), reference)).passed()
        judge(evaluate(kernel("x", "toolless", io=contract))).ended(Verdict.UNSUPPORTED, "no compiler here")
        lacking = judge(evaluate(kernel("x", "moduleless", io=contract)))
        lacking.ended(Verdict.UNSUPPORTED, "no module nowhere on this host", "moduleless")
        unknown = write_bundle(tmp_path, evaluate(kernel("x", "recipee", io=contract)), {})
        evaluation = engine.evaluate(JobSpec("u", "u", unknown), lambda _: None)
        assert evaluation.verdict is Verdict.REJECTED
        assert evaluation.message is not None and "recipe" in evaluation.message
    finally:
        engine.close()


def test_a_folder_of_the_bundle_can_be_imported_but_does_not_replace_the_standard_library(judge: JudgeOne) -> None:
    custom = kernel(
        forward("import statistics\nimport extra\nassert statistics.fmean([1, 3]) == 2\nreturn a + b + extra.ZERO")
    )
    judge(compare(custom), extra__py="ZERO = 0\n", statistics__py="fmean = None\n").passed()


def test_a_bool_that_is_no_constexpr_reaches_an_interpreted_kernel(judge: JudgeOne) -> None:
    source = """
    @triton.jit
    def choose(x, out, double, n, SIZE: tl.constexpr):
        at = tl.arange(0, SIZE)
        value = tl.load(x + at, mask=at < n)
        if double:
            value = value * 2
        tl.store(out + at, value, mask=at < n)
    """
    args = [tensor("x", [8]), tensor("out", [8], role="output"), scalar("double", "bool", True)]
    args += [scalar("n", "int", 8), scalar("SIZE", "int", 8, is_meta=True)]
    reference = "class Model(nn.Module):\n    def forward(self, x):\n        return x * 2\n"
    judged = judge(compare(kernel(HEAD + textwrap.dedent(source), "triton", io=io(*args)), reference))
    assert judged.verdict is Verdict.PASSED, judged.evaluation
