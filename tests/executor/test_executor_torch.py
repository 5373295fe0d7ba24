from __future__ import annotations

import base64

import pytest
from executor_bundles import ADD, FAST, Doc, JudgeOne, compare, evaluate, forward, io, kernel, scalar, tensor

from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

FLOATS = "def get_inputs():\n    return [torch.randn(16, 8)]\n"


def model(body: str, *, init: str = "") -> str:
    made = f"    def __init__(self):\n        super().__init__()\n        {init}\n" if init else ""
    return f"class Model(nn.Module):\n{made}    def forward(self, x):\n        return {body}\n{FLOATS}"


def test_a_correct_module_passes_with_figures_of_both_sides(judge: JudgeOne) -> None:
    case = judge(compare(forward("return torch.add(a, b)"))).passed().case
    assert case.correctness is True
    assert case.compiled
    assert case.timing is not None and case.ref_timing is not None
    assert case.timing.stats.mean >= 0
    assert len(case.timing.samples_ms) == len(case.timing.calls) >= 5
    assert case.trials_passed == case.trials_total == 2


def test_a_wrong_module_is_a_wrong_answer_that_names_the_worst_element(judge: JudgeOne) -> None:
    judged = judge(compare(forward("c = a + b\nc[3, 2] += 1\nreturn c"))).ended(Verdict.WRONG_ANSWER, "output[3, 2]")
    assert judged.case.correctness is False
    assert judged.case.worst_index == (3, 2)
    assert judged.case.max_abs_error == pytest.approx(1.0, abs=1e-3)
    assert judged.case.timing is None


def test_a_function_and_a_method_can_be_the_target(judge: JudgeOne) -> None:
    source = "class K:\n    def work(self, a, b):\n        return b + a\ndef get_inputs():\n    return []\n"
    method = kernel(source, metadata={"class_name": "K", "method_name": "work"})
    function = kernel(
        "def add(a, b):\n    return a + b\ndef get_inputs():\n    return [torch.randn(4), torch.randn(4)]\n",
        metadata={"function_name": "add"},
    )
    judge(compare(method, function)).passed()


def test_files_of_the_bundle_are_found_from_where_it_runs(judge: JudgeOne) -> None:
    reads = forward("return a + b * float(open('data/one.txt').read())")
    judge(compare(reads), **{"data/one.txt": "1"}).passed()


def test_a_function_without_io_is_called_by_the_names_of_the_references(judge: JudgeOne) -> None:
    contract = io(tensor("x", [4, 4]), tensor("w", [4, 4]), scalar("scale", "float", 2.0))
    reference = kernel("def f(x, w, scale):\n    return x @ w * scale\n", io=contract, metadata={"function_name": "f"})

    def custom(head: str, body: str = "return x @ w * scale") -> Doc:
        return kernel(f"def f({head}):\n    {body}\n", metadata={"function_name": "f"})

    judge(compare(custom("scale, w, x"), reference)).passed()
    judge(compare(custom("x, w, s", "return x @ w * s"), reference)).passed()
    judge(compare(custom("x, w, scale=3.0"), reference)).passed()  # by position: a default is none of the names
    module = "class ModelNew(nn.Module):\n    def forward(self, w, scale, x):\n        return x @ w * scale\n"
    judge(compare(module, reference)).passed()


def test_answers_written_by_name_are_compared_in_the_references_order(judge: JudgeOne) -> None:
    outputs = (tensor("double", [8], role="output"), tensor("half", [8], role="output"))
    contract = io(tensor("x", [8]), *outputs)
    body = "    double.copy_(x * 2)\n    half.copy_(x / 2)\n"
    entry = {"function_name": "f"}
    reference = kernel(f"def f(x, double, half):\n{body}", io=contract, metadata=entry)
    judge(compare(kernel(f"def f(half, double, x):\n{body}", metadata=entry), reference)).passed()
    returned = kernel("def f(x):\n    return x * 2, x / 2\n", metadata=entry)
    judge(compare(returned, reference)).passed()


def test_dots_in_a_name_lead_into_classes_and_modules(judge: JudgeOne) -> None:
    source = "class Layers:\n    class Sum:\n        def forward(self, a, b):\n            return a + b\n"
    inner = kernel(source, metadata={"class_name": "Layers.Sum"})
    judge(compare(inner)).passed()
    imported = kernel("import ops\n", "multi_kernel", metadata={"entry_point": "ops.add"})
    imported["io"] = io(tensor("a", [16]), tensor("b", [16]))
    judge(evaluate(imported), **{"ops.py": "def add(a, b):\n    return b + a\n"}).passed()
    astray = kernel(source, metadata={"class_name": "Layers.Mean"})
    judge(compare(astray)).ended(Verdict.COMPILE_ERROR, "no class 'Layers.Mean'", "Layers")


@pytest.mark.parametrize(
    ("layer", "body"),
    [
        ("self.f = nn.Linear(8, 4)", "self.f(x)"),
        ("self.f = nn.BatchNorm1d(8)\n        self.g = nn.Linear(8, 3)", "self.g(self.f(x))"),
    ],
    ids=["linear", "batchnorm"],
)
def test_modules_with_parameters_get_the_same_weights(judge: JudgeOne, layer: str, body: str) -> None:
    # The candidate draws from the generator first: only copied weights make it agree.
    judge(compare(model(body, init="torch.randn(7); " + layer), model(body, init=layer))).passed()


def test_a_convolution_with_get_init_inputs_agrees(judge: JudgeOne) -> None:
    source = """
        class Model(nn.Module):
            def __init__(self, channels, size):
                super().__init__()
                self.f = nn.Conv2d(3, channels, size)
            def forward(self, x):
                return self.f(x)
        def get_init_inputs():
            return [4, 3]
        def get_inputs():
            return [torch.randn(1, 3, 8, 8)]
        """
    judge(compare(source, source)).passed()


def test_nested_outputs_and_scalars_are_all_compared(judge: JudgeOne) -> None:
    answer = "{'a': [x + 1, (x * 2, int(x.numel()))], 'b': float(x.sum().item()), 'c': bool(x.sum() > 0)}"
    shuffled = "{'c': bool(x.sum() > 0), 'b': float(x.sum().item()), 'a': [x + 1, (x * 2, int(x.numel()))]}"
    judge(compare(model(shuffled), model(answer))).passed()
    judge(compare(model(answer.replace("x.numel()", "x.numel() + 1")), model(answer))).ended(Verdict.WRONG_ANSWER)
    judge(compare(model("(x + 1, x * 2)"), model("{'a': x + 1, 'b': x * 2}"))).ended(Verdict.WRONG_ANSWER, "nested")


def test_none_may_stand_among_answers_where_the_reference_has_it(judge: JudgeOne) -> None:
    attention = """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
            def forward(self, x):
                return self.attend(x, x, x, need_weights=False)
        def get_inputs():
            return [torch.randn(2, 3, 8)]
        """
    judge(compare(attention, attention)).passed()
    judge(compare(model("{'y': x + 1, 'more': [None]}"), model("{'more': [None], 'y': x + 1}"))).passed()
    words = "expected [tensor, None], got [None, tensor]"
    judge(compare(model("(None, x + 1)"), model("(x + 1, None)"))).ended(Verdict.WRONG_ANSWER, words)
    judge(compare(model("(x + 1, x)"), model("(x + 1, None)"))).ended(Verdict.WRONG_ANSWER, "2 outputs")
    judge(compare(model("(None, [None])"), model("(None, [None])"))).ended(Verdict.REJECTED, "no outputs")
    sometimes = "(x + 1, None if hasattr(self, 'n') else setattr(self, 'n', 1) or x)"
    judge(compare(model(sometimes), model("(x + 1, x)"))).ended(Verdict.WRONG_ANSWER, "nested differently")


@pytest.mark.parametrize("answer", ["x.grad", "x.requires_grad_(False).grad"], ids=["asked for", "no longer"])
def test_gradients_of_inputs_are_those_of_one_call(judge: JudgeOne, answer: str) -> None:
    """Slots are used again, and what a call left on its arguments must not be added to in the next."""
    source = f"""
        class Model(nn.Module):
            def forward(self, x):
                with torch.enable_grad():
                    (x.requires_grad_() ** 3).sum().backward()
                return {answer}
        """
    plain = model("3 * x * x")
    judged = judge(compare(plain, kernel(source)["source_code"] + FLOATS)).passed()
    assert "nondeterministic" not in judged.case.labels
    judge(compare(source, plain)).passed()


@pytest.mark.parametrize(
    ("custom", "plain"),
    [
        ("x.t_() * 2", "x.t() * 2"),
        ("x.unsqueeze_(1) + 1", "x.unsqueeze(1) + 1"),
        ("x.t_()", "x.t()"),
        ("x.t_()", "x.t_()"),
        ("setattr(x, 'data', x.data.flip(0)) or x + 0", "x.flip(0)"),
    ],
    ids=["turned", "unsqueezed", "returned", "returned by both", "replaced"],
)
def test_an_argument_that_is_turned_in_place_is_as_it_came_in_the_next_call(
    judge: JudgeOne, custom: str, plain: str
) -> None:
    judge(compare(model(custom), model(plain))).passed()


@pytest.mark.parametrize(
    "answer",
    [
        "-(x['a'].pop() - x['a'].pop())",
        "torch.sub(*x.pop('a'))",
        "x['a'].reverse() or torch.sub(*x['a'][::-1])",
        "x.update(n=1) or torch.sub(*x['a'])",
    ],
    ids=["list emptied", "dict emptied", "list reversed", "dict added to"],
)
def test_lists_and_dicts_among_the_arguments_are_as_they_came_in_the_next_call(judge: JudgeOne, answer: str) -> None:
    inputs = "\ndef get_inputs():\n    return [{'a': [torch.randn(8, 8), torch.randn(8, 8)]}]\n"
    checked = f"{answer} if len(x) == 1 and len(x['a']) == 2 else None"
    judge(compare(model(checked), model("torch.sub(*x['a'])") + inputs)).passed()


def test_constructor_arguments_are_the_references_and_may_hold_a_dtype(judge: JudgeOne) -> None:
    source = """
        class Model(nn.Module):
            def __init__(self, size, dtype):
                super().__init__()
                self.f = nn.Linear(8, size, dtype=dtype)
            def forward(self, x):
                return self.f(x.to(self.f.weight.dtype))
        """
    made = kernel(source)["source_code"] + "def get_init_inputs():\n    return [4, torch.bfloat16]\n"
    judge(compare(source, made + FLOATS)).passed()
    stale = kernel(source)["source_code"] + "def get_init_inputs():\n    return []\n"
    judge(compare(stale, made + FLOATS)).passed()


@pytest.mark.parametrize(
    ("init", "more"),
    [
        ("self.register_buffer('held', torch.zeros(1).expand(1 << 30))", FLOATS),
        ("", "def get_inputs():\n    return [torch.zeros(1).expand(1 << 30)]\n"),
        ("pass", FLOATS + "def get_init_inputs():\n    return [torch.zeros(1).expand(1 << 30)]\n"),
    ],
    ids=["weights", "inputs", "arguments"],
)
def test_tensors_that_no_cell_has_the_memory_for_are_not_fetched(judge: JudgeOne, init: str, more: str) -> None:
    """Expanded ones cost the cell nothing, and would the judge twice what they claim to have."""
    source = model("x + 1", init=init).replace("(self):", "(self, *_):") + more
    judge(compare(model("x + 1", init="pass"), source)).ended(Verdict.REJECTED, "are allowed")


def test_constructor_arguments_that_cannot_be_handed_on_are_made_by_both(judge: JudgeOne) -> None:
    source = """
        class Model(nn.Module):
            def __init__(self, activation):
                super().__init__()
                self.activation = activation
            def forward(self, x):
                return self.activation(x)
        """
    made = kernel(source)["source_code"] + "def get_init_inputs():\n    return [torch.relu]\n"
    judged = judge(compare(made, made + FLOATS)).passed()
    note = "constructed with its own; of the reference, get_init_inputs(): [0] is of type"
    assert any(note in one for one in judged.case.notes)
    refused = judge(compare(source, made + FLOATS))
    refused.ended(Verdict.REJECTED, "[0]", "custom source a get_init_inputs() of its own")
    assert "at fault" not in str(refused.case.failure)  # the reference is as right as can be


@pytest.mark.parametrize(
    ("init", "constant"),
    [
        ("nn.LayerNorm(8)", "f.weight, f.bias"),
        ("nn.PReLU(init=0.25)", ""),
        ("nn.PReLU(init=1.0)", "f.weight"),
        ("nn.Linear(8, 8)", ""),
        ("nn.BatchNorm1d(8, affine=False)", ""),  # its running mean and variance change in every call
        ("nn.BatchNorm1d(8, affine=False).eval()", "f.running_mean, f.running_var"),
        ("nn.BatchNorm1d(8)", "f.weight, f.bias"),
    ],
)
def test_weights_that_are_never_varied_are_named(judge: JudgeOne, init: str, constant: str) -> None:
    found = judge(compare(model("self.f(x)", init=f"self.f = {init}"), model("self.f(x)", init=f"self.f = {init}")))
    notes = [note for note in found.passed().case.notes if note.startswith("weights that never change")]
    assert ("constant_weights" in found.case.labels) == bool(notes) == bool(constant)
    assert [note.rpartition(": ")[2] for note in notes] == [constant] * bool(constant)


def test_weights_of_a_dtype_that_is_not_carried_are_what_both_constructors_make(judge: JudgeOne) -> None:
    scale = "self.register_buffer('scale', torch.rand(8).to(torch.float8_e4m3fnuz)); self.f = nn.Linear(8, 8)"
    source = model("self.f(x) * self.scale.float()", init=scale)
    judge(compare(source, source)).passed()


def test_an_output_inside_of_what_get_inputs_gives_is_told_by_where_it_lies(judge: JudgeOne) -> None:
    """As GPU MODE's problems have it: one argument, a tuple with the place for the answer somewhere in it."""
    source = (
        "def {name}(data):\n    (x, (a, [y])), scale = data\n    y[...] = x * scale + a\n    return y\n"
        "def run(x, a, scale):\n    return {name}(((x, (a, [torch.empty_like(x)])), scale))\n"
    )
    given = "def get_inputs():\n    return [((torch.randn(8), (torch.randn(8), [torch.empty(8)])), 2.0)]\n"
    apart = "def get_inputs():\n    return [torch.randn(8), torch.randn(8), 2.0]\n"

    def pair(more: str, function: str) -> Doc:
        named = {name: function or name for name in ("custom_kernel", "ref_kernel")}
        return compare(
            *(kernel(source.format(name=name) + more, metadata={"function_name": named[name]}) for name in named)
        )

    judge(pair(given, "")).ended(
        Verdict.REJECTED, "changed input input2 (get_inputs()[0][0][1][1][0])", "function around the kernel make it"
    )
    judge(pair(apart, "run")).passed()


def test_an_answer_that_is_one_of_two_is_counted_in_words(judge: JudgeOne) -> None:
    judge(compare(model("x"), model("(x, x)"))).ended(Verdict.WRONG_ANSWER, "1 output, the reference has 2")


def test_a_notebook_as_a_source_is_called_one(judge: JudgeOne) -> None:
    notebook = {"source_file": "kernel.ipynb", "kernel_type": "torch"}
    judge(evaluate(notebook), **{"kernel.ipynb": "{}"}).ended(
        Verdict.COMPILE_ERROR, "kernel.ipynb is not a Python file, *.py (a notebook: put its code into one)"
    )


LAZY, MADE = (f"self.a = nn.Linear(8, 8); self.fc = nn.{made}" for made in ("LazyLinear(4)", "Linear(8, 4)"))


@pytest.mark.parametrize(
    ("reference", "custom", "said"),
    [
        (LAZY, MADE, "first call makes, so that no custom module can be given them: fc.weight, fc.bias"),
        (MADE, LAZY, "of the custom module: fc.weight (made by its first call)"),
    ],
)
def test_weights_that_only_a_first_call_makes_are_named(
    judge: JudgeOne, reference: str, custom: str, said: str
) -> None:
    body = "self.fc(self.a(x))"
    pair = kernel(model(body, init=custom).replace("Model", "ModelNew")), kernel(model(body, init=reference))
    judged = judge(compare(*pair)).ended(Verdict.WRONG_ANSWER, said)
    assert any(said in note for note in judged.case.notes)


def test_weights_without_a_counterpart_are_named(judge: JudgeOne) -> None:
    reference = model("self.f(x)", init="self.f = nn.Linear(8, 4, bias=False)")
    custom = model("x @ self.weight.T", init="self.weight = nn.Parameter(torch.randn(4, 8))")
    judged = judge(compare(custom, reference))
    judged.ended(Verdict.WRONG_ANSWER, "elements differ", "f.weight [4, 8]; of the custom module: weight [4, 8]")
    assert any("f.weight [4, 8]; of the custom module: weight [4, 8]" in note for note in judged.case.notes)
    same = judge(compare(reference, reference)).passed()
    assert not any("counterpart" in note for note in same.case.notes)


APART = "self.q = nn.Linear(8, 8); self.k = nn.Linear(8, 8); self.o = nn.Linear(16, 8)"
FUSED_AFTERWARDS = """
class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.qk, self.o = nn.Linear(8, 16), nn.Linear(16, 8)
        self._register_load_state_dict_pre_hook(self.fuse)
    def fuse(self, state, prefix, *_):
        for kind in ("weight", "bias"):
            state[f"qk.{kind}"] = torch.cat([state.pop(f"q.{kind}"), state.pop(f"k.{kind}")])
    def forward(self, x):
        return self.o(self.qk(x))
"""
FUSED = """
class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        q, k, o = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(16, 8)
        for kind in ("weight", "bias"):
            setattr(self, kind, torch.cat([getattr(q, kind), getattr(k, kind)]).detach())
        self.o = o
    def forward(self, x):
        return self.o(nn.functional.linear(x, self.weight, self.bias))
"""


def test_who_fuses_weights_is_told_how(judge: JudgeOne) -> None:
    reference = model("self.o(torch.cat([self.q(x), self.k(x)], -1))", init=APART)
    by_hook = judge(compare(FUSED_AFTERWARDS, reference))
    by_hook.ended(Verdict.WRONG_ANSWER, "no hook of load_state_dict runs", "make its layers in the constructor")
    judge(compare(FUSED, reference)).passed()
    drawn_before = FUSED.replace("super().__init__()", "super().__init__(); torch.rand(1)")
    otherwise_made = judge(compare(drawn_before, reference))
    otherwise_made.ended(Verdict.WRONG_ANSWER, "the custom module does not have q.weight [8, 8]", "in the constructor")


def test_whoever_folds_into_weights_that_are_copied_over_is_told(judge: JudgeOne) -> None:
    reference = model("self.f(x) * 2", init="self.f = nn.Linear(8, 8)")
    folded = model("self.f(x)", init="self.f = nn.Linear(8, 8); self.f.weight.data.mul_(2); self.f.bias.data.mul_(2)")
    judge(compare(folded, reference)).ended(
        Verdict.WRONG_ANSWER, "constructor had made f.weight, f.bias otherwise, and the reference's were copied over"
    )
    forgotten = judge(compare(model("self.f(x)", init="self.f = nn.Linear(8, 8)"), reference))
    assert "otherwise" not in forgotten.ended(Verdict.WRONG_ANSWER).message
    other_name = "self.f = nn.Linear(8, 8); self.w, self.b = self.f.weight.detach() * 2, self.f.bias.detach() * 2"
    judge(compare(model("nn.functional.linear(x, self.w, self.b)", init=other_name), reference)).passed()


def test_what_is_copied_over_half_precision_weights_is_no_other(judge: JudgeOne) -> None:
    reference = model("self.f(x)", init="self.f = nn.Linear(8, 8)")
    half = judge(compare(model("self.f(x.half()).float() * 3", init="self.f = nn.Linear(8, 8).half()"), reference))
    assert "otherwise" not in half.ended(Verdict.WRONG_ANSWER).message


def test_a_single_number_is_no_weak_check_unless_it_is_always_the_same(judge: JudgeOne) -> None:
    assert "weak_check" not in judge(compare(model("x.sum() + 0"), model("x.sum()"))).passed().case.labels
    assert "weak_check" in judge(compare(model("x.sum() * 0 + 3"), model("x.sum() * 0 + 3"))).passed().case.labels


MADE_BY = "import functools\n\nclass M(nn.Module):\n    pass\n\nModelNew = {}\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (MADE_BY.format("M()"), ("'ModelNew'", "of type M, not a class", "Write ModelNew = M, and let get_init")),
        (
            MADE_BY.format("functools.partial(M, 8, bias=False)"),
            ("of type partial", "write class ModelNew(M)", "super().__init__(8, bias=False, *args, **kwargs)"),
        ),
        (MADE_BY.format("lambda *args: M(*args)"), ("of type function", "__init__ of a class ModelNew(nn.Module)")),
        (MADE_BY.format("functools.partial(torch.add, alpha=2)"), ("of type partial", "with metadata.function_name")),
        ("```python\nclass ModelNew(nn.Module):\n    pass\n", ("SyntaxError", "line 1 is a markdown fence")),
        ("Here it is:\n\n```python\nx = 1\n```\n", ("SyntaxError", "line 3 is a markdown fence")),
        ("class ModelNew:\n    pass\n```\nIt is fast.\n", ("SyntaxError", "line 3 is a markdown fence")),
        ("<think>\nA relu.\n</think>\n", ("SyntaxError", "line 1 is a tag, <think>")),
        ("%load_ext cuda\nx = 1\n", ("SyntaxError", "line 1 is a command of notebooks, %load_ext cuda")),
    ],
    ids=["instance", "partial", "factory", "partial-of-function", "fence", "prose", "end-of-fence", "tag", "notebook"],
)
def test_what_is_no_class_and_no_python_is_told(judge: JudgeOne, source: str, words: tuple[str, ...]) -> None:
    judged = judge(compare(source)).ended(Verdict.COMPILE_ERROR, *words)
    line = source.splitlines()[0]
    assert "SyntaxError" not in judged.message or line.startswith("class") or line in str(judged.failure.traceback)


def test_a_reference_that_is_no_class_is_told_what_to_type(judge: JudgeOne) -> None:
    reference = MADE_BY.format("").replace("ModelNew = ", "def Model():\n    return M()\n") + FLOATS
    judge(compare(model("x"), reference)).ended(
        Verdict.REJECTED, "'Model' in the source is of type function", "__init__ of a class Model(nn.Module)"
    )


def test_a_fence_in_a_docstring_is_no_reason(judge: JudgeOne) -> None:
    judged = judge(compare('"""\n```python\nx = 1\n```\n"""\nclass ModelNew(:\n    pass\n'))
    judged.ended(Verdict.COMPILE_ERROR, "SyntaxError")
    assert "fence" not in judged.message


@pytest.mark.parametrize(
    ("custom", "words"),
    [
        (forward("a.sum().backward()\nreturn a"), ("does not require grad", "torch.enable_grad()")),
        (forward("return a.cuda() + b.cuda()"), ("no GPU here",)),
        (forward("assert a.is_cuda, 'Input must be a CUDA tensor'\nreturn a"), ("CUDA tensor", "no GPU here")),
        (
            "class ModelNew:\n    def __call__(self, a, b):\n        return a + b\n",
            ("it has '__call__'", "method_name"),
        ),
        (forward("torch.cuda.Event(enable_timing=True).record()\nreturn a + b"), ("no GPU here",)),
        (forward("return a.pin_memory() + b"), ("no GPU here",)),
        (
            "class ModelNew(Model):\n    pass\n",
            ("'Model' is not defined", "no kernel gets to see the other one's source"),
        ),
        ("from .beside import add\n" + forward("return add(a, b)"), ("relative import", "without dots in front")),
        (
            "import triton\nDEVICE = triton.runtime.driver.active.get_active_torch_device()\n"
            + forward("return a + b"),
            ("no GPU here",),
        ),
        (forward("return a + b") + "\nraise SystemExit(0)\n", ("SystemExit", 'if __name__ == "__main__"')),
    ],
    ids=["gradients", "no-gpu", "own-check", "call", "event", "pinned", "reference", "relative", "no-driver", "script"],
)
def test_what_an_error_means_here_is_said_beside_it(judge: JudgeOne, custom: str, words: tuple[str, ...]) -> None:
    judged = judge(compare(custom))
    assert judged.verdict in (Verdict.RUNTIME_ERROR, Verdict.COMPILE_ERROR)
    assert [word for word in words if word not in judged.message] == []


@pytest.mark.parametrize(
    ("parameters", "given"),
    [
        ("size, bias=True", "[[8], {'bias': False}]"),
        ("", "[[], {}]"),
        ("size", "[[], {'size': 8}]"),
        ("sizes, options", "[[8, 4], {'bias': False}]"),
    ],
)
def test_constructor_arguments_may_be_a_list_and_a_dict(judge: JudgeOne, parameters: str, given: str) -> None:
    """KernelBook's form, unless the constructor takes just such two."""
    names = [name.partition("=")[0] for name in parameters.replace(" ", "").split(",") if name]
    checks = {"size": "assert size == 8", "bias": "assert bias is False", "sizes": "assert sizes == [8, 4]"}
    checks["options"] = "assert options == {'bias': False}"
    init = "; ".join(["pass", *(checks[name] for name in names)])
    source = model("x + 1", init=init).replace("(self):", f"(self, {parameters}):" if parameters else "(self):")
    source += f"def get_init_inputs():\n    return {given}\n"
    judge(compare(source, source)).passed()


def test_a_constructor_that_wants_arguments_is_told_where_they_come_from(judge: JudgeOne) -> None:
    source = model("x", init="pass").replace("(self):", "(self, channels):")
    judge(compare(source, source)).ended(Verdict.REJECTED, "missing 1 required", "get_init_inputs()")


def test_a_constructor_that_takes_other_arguments_than_the_references_is_told_what_it_gets(judge: JudgeOne) -> None:
    reference = model("x", init="pass").replace("(self):", "(self, channels, *, bias):")
    custom = model("x", init="pass").replace("(self):", "(self):")
    given = "def get_init_inputs():\n    return [[8], {'bias': False}]\n"
    judged = judge(compare(custom, reference + given))
    judged.ended(Verdict.COMPILE_ERROR, "TypeError", "get_init_inputs() of the reference gives")


def test_a_custom_class_without_a_constructor_is_told_which_arguments_the_reference_has(judge: JudgeOne) -> None:
    reference = model("x", init="pass").replace("(self):", "(self, channels):")
    judged = judge(compare(model("x"), reference + "def get_init_inputs():\n    return [8]\n"))
    judged.ended(Verdict.COMPILE_ERROR, "TypeError", "get_init_inputs() of the reference gives 1 by position")


def test_a_source_that_reads_its_command_line_finds_its_name_and_no_arguments(judge: JudgeOne) -> None:
    """It found those of evald's own process, which an argparse at the top of a kernel refused."""
    reads = (
        "import argparse, sys\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--size', type=int, default=8)\n"
        "assert parser.parse_args().size == 8 and sys.argv == [__file__]\n"
    )
    judge(compare(reads + forward("return a + b"))).passed()


def test_a_dict_of_inputs_that_was_meant_as_arguments_is_told_to_be_one(judge: JudgeOne) -> None:
    source = "class Model(nn.Module):\n    def forward(self, *, a, b):\n        return a + b\n"
    inputs = "def get_inputs():\n    return {'a': torch.randn(4), 'b': torch.randn(4)}\n"
    judge(compare(source, source + inputs)).ended(Verdict.REJECTED, "TypeError", "is one argument", "a list of a, b")


def test_a_source_in_a_folder_finds_what_lies_beside_it_and_above(judge: JudgeOne) -> None:
    source = "from above import ZERO\nfrom beside import add\n" + forward("return add(a, b) + ZERO")
    files = {
        "src/custom__py": source,
        "src/beside__py": "def add(a, b):\n    return a + b\n",
        "above__py": "ZERO = 0\n",
    }
    judge(compare({"source_file": "src/custom.py", "kernel_type": "torch"}), **files).passed()


def test_a_module_that_another_of_its_name_hides_is_named(judge: JudgeOne) -> None:
    source = "from profile import add\n" + forward("return add(a, b)")
    judged = judge(compare(source), profile__py="def add(a, b):\n    return a + b\n")
    judged.ended(Verdict.COMPILE_ERROR, "profile.py of the bundle is not it", "rename it")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("2**70", "beyond 64 bits"),
        ("torch.nested.nested_tensor([x[:2], x[2:]])", "a nested tensor"),
        ("x.numpy()", "of type numpy.ndarray, which cannot be compared; return a tensor: torch.from_numpy"),
        ("{x}", "return a list: a set has no order"),
        ("(part for part in x)", "yield makes a function a generator"),
        ("type(self).forward", "call it, and return what it returns"),
        ("x.to('meta')", "a tensor on the device meta"),
        ("{'a': x}", "expected a tensor, got {'a': tensor}"),
    ],
)
def test_answers_of_another_kind_are_told_by_what_they_are(judge: JudgeOne, answer: str, words: str) -> None:
    judge(compare(model(answer), model("x + 1"))).ended(Verdict.WRONG_ANSWER, words)


@pytest.mark.parametrize("answer", ["None", "[]", "{}", "'text'", "object()", "x.to_sparse()"])
def test_answers_that_cannot_be_compared_fail_with_the_reason(judge: JudgeOne, answer: str) -> None:
    judged = judge(compare(model(answer), model("x + 1")))
    assert judged.verdict is Verdict.WRONG_ANSWER
    assert judged.message


def test_none_from_both_sides_is_the_references_fault(judge: JudgeOne) -> None:
    judge(compare(model("None"), model("None"))).ended(Verdict.REJECTED, "reference is at fault", "None")


def test_shape_and_dtype_mismatches_say_what_was_expected(judge: JudgeOne) -> None:
    judge(compare(model("x[:4] + 1"), model("x + 1"))).ended(Verdict.WRONG_ANSWER, "shape", "[16, 8]", "[4, 8]")
    judge(compare(model("(x + 1).half()"), model("x + 1"))).ended(Verdict.WRONG_ANSWER, "dtype", "float32", "float16")


def test_odd_but_correct_answers_pass(judge: JudgeOne) -> None:
    odd = "torch.empty(8, 16).t().copy_(x + 1)"  # not contiguous, and made by writing into an empty tensor
    judge(compare(model(odd), model("x + 1"))).passed()
    judge(compare(model("nn.Parameter(x * 2)"), model("x + x"))).passed()
    judge(compare(model("(x.double() * 3).float().conj()"), model("x * 3"))).passed()


def test_inputs_are_derived_from_annotations_when_nothing_else_says(judge: JudgeOne) -> None:
    source = "class Model(nn.Module):\n    def forward(self, x: torch.Tensor, k: int = 2):\n        return x * k\n"
    judge(compare(source.replace("Model", "ModelNew"), source)).passed()
    bare = "class Model(nn.Module):\n    def forward(self, x):\n        return x\n"
    judge(compare(bare, bare)).ended(Verdict.REJECTED, "get_inputs")


def test_evaluate_runs_with_io_and_with_get_inputs_and_compares_nothing(judge: JudgeOne) -> None:
    own = judge(evaluate(ADD)).passed().case
    assert own.correctness is None
    contract = kernel(
        "class Model(nn.Module):\n    def forward(self, a, k):\n        return a * k\n",
        io=io(tensor("a", [8, 4]), scalar("k", "float", 2.5)),
    )
    case = judge(evaluate(contract)).passed().case
    assert case.timing is not None


def test_several_cases_bind_symbols_and_the_worst_is_the_verdict(judge: JudgeOne) -> None:
    source = "class Model(nn.Module):\n    def forward(self, a):\n        return a + 1\n"
    custom = "class Model(nn.Module):\n    def forward(self, a):\n        return a + (1 if a.shape[0] < 6 else 2)\n"
    contract = io(tensor("a", ["N", "2*N"]))
    cases = [{"name": "small", "bind": {"N": 4}}, {"name": "large", "bind": {"N": 8}}]
    doc = compare(kernel(custom, io=contract), kernel(source, io=contract), cases=cases)
    evaluation = judge(doc).evaluation
    assert [case.verdict for case in evaluation.cases] == [Verdict.PASSED, Verdict.WRONG_ANSWER]
    assert evaluation.verdict is Verdict.WRONG_ANSWER
    assert evaluation.message is not None and "case large" in evaluation.message


def test_embedded_data_static_args_and_tolerances_of_one_output(judge: JudgeOne) -> None:
    data = base64.b64encode(bytes(range(16))).decode()
    contract = io(
        tensor("t", [16], "uint8", data={"data_b64": data}),
        tensor("w", [16], init={"kind": "randn"}),
    )
    source = "class Model(nn.Module):\n    def forward(self, t, w):\n        return t.float() + w{}\n"
    doc = compare(kernel(source.format(" + 0.5"), io=contract), kernel(source.format(""), io=contract))
    judge({**doc, "static_args": ["w"], "atol": 1.0}).passed()
    judge({**doc, "atol": 0.1}).ended(Verdict.WRONG_ANSWER)


def test_a_tolerance_for_all_outputs_is_no_share_of_an_index_and_none_of_a_bool(judge: JudgeOne) -> None:
    loose, sort = {"atol": 1e-2, "rtol": 1e-2}, model("torch.sort(x.flatten())")
    index = "v, i = torch.sort(x.flatten())\nreturn v, torch.where(i > 100, i + 1, i)"
    judge({**compare(sort, sort), **loose}).passed()
    judge({**compare(forward(index, arguments="x"), sort), **loose}).ended(Verdict.WRONG_ANSWER, "atol 0.01, rtol 0")
    judge({**compare(model("x < 9"), model("x > 0")), "atol": 1.0}).ended(Verdict.WRONG_ANSWER)


def test_an_atol_for_all_outputs_is_for_whole_numbers_too_and_what_an_output_declares_counts(judge: JudgeOne) -> None:
    quantized, nearly = model("(x * 9).to(torch.int8)"), model("(x * 9).to(torch.int8) + 1")
    judge({**compare(nearly, quantized), "atol": 1}).passed()
    judge({**compare(nearly, quantized), "rtol": 1}).ended(Verdict.WRONG_ANSWER)
    declared = io(tensor("x", [8]), tensor("y", [8], "int32", role="output", rtol=0.01))
    exact, off = (kernel(f"def f(x, y):\n    y.fill_({number})\n", io=declared) for number in (1000, 1001))
    judge(compare({**off, "metadata": {"function_name": "f"}}, {**exact, "metadata": {"function_name": "f"}})).passed()


def test_the_legacy_form_is_a_compare(judge: JudgeOne) -> None:
    doc = {"ref_code": kernel(ADD)["source_code"], "custom_code": forward("return a + b")}
    judge({key: value for key, value in FAST.items() if key != "timeout"} | doc).passed()


def test_inputs_that_ignore_the_seed_are_said_to_be_fixed(judge: JudgeOne) -> None:
    fixed = (
        "class Model(nn.Module):\n    def forward(self, a): return a * 2\ndef get_inputs(): return [torch.ones(8)]\n"
    )
    assert "fixed_inputs" in judge(compare(fixed, fixed)).passed().case.labels
    assert "fixed_inputs" not in judge(compare(forward("return a + b"))).passed().case.labels


def test_sources_drawing_from_numpy_and_random_get_fresh_inputs_too(judge: JudgeOne) -> None:
    source = (
        "import random\nimport numpy as np\n"
        "class Model(nn.Module):\n    def forward(self, a, b):\n        return a * b\n"
        "def get_inputs():\n    return [torch.from_numpy(np.random.rand(8)), torch.tensor(random.random())]\n"
    )
    assert "fixed_inputs" not in judge(compare(source, source)).passed().case.labels


def test_an_answer_trivial_to_guess_is_labelled(judge: JudgeOne) -> None:
    assert "weak_check" in judge(compare(model("x * 0"), model("x * 0"))).passed().case.labels


@pytest.mark.parametrize(
    ("drawn", "others"),
    [
        ("torch.dropout(a, 0.5, True)", "a * (torch.rand(a.shape, dtype=torch.float64) > 0.5) * 2"),
        ("a + float(np.random.rand())", "a + 0.5"),
        ("a + random.random()", "a + 0.5"),
    ],
)
def test_who_does_not_draw_what_the_reference_draws_is_told(judge: JudgeOne, drawn: str, others: str) -> None:
    head = "import random\nimport numpy as np\n"
    reference = head + f"class Model(nn.Module):\n    def forward(self, a):\n        return {drawn}\n"
    inputs = "def get_inputs():\n    return [torch.rand(64) + 1]\n"
    custom = forward(f"return {others}", arguments="a")
    remark = "(the reference's call draws random numbers: the candidate has to draw the same ones, in the same order)"
    judge(compare(custom, reference + inputs)).ended(Verdict.WRONG_ANSWER, remark)
    fixed = "class Model(nn.Module):\n    def forward(self, a):\n        return a\n" + inputs
    judged = judge(compare(custom, fixed)).ended(Verdict.WRONG_ANSWER)
    assert "draws" not in judged.message
