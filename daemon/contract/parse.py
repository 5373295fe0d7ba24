"""From the bytes of `contract.json` to a checked request, or to the list of everything that is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from pydantic import JsonValue

from daemon.config import Limits
from daemon.contract import readings
from daemon.contract.cases import check_cases, read_cases
from daemon.contract.document import CONTRACT_FILE, read_document
from daemon.contract.kernel_types import KernelTypeSpec
from daemon.contract.kernels import KernelDraft, KernelReader, without_nulls
from daemon.contract.problems import ProblemLog, child, meant_key, nearest, read_model, shown
from daemon.contract.request import LEGACY_TIMEOUT_S, CaseSpec, CompareRequest, EvaluateRequest, RequestFields
from daemon.contract.sources import source_digest
from daemon.contract.tensors import MAX_ARGS
from daemon.contract.work import Work, read_work
from daemon.errors import Problem

_FORMS = {
    "evaluate": ("kernel",),
    "compare": ("ref_kernel", "custom_kernel"),
    "legacy": ("ref_code", "custom_code"),
}
_LEGACY_TYPES = {"ref_code": "torch", "custom_code": "torch_cuda"}
_KERNEL_KEYS = tuple(key for keys in _FORMS.values() for key in keys)
_KNOWN_KEYS = (*RequestFields.model_fields, *_KERNEL_KEYS)
_MAX_NOTES = 100


@dataclass(frozen=True)
class ParsedContract:
    """A contract without problems.

    `warnings` are probable mistakes that change nothing; `notes` are the top-level keys evald does not know, as given.
    `contract_sha256` is over the document's bytes, `source_sha256` over the kernels alone (see `source_digest`).
    """

    request: EvaluateRequest | CompareRequest
    warnings: tuple[Problem, ...]
    notes: dict[str, JsonValue]
    contract_sha256: str
    source_sha256: str


def parse_contract(
    document: bytes,
    files: Mapping[str, bytes],
    *,
    types: Mapping[str, KernelTypeSpec],
    limits: Limits,
    contract_file: str = CONTRACT_FILE,
) -> ParsedContract:
    """Read and check one contract. Executes nothing; of `files` only the sources it names are read.

    Raises `BundleError` with every problem found, for any bytes whatever that are not a usable contract.
    """
    log = ProblemLog(contract_file)
    raw = read_document(document, limits.contract_bytes, log)
    if raw is None:
        log.raise_if_any()
        raise AssertionError("a document that cannot be read has a problem noted")
    request, notes = _read_request(raw, KernelReader(files, types, limits, log))
    log.raise_if_any()
    if request is None:
        raise AssertionError("a contract without problems is a request")
    return ParsedContract(
        request=request,
        warnings=tuple(log.warnings),
        notes=notes,
        contract_sha256=hashlib.sha256(document).hexdigest(),
        source_sha256=source_digest((request.candidate, request.reference)),
    )


def _read_request(
    raw: dict[str, JsonValue], reader: KernelReader
) -> tuple[EvaluateRequest | CompareRequest | None, dict[str, JsonValue]]:
    log = reader.log
    form = _form_of(raw, log)
    notes = _read_notes(raw, log)
    shared = _read_shared(raw, form, log)
    cases = read_cases(raw.get("cases"), reader.limits, log)
    work = read_work(raw.get("work"), log)
    drafts = _read_kernels(raw, form, reader)
    _check_static_args(raw.get("static_args"), drafts, log)
    _check_imports(drafts, reader)
    check_cases(drafts, work, cases, reader.limits, log)
    if log.problems or shared is None:
        return None, notes
    return _assembled(form, shared, work, tuple(cases), drafts), notes


def _form_of(raw: Mapping[str, JsonValue], log: ProblemLog) -> str | None:
    """Which of the three forms this is; None, with the problem noted, when it is none or several."""
    present = [key for key in _KERNEL_KEYS if raw.get(key) is not None]
    forms = [form for form, keys in _FORMS.items() if any(key in present for key in keys)]
    if not forms and isinstance(raw.get("cells"), list) and "nbformat" in raw:
        log.add("", "is a Jupyter notebook, and no contract: put its code into a .py file, and name that in a contract")
        return None
    if not forms:
        suggestions = (meant_key(key, _KERNEL_KEYS) for key in list(raw)[:_MAX_NOTES])
        log.add(
            "",
            "holds no kernel: give kernel (evaluate), ref_kernel and custom_kernel (compare), "
            "or ref_code and custom_code",
            next((key for key in suggestions if key), None),
        )
        return None
    if len(forms) > 1:
        log.add("", f"is several forms at once ({', '.join(present)}): keep the keys of one")
        return None
    for key in _FORMS[forms[0]]:
        if key not in present:
            _require(key, present[0], raw, log)
    return forms[0]


def _require(key: str, beside: str, raw: Mapping[str, JsonValue], log: ProblemLog) -> None:
    """Note that `key` is missing. The problem is noted at what was written in its place, if that can be told."""
    unknown = (other for other in list(raw)[:_MAX_NOTES] if other not in _KNOWN_KEYS)
    meaning_it = [other for other in unknown if meant_key(other, _KNOWN_KEYS) == key]
    misspelt = nearest(key, meaning_it) or next(iter(meaning_it), None)
    if misspelt is None:
        log.add(key, f"is required beside {beside}")
    else:
        log.add(child("", misspelt), f"is not a known key, and {key} is required beside {beside}", key)


def _read_notes(raw: Mapping[str, JsonValue], log: ProblemLog) -> dict[str, JsonValue]:
    notes = {key: value for key, value in raw.items() if key not in _KNOWN_KEYS}
    if len(notes) > _MAX_NOTES:
        log.add("", f"has {len(notes)} keys that evald does not know; at most {_MAX_NOTES} are kept as notes")
        return {}
    for key in notes:
        meant = meant_key(key, _KNOWN_KEYS, RequestFields)
        log.caution(child("", key), "is not a known key: kept as a note, it changes nothing", meant)
    return notes


def _read_shared(raw: Mapping[str, JsonValue], form: str | None, log: ProblemLog) -> RequestFields | None:
    """The fields beside the kernels, without those that cases are bound to or that name them."""
    given = {key: raw[key] for key in RequestFields.model_fields if key in raw and key not in ("cases", "work")}
    given = without_nulls(given)
    if form == "legacy":
        given.setdefault("timeout", LEGACY_TIMEOUT_S)
    return read_model(RequestFields, given, "", log)


def _read_kernels(raw: Mapping[str, JsonValue], form: str | None, reader: KernelReader) -> dict[str, KernelDraft]:
    """Every kernel that is there, by its key. Even if the form is unclear, because the problems of a kernel are worth
    knowing."""
    drafts: dict[str, KernelDraft] = {}
    for key in _KERNEL_KEYS if form is None else _FORMS[form]:
        value = raw.get(key)
        if value is None:
            continue
        kernel_type = _LEGACY_TYPES.get(key)
        draft = reader.legacy(value, kernel_type, key) if kernel_type else reader.read(value, key)
        if draft is not None:
            drafts[key] = draft
    return drafts


def _check_static_args(static_args: JsonValue, drafts: Mapping[str, KernelDraft], log: ProblemLog) -> None:
    if not isinstance(static_args, list) or not static_args:
        return
    ios = [draft.io for draft in drafts.values() if draft.io is not None]
    if not ios:
        log.caution("static_args", "cannot be checked: no kernel names its arguments with io")
        return
    names = {name for io in ios for name in io.names}
    roles = {arg.name: arg.role for io in ios for arg in io.args.values()}
    for index, name in enumerate(static_args[:MAX_ARGS]):
        if not isinstance(name, str):
            continue
        field = child("static_args", index)
        if name not in names:
            listed = ", ".join(sorted(names)[:20])
            log.add(field, f"{shown(name)} is not an argument (arguments: {listed})", partial(nearest, name, names))
        elif roles.get(name, "input") != "input":
            log.add(field, f"{shown(name)} is {roles[name]}; only an input can stay the same")


def _check_imports(drafts: Mapping[str, KernelDraft], reader: KernelReader) -> None:
    """Warn of a kernel that imports the other one's source, which its cell does not have."""
    for draft in drafts.values():
        for other in drafts.values():
            source = PurePosixPath(other.source_file or "")
            if draft.source_file == other.source_file or source.suffix != ".py":
                continue
            if readings.imports(draft.source, source.stem) and not _is_also(source, reader.files):
                message = f"imports {source.stem}, but does not get to see {source}, the source of {other.path}"
                reader.log.caution(draft.path, f"{message}: what both need belongs into a third file")


def _is_also(source: PurePosixPath, files: Iterable[str]) -> bool:
    """Whether another file or folder of the bundle would be imported under the same name as `source`."""
    others = (PurePosixPath(file) for file in files)
    return any(source.stem in (other.stem, *other.parts) for other in others if other != source)


def _assembled(
    form: str | None,
    shared: RequestFields,
    work: Work | None,
    cases: tuple[CaseSpec, ...],
    drafts: Mapping[str, KernelDraft],
) -> EvaluateRequest | CompareRequest | None:
    if form is None:
        return None
    fields = {**dict(shared), "work": work, "cases": cases}
    kernels = [drafts[key].spec() for key in _FORMS[form]]
    if form == "evaluate":
        return EvaluateRequest(**fields, kernel=kernels[0])
    return CompareRequest(**fields, ref_kernel=kernels[0], custom_kernel=kernels[1])
