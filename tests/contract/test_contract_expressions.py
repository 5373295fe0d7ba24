from __future__ import annotations

import ast
import warnings
from difflib import SequenceMatcher

import pytest
from contract_samples import problems, tensor, with_args
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.contract import syntax
from daemon.contract.expressions import MAX_CHARACTERS, MAX_DEPTH, ExpressionError, evaluate, names_in, reserved_name

LONG = "abcdefghij" * 5
BIND = {"N": 1000, "M": 7}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        (" N ", 1000),
        ("N + M - 1", 1006),
        ("2 * (N + 1)", 2002),
        ("N // M", 142),
        ("-N // M", -143),
        ("N % M", 6),
        ("-N", -1000),
        ("ceildiv(N, 256)", 4),
        ("ceildiv(N, 250)", 4),
        ("min(N, M, 3)", 3),
        ("max(M)", 7),
        ("max(N, ceildiv(M, 2)) * 2", 2000),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_the_grammar_computes_whole_numbers(text: str, value: int) -> None:
    assert evaluate(text, BIND) == value


def test_a_stumble_of_pythons_parser_is_no_fault_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    parse, stumbles = syntax._parsed, iter([SystemError("AST constructor recursion depth mismatch")] * 2)

    def stumbling(text: str) -> ast.expr:
        for stumble in stumbles:
            raise stumble
        return parse(text)

    monkeypatch.setattr(syntax, "_parsed", stumbling)
    assert evaluate("N + 4711", BIND) == 5711


@pytest.mark.parametrize(
    "text",
    [
        "",
        "N / 2",
        "N ** 2",
        "N @ M",
        "N << 2",
        "1.5",
        "1e3",
        "0x10",
        "1_000",
        "1j",
        "'a'",
        "True",
        "N if M else 1",
        "N and M",
        "not N",
        "+N",
        "~N",
        "N < M",
        "lambda: 1",
        "[N]",
        "(N, M)",
        "N.real",
        "N[0]",
        "min(*N)",
        "min(a=1)",
        "min()",
        "ceildiv(N)",
        "abs(N)",
        "__import__('os')",
        "min(N)(M)",
        "N; M",
        "N\nM",
        "(",
        "N N",
        "\u0661",
        "\u212a",
        "N := 1",
        "#",
    ],
)
def test_nothing_else_is_understood(text: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(text, BIND)


def test_an_unbound_name_lists_what_is_bound_and_the_nearest() -> None:
    with pytest.raises(ExpressionError, match="bound here: M, N_rows") as caught:
        evaluate("N_row * 2", {"N_rows": 1, "M": 2})
    assert caught.value.suggest() == "N_rows"


def test_a_division_by_one_slash_suggests_two() -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate("N / 2", BIND)
    assert caught.value.suggest() == "//"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("triton.cdiv(N, 64)", "ceildiv(N, 64)"),
        ("cdiv(N, 64) * M", "ceildiv(N, 64) * M"),
        ("math.ceil(N / 64)", "ceildiv(N, 64)"),
        ("math.ceil(N)", None),
        ("math.ceil(N * M)", None),
        ("int(np.ceil((N + M) / 64))", "ceildiv(N + M, 64)"),
        ("lambda meta: (triton.cdiv(N, meta['BLOCK']),)", "ceildiv(N, BLOCK)"),
        ("lambda META: (triton.cdiv(N, 64), M)", '["ceildiv(N, 64)", "M"]'),
        ("(ceildiv(N, 64),)", "ceildiv(N, 64)"),
        ("N ** 2", "N * N"),
        ("((N ** 4) ** 4) ** 4", None),
        ("N / 2", "//"),
        ("torch.prod(N)", None),
        ("N ** M", None),
        ("(N, )[M](3", None),
        ("N if M else 1", None),
        ("'\\d'", None),
        ("1if N", None),
        ("lambda: " * 30 + "N", None),
    ],
)
def test_python_is_answered_with_the_expression_it_stands_for(text: str, meant: str | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ExpressionError) as caught:
            evaluate(text, BIND)
    assert caught.value.suggest() == meant


@pytest.mark.parametrize("text", ["N // 0", "N % (M - 7)", "ceildiv(1, 0)"])
def test_a_division_by_zero_is_an_expression_error(text: str) -> None:
    with pytest.raises(ExpressionError, match="divides by zero"):
        evaluate(text, BIND)


def test_every_intermediate_value_is_capped() -> None:
    with pytest.raises(ExpressionError, match="64 bits"):
        evaluate("X * X - X * X", {"X": 2**40})
    with pytest.raises(ExpressionError, match="64 bits"):
        evaluate("9223372036854775808", {})
    with pytest.raises(ExpressionError, match="64 bits"):
        evaluate("9" * 200, {})


def test_length_and_depth_are_capped() -> None:
    assert evaluate("+".join(["1"] * 30), {}) == 30
    for text in ("1+" * 200 + "1", "+".join(["1"] * 60), "-" * 100 + "1", "(" * 127 + "1" + ")" * 127, "(" * 250):
        if text.startswith("((") and text.endswith("))"):
            assert evaluate(text, {}) == 1  # parentheses alone nest nothing
            continue
        with pytest.raises(ExpressionError):
            evaluate(text, {})


def test_names_are_found_without_the_functions() -> None:
    assert names_in("min(N, ceildiv(K, 2)) + N") == {"N", "K"}


@settings(max_examples=300)
@given(st.text(alphabet="NM019+-*/%(), \tceildvmnax_.'", max_size=40))
def test_any_text_is_a_number_within_64_bits_or_an_expression_error(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            value = evaluate(text, BIND)
        except ExpressionError:
            return
    assert type(value) is int
    assert abs(value) < 2**63


def test_the_nearest_of_many_names_is_found() -> None:
    bind = {f"{first}{second}_size": 1 for first in "abcdefgh" for second in "ijklmnop"} | {"block_size": 1}
    with pytest.raises(ExpressionError) as caught:
        evaluate("blokc_size", bind)
    assert caught.value.suggest() == "block_size"


def test_names_that_take_long_to_tell_apart_are_compared_for_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two such names take some milliseconds, and a contract may have fifty thousand times a hundred of them."""
    compared: list[str] = []
    monkeypatch.setattr(SequenceMatcher, "ratio", lambda self: compared.append(self.a) or 0.0)
    cases = [{"name": f"c{case}", "bind": {f"{LONG}{case}_{other}": 1 for other in range(40)}} for case in range(8)]
    found = problems(with_args(*(tensor(f"x{n}", [f"{LONG[::-1]}{n}"]) for n in range(150)), cases=cases))
    assert "is not bound" in found[0].message
    assert 0 < len(compared) <= 2 * 100 * 8


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("N", None),
        ("_n2", None),
        ("n" * MAX_CHARACTERS, None),
        ("n" * (MAX_CHARACTERS + 1), "made of letters"),
        ("", "made of letters"),
        ("2n", "made of letters"),
        ("N M", "made of letters"),
        ("N\n", "made of letters"),
        ("max", "meaning of its own"),
        ("lambda", "meaning of its own"),
        ("Infinity", "meaning of its own"),
        ("nan", "meaning of its own"),
    ],
)
def test_a_symbol_is_a_name_that_means_nothing_else(name: str, why: str | None) -> None:
    reason = reserved_name(name)
    assert reason is None if why is None else why in str(reason)


def test_an_expression_may_have_as_many_characters_as_are_told() -> None:
    longest = "N" + " " * (MAX_CHARACTERS - 1)
    assert evaluate(longest, BIND) == BIND["N"]
    with pytest.raises(ExpressionError, match=f"at most {MAX_CHARACTERS} characters"):
        evaluate(longest + " ", BIND)


@pytest.mark.parametrize("text", ["1 + pow(2, 3)", "pow(2, 3) + 1", "max(1, pow(2, 3))", "-pow(2, 3)", "1 + max()"])
def test_every_part_of_an_expression_is_looked_at(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"there is no function|needs at least one number"):
        names_in(text)


def test_both_sides_of_an_operator_may_be_nested_as_deep_as_is_told() -> None:
    assert evaluate("-" * MAX_DEPTH + "1", {}) == (-1) ** MAX_DEPTH
    left, right = "(1 + " * MAX_DEPTH + "1" + ")" * MAX_DEPTH, "1" + " + 1" * MAX_DEPTH
    for text in (left, right):
        assert evaluate(text, {}) == MAX_DEPTH + 1
        with pytest.raises(ExpressionError, match=f"more than {MAX_DEPTH} deep"):
            evaluate(f"(1 + {text})" if text is left else f"{text} + 1", {})
