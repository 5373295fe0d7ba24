"""Cases: reading them, and trying every one of them on every kernel before anything is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import JsonValue

from daemon.config import Limits
from daemon.contract import readings
from daemon.contract.binding import Binder, bind_arg, bind_launch, bind_work
from daemon.contract.expressions import MAX_MAGNITUDE
from daemon.contract.kernels import KernelDraft, without_nulls
from daemon.contract.payload import PayloadError, check_payload
from daemon.contract.problems import MAX_PROBLEMS, ProblemLog, child, nearest, read_model, shown
from daemon.contract.request import CaseSpec
from daemon.contract.rules import MAX_EVALUATED_CHARACTERS, MAX_EVALUATIONS, expressions, symbols
from daemon.contract.tensors import ArgSpec, tensor_bytes
from daemon.contract.work import Work
from daemon.errors import Problem

IMPLICIT_CASE = CaseSpec(name="default")
_MAX_CASES_NAMED = 4
_MAX_MEANT = 200  # characters of a list of cases that is suggested
_TUNED = "; no grid of a contract follows what @triton.autotune picks: let a function of kernel_type torch launch it"


@dataclass(frozen=True)
class _Settled:
    """What holds for an argument in every case: its bytes, if it is a tensor, and what is wrong with it."""

    size: int | None
    problems: tuple[Problem, ...]


def read_cases(raw: JsonValue, limits: Limits, log: ProblemLog) -> list[CaseSpec]:
    """The cases that could be read; the implicit one where none is given."""
    if raw is None or raw == []:
        return [IMPLICIT_CASE]
    if not isinstance(raw, list):
        log.add("cases", f"must be a list of objects of name and bind, got {shown(raw)}", partial(_as_list, raw))
        return []
    if len(raw) > limits.cases:
        log.add("cases", f"there are {len(raw)} cases, the limit is {limits.cases}")
        return []
    cases: list[CaseSpec] = []
    for index, item in enumerate(raw):
        path = child("cases", index)
        case = read_model(CaseSpec, without_nulls(item) if isinstance(item, dict) else item, path, log)
        if case is None:
            continue
        if any(case.name == earlier.name for earlier in cases):
            log.add(f"{path}.name", f"{shown(case.name)} is the name of an earlier case")
        cases.append(case)
    return cases


def _as_list(raw: JsonValue) -> str | None:
    """Cases that were given by their names, as the list that was meant, in JSON; if that is short."""
    if not isinstance(raw, dict) or not all(isinstance(bind, dict) for bind in raw.values()):
        return None
    meant = json.dumps([{"name": name, "bind": bind} for name, bind in raw.items()])
    return meant if len(meant) <= _MAX_MEANT else None


def check_cases(
    drafts: Mapping[str, KernelDraft], work: Work | None, cases: Sequence[CaseSpec], limits: Limits, log: ProblemLog
) -> None:
    """Bind every case to every kernel and to the declared work. Note what does not work out, each distinct problem
    once."""
    texts = [text for draft in drafts.values() for text in _expressions(draft)]
    texts += work.expressions if work is not None else ()
    if len(texts) * len(cases) > MAX_EVALUATIONS:
        message = f"{len(texts)} expressions times {len(cases)} cases are more than {MAX_EVALUATIONS}"
        log.add("cases", message)
        return
    if (count := sum(map(len, texts))) * len(cases) > MAX_EVALUATED_CHARACTERS:
        message = f"{count} characters of expressions times {len(cases)} cases are more than {MAX_EVALUATED_CHARACTERS}"
        log.add("cases", message)
        return
    _warn_unused(drafts, cases, symbols(texts), log)
    found: dict[Problem, list[str]] = {}
    sizes: dict[str, set[int]] = {}
    settled: dict[str, _Settled] = {}
    for case in cases:
        case_log = ProblemLog(log.file, is_brief=len(found) >= MAX_PROBLEMS)
        binder = Binder(case, case_log, implicit=True)
        for draft in drafts.values():
            _try_case(draft, binder, limits, sizes, settled)
        if work is not None:
            bind_work(work, binder)
        for problem in case_log.problems:
            found.setdefault(problem, []).append(case.name)
    explicit = not (len(cases) == 1 and cases[0] is IMPLICIT_CASE)
    for problem, names in found.items():
        suffix = f" ({_cases_named(names)})" if explicit else ""
        log.add(problem.field + suffix, problem.message, problem.suggestion)
    for draft in drafts.values():
        _check_payloads(draft, sizes, limits, log)


def _cases_named(names: Sequence[str]) -> str:
    rest = len(names) - _MAX_CASES_NAMED
    listed = ", ".join(names[:_MAX_CASES_NAMED]) + (f" and {rest} more" if rest > 0 else "")
    return f"{'case' if len(names) == 1 else 'cases'} {listed}"


def _expressions(draft: KernelDraft) -> Iterator[str]:
    return expressions(draft.io.args.values(), draft.io.launch) if draft.io else iter(())


def _warn_unused(
    drafts: Mapping[str, KernelDraft], cases: Sequence[CaseSpec], used: frozenset[str], log: ProblemLog
) -> None:
    if any(draft.io is not None and not draft.io.complete for draft in drafts.values()):
        return
    for index, case in enumerate(cases):
        for symbol in sorted(case.bind.keys() - used):
            message = f"is bound but no shape, value, launch or work uses {symbol}"
            log.caution(f"cases[{index}].bind.{symbol}", message, partial(nearest, symbol, used))


def _try_case(
    draft: KernelDraft, binder: Binder, limits: Limits, sizes: dict[str, set[int]], settled: dict[str, _Settled]
) -> None:
    """Bind one kernel, and note in `sizes` how many bytes each tensor takes, by its field. `settled`: what the first
    case has told about arguments without a symbol, because to bind them again with each of 64 cases takes seconds."""
    if draft.io is None:
        return
    path = child(draft.path, "io")
    total_bytes = 0
    for index, arg in draft.io.args.items():
        where = f"{path}.args[{index}]"
        if (found := settled.get(where)) is not None:
            size = found.size
            for problem in found.problems:
                binder.complain(problem.field, problem.message, problem.suggestion)
        else:
            before = len(binder.problems)
            size = _tensor_size(bind_arg(arg, binder, where))
            if not any(True for _ in expressions((arg,), None)):
                settled[where] = _Settled(size, tuple(binder.problems[before:]))
        if size is not None:
            sizes.setdefault(where, set()).add(size)
            total_bytes += size
    if draft.io.launch is not None:
        remark = _TUNED if draft.kernel_type == "triton" and readings.is_autotuned(draft.source) else ""
        bind_launch(draft.io.launch, binder, f"{path}.launch", draft.io.args.values(), remark)
    if total_bytes > limits.tensor_bytes:
        binder.complain(f"{path}.args", f"the tensors need {total_bytes} bytes, the limit is {limits.tensor_bytes}")


def _tensor_size(arg: ArgSpec) -> int | None:
    """Bytes of a tensor that is bound completely; None for scalars and for tensors with problems of their own."""
    spec = arg.tensor_spec
    if spec is None or any(not isinstance(extent, int) or extent < 0 for extent in spec.shape):
        return None
    return spec.nbytes if spec.nbytes <= MAX_MAGNITUDE else None


def _check_payloads(draft: KernelDraft, sizes: Mapping[str, set[int]], limits: Limits, log: ProblemLog) -> None:
    """Decode every embedded tensor once and compare its size with what its shape needs."""
    embedded_bytes = 0
    for index, arg in draft.io.args.items() if draft.io else ():
        where = f"{draft.path}.io.args[{index}]"
        spec = arg.tensor_spec
        if spec is None or spec.data is None:
            continue
        needed = sizes.get(where, set())
        if spec.data.shape is not None:
            needed = {tensor_bytes(spec.data.shape, spec.dtype)}
        field = f"{where}.tensor_spec.data"
        if len(needed) > 1:
            log.add(field, "the shape changes between cases, so embedded data cannot fit all of them")
        if len(needed) != 1:
            continue
        expected_bytes = next(iter(needed))
        embedded_bytes += expected_bytes
        if embedded_bytes > limits.decompressed_bytes:
            log.add(field, f"embedded tensors need more than the {limits.decompressed_bytes} bytes allowed")
            return
        try:
            check_payload(spec.data, expected_bytes)
        except PayloadError as error:
            log.add(f"{field}.data_b64", str(error))
