"""Settings: defaults < systemd credential < TOML file < `EVALD_*` environment < flags, each value with its source.

Every field here is read somewhere; `evald config` prints the effective values. A key nobody knows is an error that
names the file and the line.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from daemon.errors import OperatorError
from daemon.paths import Paths

DATABASE_CREDENTIAL = "evald-database-url"
MIB = 1024 * 1024
GIB = 1024 * MIB

_NO_SETTINGS = ("EVALD_CONFIG", "EVALD_URL", "EVALD_TOKEN")  # the last two are for `daemon.client`

LIST_SEPARATORS = {"backend_paths": os.pathsep, "gpus": ","}

_RELATIVE_SQLITE = re.compile(r"(sqlite(?:\+pysqlite)?:///)(?![/?]|:memory:|file:)(.+)")

PositiveInt = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
ToolSeconds = Annotated[float, Field(gt=0, le=600)]  # a judge that is silent for longer counts as hanging


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Section):
    """What a bundle may hold before it is rejected. Sizes in bytes."""

    bundle_bytes: PositiveInt = Field(256 * MIB, description="Largest bundle, as it was dropped, bytes")
    file_count: PositiveInt = Field(1000, description="Most files and folders in a bundle")
    source_bytes: PositiveInt = Field(4 * MIB, description="Largest source file of a kernel, bytes")
    contract_bytes: PositiveInt = Field(64 * MIB, description="Largest contract, bytes")
    decompressed_bytes: PositiveInt = Field(
        1 * GIB, description="Most an archive, or the embedded tensors of a kernel, may unpack to, bytes"
    )
    tensor_bytes: PositiveInt = Field(8 * GIB, description="Most the tensors of one kernel may take in one case, bytes")
    cases: PositiveInt = Field(64, description="Most cases in a contract")


class Sandbox(_Section):
    """What one cell (one kernel under test) may use."""

    memory_bytes: PositiveInt = Field(4 * GIB, description="Memory of a cell, bytes")
    gpu_memory_bytes: PositiveInt = Field(16 * GIB, description="Host memory of a cell that has a GPU, bytes")
    processes: PositiveInt = Field(256, description="Processes and threads of a cell")
    cpu_cores: Annotated[float, Field(gt=0)] | None = Field(None, description="CPU cores of a cell; all when not set")
    open_files: PositiveInt = Field(1024, description="Open files of a process in a cell")
    tmp_bytes: PositiveInt = Field(512 * MIB, description="Size of the private /tmp of a cell, bytes")
    tmp_inodes: PositiveInt = Field(20_000, description="Files in the private /tmp of a cell")
    file_bytes: PositiveInt = Field(512 * MIB, description="Largest single file a cell may write, bytes")
    output_keep_bytes: PositiveInt = Field(
        64 * 1024,
        description="How much of stdout and of stderr is kept, bytes: so much of the beginning, and as much of the end",
    )
    uid_base: PositiveInt = Field(
        61_000, description="First of the 4000 user ids that cells run under when evald runs as root"
    )
    spare_cells: Annotated[int, Field(ge=0, le=2)] = Field(
        2,
        description="Cells of each kind that stand ready for the next case, of each builder one at most; on a GPU each "
        "holds about 0.5 GB of it",
    )


class Deadlines(_Section):
    """Wall-clock limits of the stages the contract's own `timeout` does not cover, seconds."""

    build_s: Seconds = Field(300, description="Compiling one kernel, seconds")
    start_s: Seconds = Field(60, description="Starting a cell, seconds")
    call_s: Seconds = Field(
        10, description="Least that later calls of a kernel on the CPU may take, however fast the first were, seconds"
    )
    gpu_call_s: Seconds = Field(
        2, description="The same on a GPU, counted for the first call from when all of it is launched, seconds"
    )
    metrics_s: ToolSeconds = Field(180, description="Counting one kernel under ncu, when all else is done, seconds")
    check_s: ToolSeconds = Field(300, description="One check of compute-sanitizer, when all else is done, seconds")
    stop_s: Seconds = Field(5, description="Waiting for running jobs when the daemon stops, seconds")


class TimingDefaults(_Section):
    """When to stop measuring and how much memory to measure in, unless the contract says otherwise."""

    max_s: Seconds = Field(
        2.0, description="Stop measuring one case after so many seconds, unless the contract says otherwise"
    )
    target_rse: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.003, description="Stop measuring at this relative standard error, unless the contract says otherwise"
    )
    min_rounds: Annotated[int, Field(ge=5)] = Field(
        7,
        description="Rounds timed before precision may end measuring; max_s ends it sooner, but not before 5, and a "
        "contract's timeout with fewer still",
    )
    max_calls: Annotated[int, Field(ge=1, le=16384)] = Field(4096, description="Most calls in one round")
    arena_bytes: PositiveInt = Field(
        128 * MIB, description="Memory to measure in, bytes: many copies of the inputs, so that caches do not help"
    )
    gpu_arena_bytes: PositiveInt = Field(
        16 * GIB, description="The same on a GPU, bytes; never more than a twelfth of its memory"
    )


class Http(_Section):
    """What `evald serve` listens on, and how much it takes from whom."""

    host: str = Field("127.0.0.1", description="Address to listen on; beyond loopback every caller needs a token")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8720, description="Port to listen on; 0: any that is free")
    tokens_file: Path | None = Field(
        None, description="File of the tokens, as `evald token` writes it; state/tokens when not set"
    )
    body_bytes: PositiveInt = Field(64 * MIB, description="Largest request body, bytes")
    bodies_bytes: PositiveInt = Field(
        512 * MIB, description="Most that request bodies may take together while they arrive, bytes"
    )
    body_s: Seconds = Field(30, description="How long a request body may take to arrive, seconds")
    wait_margin_s: Seconds = Field(
        60, description="How much longer than the contract's timeout a blocking request waits for its result, seconds"
    )
    requests_per_s: Annotated[float, Field(gt=0)] = Field(100, description="Requests one caller may make a second")
    burst: PositiveInt = Field(500, description="Requests one caller may make at once")
    jobs_per_token: PositiveInt = Field(10_000, description="Unfinished jobs one caller may have")
    streams: PositiveInt = Field(500, description="Requests that may wait for jobs at the same time")
    streams_per_token: PositiveInt = Field(250, description="How many of these may be of one caller with a token")


class Settings(_Section):
    """Everything that can be set, with its default."""

    home: Path = Field(Path("evald-home"), description="Folder that holds inbox/, results/ and state/")
    inbox: Path | None = Field(None, description="Inbox; work/, archive/, rejected/ and quarantine/ lie beside it")
    results: Path | None = Field(None, description="Folder of the result files")
    state: Path | None = Field(None, description="Folder of database, cache and private copies, on a local disk")
    database: str | None = Field(
        None, description="SQLite or Postgres URL; a SQLite file in the state folder when not set"
    )
    database_file: Path | None = Field(
        None, description="File that holds the database URL, instead of `database`: keeps a password out of sight"
    )
    metrics_file: Path | None = Field(None, description="File to keep current with figures for Prometheus")
    isolation: Literal["bubblewrap", "none"] = Field(
        "bubblewrap", description="How bundles are confined; none is only for debugging your own code"
    )
    engine: Literal["local", "rehearsal"] = Field(
        "local", description="rehearsal runs nothing: for trying out a deployment"
    )
    rehearsal_s: Seconds = Field(0.1, description="How long a rehearsed job takes, seconds")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="What kernels are judged on; auto: on GPUs where there are any, else on the CPU"
    )
    gpus: tuple[str, ...] = Field(
        (),
        description="GPUs to judge on, by index or by the beginning of their UUID; all when not set; an error where "
        "there is none, or beside device = cpu",
    )
    slots: Annotated[int, Field(ge=1, le=160)] = Field(  # each has user ids of its own (`sandbox/policy.py`)
        1, description="How many jobs are judged on the CPU at the same time; of GPUs, each judges one"
    )
    ahead: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None,
        description="Jobs compiled and made ready while others have the devices; when not set, 2 per GPU, 0 on the CPU",
    )
    backend_paths: tuple[Path, ...] = Field((), description="Folders with further kernel types")
    control_interval_s: Annotated[float, Field(ge=0)] = Field(
        3600, description="How often the control kernel is timed on each device, seconds; 0: never"
    )
    control_tolerance: Annotated[float, Field(gt=0)] = Field(
        0.02,
        description="How far the control may lie from its baseline, beyond what its rounds scatter by; "
        "on a CPU at least 0.25",
    )
    metrics: Literal["asked", "always", "never"] = Field(
        "asked",
        description="Whether hardware counters are taken: for contracts that ask, for every one that passes, or never",
    )
    submitter_quota: PositiveInt | None = Field(
        None,
        description="How many bundles of one submitter may be claimed and not finished; the rest wait in the inbox",
    )
    results_for: Literal["everybody", "submitter"] = Field(
        "everybody", description="Who may read a result file; submitter: whose bundle it was, and the daemon's group"
    )
    claim_ahead: PositiveInt = Field(64, description="How many bundles may be claimed before they can be judged")
    scan_interval_s: Seconds = Field(1.0, description="Pause between two scans of the inbox, seconds")
    quiet_s: Seconds = Field(2.0, description="An entry that does not change for so long is taken, seconds")
    torn_after_s: Seconds = Field(
        3600, description="An incomplete entry that does not change for so long is quarantined, seconds"
    )
    polling: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether to rely on scans alone; auto: on network file systems"
    )
    lease_s: Seconds = Field(60, description="How long a job stays with a daemon that gives no sign of life, seconds")
    reconcile_s: Seconds = Field(30, description="Pause between two repairs of what dead daemons left, seconds")
    min_free_bytes: PositiveInt = Field(
        256 * MIB,
        description="Free space below which no new bundle is claimed, bytes; nor is one where a disk has room for less "
        "than 1000 files or is read-only",
    )
    max_attempts: PositiveInt = Field(3, description="How often evald tries a job when evald itself fails")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Which story lines are written")
    limits: Limits = Limits()
    sandbox: Sandbox = Sandbox()
    deadlines: Deadlines = Deadlines()
    timing: TimingDefaults = TimingDefaults()
    http: Http = Http()

    @property
    def paths(self) -> Paths:
        """The folders these settings name, absolute."""
        home = self.home.expanduser().absolute()

        def place(given: Path | None, name: str) -> Path:
            return (home / given.expanduser()).absolute() if given else home / name

        return Paths(home, place(self.inbox, "inbox"), place(self.results, "results"), place(self.state, "state"))

    @property
    def database_url(self) -> str:
        """With the path of a SQLite file absolute. Raises `OperatorError` when `database_file` holds no URL."""
        if self.database is None and self.database_file is not None:
            url = _url_in(self.database_file)
        else:
            url = self.database or self.paths.default_database_url
        relative = _RELATIVE_SQLITE.fullmatch(url)
        return f"{relative[1]}{self.paths.home / relative[2]}" if relative else url


@dataclass(frozen=True)
class LoadedSettings:
    """Settings together with where each dotted key (`limits.bundle_bytes`) came from: default, file:line, variable or
    flag.
    """

    settings: Settings
    sources: Mapping[str, str]


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Merge the layers.

    `flags` maps dotted keys to values; None values count as not given. `options` says which option gave a key, where
    that is not `--key`: it is what a message names. `config_file` defaults to `EVALD_CONFIG`, then
    `<home>/evald.toml` if it exists. A path that a setting holds is then absolute or, like the folders of `paths`,
    relative to the home. Raises `OperatorError` naming the place of anything unknown or malformed.
    """
    environ = os.environ if environ is None else environ
    options = options or {}
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    values: dict[str, Any] = {}
    sources = dict.fromkeys(_dotted_keys(), "default")
    layers: tuple[dict[str, tuple[Any, str]], ...] = (
        _credential_layer(environ),
        _file_layer(_config_path(given, config_file, environ)),
        _environment_layer(environ),
        {key: (value, f"flag {options.get(key) or '--' + key.replace('_', '-')}") for key, value in given.items()},
    )
    for layer in layers:
        for key in _replaced_by(layer):
            values.pop(key, None)
            sources[key] = "default"
        for key, (value, source) in layer.items():
            _assign(values, key, value)
            sources[key] = source
    settings = _placed(_validate(values, sources))
    _require_apart(settings.paths, sources)
    return LoadedSettings(settings, sources)


def _replaced_by(layer: Mapping[str, tuple[Any, str]]) -> Iterator[str]:
    """What earlier layers said in another way. Raises `OperatorError` for a layer that does so itself."""
    ways = [key for key in ("database", "database_file") if key in layer]
    if len(ways) > 1:
        places = " and ".join(layer[key][1] for key in ways)
        raise OperatorError(f"{' and '.join(ways)} both say which database ({places})", hint="leave one of them out")
    if ways:
        yield from ("database", "database_file")


def _require_apart(paths: Paths, sources: Mapping[str, str]) -> None:
    """Raises `OperatorError` where evald would take its own results, or its state, for bundles."""
    for key, folder in (("results", paths.results), ("state", paths.state)):
        holding = next((place for place in paths.spool if folder.is_relative_to(place)), None)
        if holding is not None:
            raise OperatorError(
                f"{sources[key]}: {key} {folder} lies in {holding}, where bundles do",
                hint=f"put {key} beside the inbox, as in {paths.home / key}",
            )
    if paths.inbox.is_relative_to(paths.results):
        raise OperatorError(
            f"{sources['inbox']}: inbox {paths.inbox} lies in the results, {paths.results}",
            hint=f"put it beside them, as in {paths.home / 'inbox'}",
        )


def _placed(settings: Settings) -> Settings:
    """The same with every path that is used as it stands made absolute: the current folder means nothing to a path."""
    home = settings.paths.home

    def place(given: Path | None) -> Path | None:
        return home / given.expanduser() if given is not None else None

    return settings.model_copy(
        update={
            "database_file": place(settings.database_file),
            "metrics_file": place(settings.metrics_file),
            "backend_paths": tuple(place(folder) for folder in settings.backend_paths),
            "http": settings.http.model_copy(update={"tokens_file": place(settings.http.tokens_file)}),
        }
    )


def _config_path(flags: Mapping[str, Any], explicit: Path | None, environ: Mapping[str, str]) -> Path | None:
    named = explicit or (Path(environ["EVALD_CONFIG"]) if environ.get("EVALD_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise OperatorError(f"no settings file at {named}", hint="check --config or EVALD_CONFIG")
        return named
    home = Path(flags.get("home") or environ.get("EVALD_HOME") or Settings().home)
    candidate = home.expanduser() / "evald.toml"
    if candidate.is_dir():  # what docker makes of a file to mount that is not there
        raise OperatorError(f"{candidate} is a folder, not a settings file", hint="remove it, or put the file there")
    return candidate if candidate.is_file() else None


def _credential_layer(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """What systemd's `LoadCredential=` laid down for us, if it did."""
    path = Path(environ.get("CREDENTIALS_DIRECTORY") or "/nonexistent", DATABASE_CREDENTIAL)
    return {"database_file": (path, f"credential {DATABASE_CREDENTIAL}")} if path.is_file() else {}


def _url_in(path: Path) -> str:
    try:
        lines = path.expanduser().read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise OperatorError(f"cannot read database_file {path}: {reason}", hint="check its place and mode") from error
    if len(lines) != 1:
        raise OperatorError(
            f"database_file {path} holds {len(lines)} words, not one URL",
            hint="one line: postgresql://user:password@host/name",
        )
    return lines[0]


def known_key(key: str) -> str:
    """`key` when it is the dotted key of a setting. Raises `OperatorError` with the nearest one."""
    known = set(_dotted_keys())
    if key not in known:
        raise OperatorError(f"unknown setting {key!r}", hint=_nearest_hint(key, known))
    return key


def describe() -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key with its field: default, annotation, description."""
    for key in _dotted_keys():
        section, _, name = key.rpartition(".")
        model = type(Settings.model_fields[section].default) if section else Settings
        yield key, model.model_fields[name]


def _dotted_keys() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, _Section):
            yield from (f"{name}.{inner}" for inner in annotation.model_fields)
        else:
            yield name


def _file_layer(path: Path | None) -> dict[str, tuple[Any, str]]:
    if path is None:
        return {}
    try:
        text = path.read_text("utf-8-sig")  # some editors put a byte order mark in front
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise OperatorError(f"{path}: not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise OperatorError(f"{path}: not valid TOML: {error}") from error
    known = set(_dotted_keys())
    layer: dict[str, tuple[Any, str]] = {}
    for key, value in _flatten(document, known):
        line = _line_of(text, key)
        if key not in known:
            raise OperatorError(f"{path}:{line}: unknown setting {key!r}", hint=_nearest_hint(key, known))
        if isinstance(value, bool):  # which pydantic would take for 1 or 0
            raise OperatorError(f"{path}:{line}: {key} is no switch: it cannot be {str(value).lower()}")
        layer[key] = (value, f"{path}:{line}")
    return layer


def _flatten(document: Mapping[str, Any], known: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict) and dotted not in known:
            yield from _flatten(value, known, f"{dotted}.")
        else:
            yield dotted, value


def _line_of(text: str, dotted: str) -> int:
    """The line (from 1) on which `dotted` is assigned: its table header decides between equal last names."""
    section, _, name = dotted.rpartition(".")
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped.startswith("["):
            current = stripped.strip("[] \t")
        key = stripped.partition("=")[0].strip().strip("\"'")
        if (current == section and key == name) or (not current and key == dotted):
            return number
    return 1


def _environment_layer(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    by_variable = {"EVALD_" + key.replace(".", "_").upper(): key for key in _dotted_keys()}
    layer: dict[str, tuple[Any, str]] = {}
    for variable, value in environ.items():
        if not variable.startswith("EVALD_") or variable in _NO_SETTINGS or variable.startswith("EVALD_TEST_"):
            continue
        key = by_variable.get(variable)
        if key is None:
            raise OperatorError(
                f"environment: unknown variable {variable}", hint=_nearest_hint(variable, set(by_variable))
            )
        separator = LIST_SEPARATORS.get(key)
        layer[key] = (value.split(separator) if separator else value, f"environment {variable}")
    return layer


def _nearest_hint(name: str, known: set[str]) -> str:
    nearest = difflib.get_close_matches(name, sorted(known), n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else "evald config lists every setting"


def _assign(values: dict[str, Any], dotted: str, value: Any) -> None:
    section, _, name = dotted.rpartition(".")
    (values.setdefault(section, {}) if section else values)[name] = value


def _validate(values: Mapping[str, Any], sources: Mapping[str, str]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        dotted = ".".join(str(part) for part in first["loc"])
        known = next((key for key in sources if dotted == key or dotted.startswith(key + ".")), dotted)
        place = sources.get(known, "settings")
        raise OperatorError(f"{place}: {known}: {first['msg']} (got {first['input']!r})") from error
