"""The fourteen faults of an existing server that must not come back, one test each."""

from __future__ import annotations

import pytest
from executor_bundles import ADD, JudgeOne, compare, evaluate, forward, io, kernel, scalar, tensor, with_enough_time

from daemon.contract import KernelTypeSpec
from daemon.executor import catalog
from daemon.verdict import Phase, Side, Verdict

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize(
    "source", ["class ModelNew(nn.Module:\n", "import numpi\n", forward("return torch.ad(a, b)")], ids=str.split
)
def test_fault_1_a_broken_torch_kernel_is_neither_compiled_nor_correct(judge: JudgeOne, source: str) -> None:
    case = judge(compare(source)).case
    assert case.verdict in (Verdict.COMPILE_ERROR, Verdict.RUNTIME_ERROR)
    assert case.compiled is (case.verdict is Verdict.RUNTIME_ERROR)
    assert case.correctness is False


def test_fault_2_values_in_nested_outputs_are_compared(judge: JudgeOne) -> None:
    reference = ADD.replace("return a + b", "return {'x': [a, 1.5], 'y': a.numel()}")
    for body in ("{'x': [a, 1.6], 'y': a.numel()}", "{'x': [b, 1.5], 'y': a.numel()}", "{'x': [a, 1.5], 'y': 0}"):
        judge(compare(forward(f"return {body}"), reference)).ended(Verdict.WRONG_ANSWER)


def test_fault_3_every_failure_says_why(judge: JudgeOne) -> None:
    for body in ("return (a + b).double()", "return (a + b).int()", "import os; os.abort()", "torch.empty(1 << 42)"):
        judged = judge(compare(forward(body)))
        assert judged.verdict is not Verdict.PASSED
        assert len(judged.message) > 10


def test_fault_4_a_reference_that_does_not_compile_is_not_the_candidates_fault(judge: JudgeOne) -> None:
    judged = judge(compare(forward("return a + b"), "def broken(:\n")).ended(Verdict.REJECTED, "reference")
    assert judged.failure.side is Side.REFERENCE


def test_fault_5_a_segfault_is_a_runtime_error(judge: JudgeOne) -> None:
    judge(compare(forward("import ctypes; ctypes.string_at(8)"))).ended(Verdict.RUNTIME_ERROR, "SIGSEGV")


def test_fault_7_launch_options_reach_the_triton_kernel_and_tuned_ones_are_found(judge: JudgeOne) -> None:
    source = """
        import triton
        import triton.language as tl
        @triton.autotune(configs=[triton.Config({"BLOCK": 32}, num_warps=8)], key=[])
        @triton.jit
        def twice(x, out, BLOCK: tl.constexpr):
            at = tl.arange(0, BLOCK)
            tl.store(out + at, 2 * tl.load(x + at))
        """
    contract = io(tensor("x", [32]), tensor("out", [32], role="output"), num_warps=4, num_stages=3)
    case = judge(evaluate(kernel(source, "triton", io=contract))).passed().case
    assert case.timing is not None
    # That warps and stages take effect needs a GPU; that they are passed without complaint is seen here.


def test_fault_8_a_source_may_hold_several_kernels(judge: JudgeOne) -> None:
    source = """
        def double(x):
            return x * 2
        def main(a, out):
            out.copy_(double(a))
            out.add_(1)
        """
    contract = io(tensor("a", [16]), tensor("out", [16], role="output"))
    reference = "class Model(nn.Module):\n    def forward(self, a):\n        return a * 2 + 1\n"
    multi = kernel(source, "multi_kernel", io=contract, metadata={"entry_point": "main"})
    judge(compare(multi, reference)).passed()
    spec = catalog.load()["cuda"].contract
    assert isinstance(spec, KernelTypeSpec)
    assert {"kernel_name", "name_expressions"} <= set(spec.metadata_keys)


def test_fault_9_weights_are_seeded_and_shared(judge: JudgeOne) -> None:
    layers = "self.f = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2))"
    source = (
        "class Model(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        {layers}\n    def forward(self, x):\n        return self.f(x)\n"
        "def get_inputs():\n    return [torch.randn(4, 8)]\n"
    )
    judge(compare(source.replace("Model(", "ModelNew("), source)).passed()


def test_fault_10_inputs_mean_what_their_init_says(judge: JudgeOne) -> None:
    contract = io(
        tensor("zero", [64], init={"kind": "uniform", "low": -1, "high": 0}),
        tensor("narrow", [4096], init={"kind": "randn", "std": 0.01}),
        tensor("point", [], init={"kind": "randn"}),
        tensor("one", [64], init={"kind": "randn"}),
        tensor("two", [64], init={"kind": "randn"}),
    )
    body = """
        class Model(nn.Module):
            def forward(self, zero, narrow, point, one, two):
                assert float(zero.max()) <= 0 and float(zero.min()) < -0.5
                assert 0.005 < float(narrow.std()) < 0.02
                assert point.shape == ()
                assert not torch.equal(one, two)
                return one
        """
    judge(evaluate(kernel(body, io=contract))).passed()


def test_fault_11_tolerances_go_with_the_dtype(judge: JudgeOne) -> None:
    small = ADD.replace("return a + b", "return (a + b) * 1e-3")
    judge(compare(forward("return torch.zeros_like(a)"), small)).ended(Verdict.WRONG_ANSWER)
    integers = io(tensor("n", [64], "int32", init={"kind": "uniform", "low": 1000, "high": 2000}))
    source = "class Model(nn.Module):\n    def forward(self, n):\n        return n{}\n"
    doc = compare(kernel(source.format(" + 1"), io=integers), kernel(source.format(""), io=integers))
    judge(doc).ended(Verdict.WRONG_ANSWER)


def test_fault_12_inputs_differ_in_every_call_and_every_timed_answer_is_checked(judge: JudgeOne) -> None:
    body = "self.n = getattr(self, 'n', 0) + 1\nc = a + b if self.n < 5 else self.kept\nself.kept = c\nreturn c"
    judged = judge(compare(forward(body))).ended(Verdict.WRONG_ANSWER)
    assert judged.failure.phase in (Phase.CHECK, Phase.MEASURE)
    timing = judge(compare(forward("return a + b"))).passed().case.timing
    assert timing is not None
    assert any(sample != round(sample, 3) for sample in timing.samples_ms)  # not rounded to a microsecond


def test_fault_13_a_timeout_kills_what_it_stops_waiting_for(judge: JudgeOne) -> None:
    judged = with_enough_time(
        judge,
        lambda judged: judged.verdict is Verdict.TIMEOUT,
        lambda timeout_s: compare(forward("while True: pass"), timeout=timeout_s),
    )
    judged.ended(Verdict.TIMEOUT, "killed")
    judge(compare(forward("return a + b"))).passed()


def test_fault_14_patching_torch_does_not_make_a_wrong_kernel_pass(judge: JudgeOne) -> None:
    patch = "torch.allclose = torch.equal = torch.isclose = lambda *a, **k: True"
    judge(compare(forward("return a - b", before=patch))).ended(Verdict.WRONG_ANSWER)


def test_scalars_arrive_with_their_declared_type(judge: JudgeOne) -> None:
    contract = io(tensor("x", [4]), scalar("k", "int", 3), scalar("f", "float", 2), scalar("b", "bool", True))
    body = """
        class Model(nn.Module):
            def forward(self, x, k, f, b):
                assert (type(k), type(f), type(b)) == (int, float, bool)
                return x * k * f
        """
    judge(evaluate(kernel(body, io=contract))).passed()
