"""Reading one kernel object: as much of it as can be understood, every problem noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from daemon.config import Limits
from daemon.contract import readings
from daemon.contract.kernel_types import KernelTypeSpec
from daemon.contract.problems import ProblemLog, child, nearest, not_text, read_model, shown, without_unknown_keys
from daemon.contract.request import KernelMetadata, KernelSpec
from daemon.contract.rules import MAX_WRITTEN, MAX_WRITTEN_CHARACTERS, checked_arg, written_expressions
from daemon.contract.sources import file_source, inline_source
from daemon.contract.tensors import MAX_ARGS, ArgSpec, IOContract, LaunchSpec
from daemon.contract.wire import KernelDocument

_MAX_UNKNOWN = 100
_TYPES_MEANT = {
    "torch": ("pytorch", "python", "py", "eager", "module", "nn", "nn.module"),
    "torch_cuda": (
        "cuda_inline",
        "inline",
        "load_inline",
        "cpp",
        "c++",
        "cpp_extension",
        "cuda_extension",
        "extension",
    ),
    "triton": ("tl", "triton_kernel"),
    "cuda": ("cu", "nvcc", "nvrtc", "cuda_c", "raw_cuda"),
}
JsonObject = dict[str, JsonValue]


@dataclass
class IODraft:
    """The arguments that could be read, with their places in the list, and every name that was given."""

    args: dict[int, ArgSpec] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    launch: LaunchSpec | None = None
    complete: bool = True


@dataclass
class KernelDraft:
    """What is known of one kernel while problems are still being looked for. `path` is its field in the contract."""

    path: str
    kernel_type: str = ""
    source: str = ""
    source_file: str | None = None
    io: IODraft | None = None
    metadata: KernelMetadata = field(default_factory=KernelMetadata)

    def spec(self) -> KernelSpec:
        """The finished kernel, for a draft without problems."""
        io = None
        if self.io is not None:
            io = IOContract(args=tuple(self.io.args.values()), launch=self.io.launch)
        return KernelSpec(
            kernel_type=self.kernel_type,
            source=self.source,
            source_file=self.source_file,
            io=io,
            metadata=self.metadata,
        )


@dataclass(frozen=True)
class KernelReader:
    """What all kernels of one contract are read against."""

    files: Mapping[str, bytes]
    types: Mapping[str, KernelTypeSpec]
    limits: Limits
    log: ProblemLog

    def read(self, raw: JsonValue, path: str) -> KernelDraft | None:
        """The kernel object `raw`, or None where it is no object at all."""
        if not isinstance(raw, dict):
            self.log.add(path, f"must be an object of kernel_type and source_code or source_file, got {shown(raw)}")
            return None
        raw = without_nulls(raw)
        read_model(KernelDocument, _without(raw, "io", "metadata"), path, self.log)
        kernel_type = _text(raw, "kernel_type")
        draft = KernelDraft(path, kernel_type or "")
        self._resolve_source(raw, draft)
        spec = None if kernel_type is None else self._type_of(draft)
        if "io" in raw:
            draft.io = self._read_io(raw["io"], child(path, "io"))
        if spec is not None:
            draft.metadata = self._read_metadata(raw.get("metadata", {}), spec, child(path, "metadata"))
            self._check_io(spec, draft)
            self._check_extension(draft)
        return draft

    def legacy(self, source: JsonValue, kernel_type: str, path: str) -> KernelDraft | None:
        """The kernel that a legacy body's text stands for."""
        if not isinstance(source, str):
            self.log.add(path, "is required" if source is None else not_text(source))
            return None
        draft = KernelDraft(
            path, kernel_type, inline_source(source, self.files, self.limits.source_bytes, path, self.log)
        )
        self._type_of(draft)
        return draft

    def _type_of(self, draft: KernelDraft) -> KernelTypeSpec | None:
        spec = self.types.get(draft.kernel_type)
        if spec is None:
            known = ", ".join(self.types)
            self.log.add(
                child(draft.path, "kernel_type"),
                f"{shown(draft.kernel_type)} is not a kernel type (known: {known})",
                self._type_meant(draft.kernel_type),
            )
        return spec

    def _type_meant(self, written: str) -> str | None:
        known = next((name for name, nicknames in _TYPES_MEANT.items() if written.lower() in nicknames), None)
        return known if known in self.types else nearest(written, self.types)

    def _resolve_source(self, raw: JsonObject, draft: KernelDraft) -> None:
        if ("source_code" in raw) == ("source_file" in raw):
            given = "both are" if "source_code" in raw else "neither is"
            self.log.add(draft.path, f"give exactly one of source_code and source_file, {given} given")
        source_code, source_file = _text(raw, "source_code"), _text(raw, "source_file")
        if source_code is not None:
            where = child(draft.path, "source_code")
            draft.source = inline_source(source_code, self.files, self.limits.source_bytes, where, self.log)
        if source_file is not None:
            where = child(draft.path, "source_file")
            found = file_source(source_file, self.files, self.limits.source_bytes, where, self.log)
            if found is not None:
                draft.source_file, draft.source = found

    def _read_io(self, raw: JsonValue, path: str) -> IODraft:
        draft = IODraft()
        problems_before = len(self.log.problems)
        if isinstance(raw, dict) and isinstance(raw.get("args"), list):
            head = read_model(IOContract, {**_without(raw, "launch"), "args": []}, path, self.log)
            self._read_args(raw["args"], child(path, "args"), draft)
            if "launch" in raw:
                draft.launch = read_model(LaunchSpec, raw["launch"], child(path, "launch"), self.log)
            draft.complete = head is not None and len(self.log.problems) == problems_before
        elif isinstance(raw, list):
            self.log.add(path, f"must be an object of args and launch, got a list: that of its args, {shown(raw)}?")
            draft.complete = False
        else:
            read_model(IOContract, raw, path, self.log)
            draft.complete = False
        return draft

    def _read_args(self, raw: JsonValue, path: str, draft: IODraft) -> None:
        if not isinstance(raw, list):
            return
        if len(raw) > MAX_ARGS:
            self.log.add(path, f"may have at most {MAX_ARGS} entries, this has {len(raw)}")
            return
        texts = [text for item in raw for text in written_expressions(item)]
        if len(texts) > MAX_WRITTEN:
            self.log.add(path, f"has {len(texts)} expressions, {MAX_WRITTEN} are allowed")
            return
        if (count := sum(map(len, texts))) > MAX_WRITTEN_CHARACTERS:
            self.log.add(path, f"the expressions have {count} characters in all, {MAX_WRITTEN_CHARACTERS} are allowed")
            return
        for index, item in enumerate(raw):
            where = child(path, index)
            name = item.get("name") if isinstance(item, dict) else None
            if isinstance(name, str):
                if name in draft.names:
                    self.log.add(child(where, "name"), f"{shown(name)} is the name of an earlier argument")
                draft.names.append(name)
            arg = read_model(ArgSpec, item, where, self.log) or without_unknown_keys(ArgSpec, item)
            if arg is not None:
                draft.args[index] = checked_arg(arg, where, self.log)

    def _check_io(self, spec: KernelTypeSpec, draft: KernelDraft) -> None:
        where = child(draft.path, "io")
        if draft.io is None:
            if spec.io_required:
                self.log.add(where, f"is required for kernel_type {spec.name}: its args in call order{_or_else(draft)}")
            return
        for index, arg in draft.io.args.items():
            if arg.tensor_spec is not None and arg.tensor_spec.dtype in spec.lacks_dtypes:
                place = child(child(child(where, "args"), index), "tensor_spec")
                message = f"a {spec.name} kernel takes no {arg.tensor_spec.dtype}"
                self.log.add(child(place, "dtype"), message)
        outputs = any(arg.is_tensor and arg.is_output for arg in draft.io.args.values())
        if spec.writes_outputs and draft.io.complete and not outputs:
            message = f"a {spec.name} kernel answers through its arguments: give one tensor the role output or inout"
            self.log.add(child(where, "args"), message)

    def _check_extension(self, draft: KernelDraft) -> None:
        """Warn of a module that compiles where nobody expects a compiler."""
        is_torch = draft.kernel_type == "torch" and "torch_cuda" in self.types
        if is_torch and readings.compiles_extension(draft.source):
            message = (
                "compiles an extension within its timeout, while a device waits for it; torch_cuda compiles it before"
            )
            self.log.caution(child(draft.path, "kernel_type"), message, "torch_cuda")

    def _read_metadata(self, raw: JsonValue, spec: KernelTypeSpec, path: str) -> KernelMetadata:
        if not isinstance(raw, dict):
            self.log.add(path, f"must be an object, got {shown(raw)}")
            return KernelMetadata()
        values = self._canonical(raw, spec, path)
        for key in spec.metadata_required:
            if key not in values:
                self.log.add(child(path, key), f"is required for kernel_type {spec.name}")
        own = KernelMetadata.model_fields.keys() - {"extra"}
        standard = {key: value for key, value in values.items() if key in own}
        extra = {key: value for key, value in values.items() if key not in own}
        metadata = read_model(KernelMetadata, {**standard, "extra": extra}, path, self.log)
        if metadata is None:
            return KernelMetadata()
        self._check_python_names(metadata, spec, path)
        return metadata

    def _canonical(self, raw: JsonObject, spec: KernelTypeSpec, path: str) -> JsonObject:
        """`raw` under the type's own key names, without the keys that mean nothing to it (warned about)."""
        known = (*spec.metadata_keys, *spec.metadata_aliases)
        values: JsonObject = {}
        unknown = 0
        for key, value in raw.items():
            name = spec.metadata_aliases.get(key, key)
            if name not in spec.metadata_keys:
                unknown += 1
                if unknown <= _MAX_UNKNOWN:
                    listed = ", ".join(spec.metadata_keys) or "none"
                    message = f"is ignored: it means nothing to kernel_type {spec.name} (known: {listed})"
                    self.log.caution(child(path, key), message, nearest(key, known))
            elif name in values:
                self.log.add(child(path, key), f"the same as {name} under another name: give one of them")
            else:
                values[name] = value
        return values

    def _check_python_names(self, metadata: KernelMetadata, spec: KernelTypeSpec, path: str) -> None:
        if not spec.is_python:
            return
        for key in ("function_name", "class_name", "method_name", "kernel_name", "entry_point"):
            name: str | None = getattr(metadata, key)
            if name is not None and not all(part.isidentifier() for part in name.split(".")):
                self.log.add(child(path, key), f"{shown(name)} is not a Python name")
        if metadata.function_name and (metadata.class_name or metadata.method_name):
            self.log.caution(path, "function_name is used; class_name and method_name are ignored")


def _or_else(draft: KernelDraft) -> str:
    """What to write instead, for a module that launches its kernels itself."""
    if not readings.defines_model(draft.source):
        return ""
    return '; ModelNew, which launches its kernels itself, is of kernel_type "torch"'


def without_nulls(raw: JsonObject) -> JsonObject:
    """`raw` without the keys whose value is null, in every object inside it: null means not given."""
    return {key: _pruned(value) for key, value in raw.items() if value is not None}


def _text(raw: JsonObject, key: str) -> str | None:
    value = raw.get(key)
    return value if isinstance(value, str) else None


def _pruned(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return without_nulls(value)
    return [_pruned(item) for item in value] if isinstance(value, list) else value


def _without(raw: JsonObject, *keys: str) -> JsonObject:
    return {key: value for key, value in raw.items() if key not in keys}
