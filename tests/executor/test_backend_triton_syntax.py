"""What Triton's compiler refuses of a kernel's text: evald's own list, held against the compiler."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path
from typing import Any

import pytest

from daemon.executor.backends._triton_syntax import refused

pytest.importorskip("triton")

HEAD = """\
import triton
import triton.language as tl


@triton.jit
def kernel(x, n, K: tl.constexpr):
"""
AT = HEAD.count("\n") + 1

REFUSED = {
    "chained comparison": ("tl.store(x, 1.0, mask=0 <= n < 5)", "a chained comparison"),
    "chained constants": ("if 0 < K < 9:\n    tl.store(x, 1.0)", "a chained comparison"),
    "break": ("for i in range(n):\n    if i > 3:\n        break\n    tl.store(x + i, 1.0)", "break"),
    "continue": ("for i in range(n):\n    if i > 3:\n        continue\n    tl.store(x + i, 1.0)", "continue"),
    "return in for": (
        "for i in range(n):\n    if i > 3:\n        return\n    tl.store(x + i, 1.0)",
        "return within a loop",
    ),
    "return in while": ("i = 0\nwhile i < n:\n    if n > 3:\n        return\n    i += 1", "return within a loop"),
    "list": ("for i in [1, 2]:\n    tl.store(x + i, 1.0)", "a loop over something else"),
    "enumerate": ("for i, j in enumerate((1, 2)):\n    tl.store(x + i, 1.0)", "a loop over something else"),
    "else of a loop": ("for i in range(n):\n    tl.store(x + i, 1.0)\nelse:\n    tl.store(x, 1.0)", "else of a loop"),
    "in": ("if K in (1, 2):\n    tl.store(x, 1.0)", "in"),
    "function": ("def twice(y):\n    return y * 2\ntl.store(x, twice(1.0))", "a function within it"),
    "lambda": ("twice = lambda y: y * 2\ntl.store(x, twice(1.0))", "a lambda"),
    "dict": ("sizes = {'a': 1}\ntl.store(x, 1.0)", "a dict"),
    "walrus": ("if (m := n + 1) > 2:\n    tl.store(x + m, 1.0)", ":="),
    "import": ("import math\ntl.store(x, math.pi)", "an import"),
    "try": ("try:\n    tl.store(x, 1.0)\nfinally:\n    pass", "try"),
    "element": ("y = tl.zeros([4], tl.float32)\ny[0] = 1.0\ntl.store(x + tl.arange(0, 4), y)", "an element"),
}
TAKEN = {
    "return before a loop": "if n > 3:\n    return\nfor i in range(n):\n    tl.store(x + i, 1.0)",
    "return in an unrolled loop": "for i in tl.static_range(4):\n    if n > i:\n        return\n    tl.store(x, 1.0)",
    "return by a constant": "for i in range(n):\n    if K == 3:\n        return\n    tl.store(x + i, 1.0)",
    "what a constant leaves out": "if K == 3:\n    for i in range(n):\n        break\ntl.store(x, 1.0)",
    "what a declared constant leaves out": (
        "HALF: tl.constexpr = K // 2\nif HALF == 3:\n    import math\ntl.store(x, 1.0)"
    ),
    "behind the end": "tl.store(x, 1.0)\nreturn\nimport math",
    "by words": "if n > 3 and not n > 5:\n    tl.store(x, 1.0)",
    "blocks by words": ("at = tl.arange(0, 4)\ntl.store(x + at, 1.0, mask=(at < n) and not (at < 2) or (at > n))"),
    "larger and smaller": "at = tl.arange(0, 4)\ntl.store(x + at, max(min(tl.load(x + at), 0.5), -0.5))",
    "comprehension": "a, b = [i + 1 for i in (1, 2)]\ntl.store(x + a, 1.0 * b)",
    "tuples and f-strings": "a, b = (n, 2)\ntl.static_assert(K == 8, f'{K} is not 8')\ntl.store(x + a, 1.0 * b)",
    "ranges": "for i in tl.range(0, n, num_stages=2):\n    tl.store(x + i, 1.0)",
    "either": "tl.store(x, 1.0 if n > 3 else 2.0)",
}


def jitted(folder: Path, body: str) -> Any:
    path = folder / "source.py"
    path.write_text(HEAD + textwrap.indent(body, "    ") + "\n")
    spec = importlib.util.spec_from_file_location("source", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel


def compile_for_a_gpu(kernel: Any) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource(kernel, {"x": "*fp32", "n": "i32", "K": "constexpr"}, constexprs={(2,): 8})
    triton.compile(source, target=GPUTarget("cuda", 90, 32))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_compiler_refuses_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    from triton.compiler import CompilationError

    body, words = REFUSED[name]
    kernel = jitted(tmp_path, body)
    with pytest.raises((CompilationError, AttributeError)):
        compile_for_a_gpu(kernel)
    found = refused(kernel.fn)
    assert found, body
    assert any(what.startswith(words) for what, _ in found), found
    assert all(AT <= line < AT + len(body.splitlines()) for _, line in found), found


# What its text does not tell, and evald's interpreter fails at: test_executor_kernel_types.py.
BEYOND_TEXT = {
    "if": "if tl.arange(0, 4) > n:\n    tl.store(x, 1.0)",
    "while": "at = tl.arange(0, 4)\nwhile at < n:\n    at += 1",
    "float": "tl.store(x, float(n))",
    "dot": "a = tl.zeros([8, 8], tl.float16)\ntl.store(x, tl.sum(tl.sum(tl.dot(a, a), 0), 0))",
}


@pytest.mark.parametrize("name", BEYOND_TEXT)
def test_what_fails_in_the_interpreter_the_compiler_refuses(tmp_path: Path, name: str) -> None:
    from triton.compiler import CompilationError

    with pytest.raises((CompilationError, RuntimeError)):  # of a block behind `while` its parser speaks
        compile_for_a_gpu(jitted(tmp_path, BEYOND_TEXT[name]))


@pytest.mark.filterwarnings("ignore:Logical operators", "ignore:builtin")
@pytest.mark.parametrize("name", TAKEN)
def test_what_the_compiler_takes_is_not_named(tmp_path: Path, name: str) -> None:
    kernel = jitted(tmp_path, TAKEN[name])
    compile_for_a_gpu(kernel)
    assert refused(kernel.fn) == []
