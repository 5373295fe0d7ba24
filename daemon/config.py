"""Everything that can be set, with its default. `layers` fills it in.

Every field here is read somewhere; `evald config` prints the effective values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from daemon.errors import OperatorError
from daemon.paths import Paths, expanded, in_url

MIB = 1024 * 1024
GIB = 1024 * MIB

_RELATIVE_SQLITE = re.compile(r"(sqlite(?:\+pysqlite)?:///)(?![/?]|:memory:|file:)(.+)")

PositiveInt = Annotated[int, Field(gt=0, le=2**62)]  # fits 64 bits, also when some are added up
Count = Annotated[int, Field(gt=0, le=1_000_000)]
ReadAtOnce = Annotated[int, Field(gt=0, le=4 << 30)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]
ToolSeconds = Annotated[float, Field(gt=0, le=600)]  # a judge that is silent for longer counts as hanging


def _as_text(value: object) -> object:
    """For numbers that stand for a name: in a list of GPUs nobody puts 0 and 1 into quotes."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _lower(value: object) -> object:
    """For words that other programs write in capitals."""
    return value.lower() if isinstance(value, str) else value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Section):
    """What a bundle may hold before it is rejected. Sizes in bytes."""

    bundle_bytes: PositiveInt = Field(256 * MIB, description="Largest bundle, as it was dropped, bytes")
    file_count: PositiveInt = Field(1000, description="Most files and folders in a bundle")
    source_bytes: ReadAtOnce = Field(4 * MIB, description="Largest source file of a kernel, bytes")
    contract_bytes: ReadAtOnce = Field(64 * MIB, description="Largest contract, bytes")
    decompressed_bytes: PositiveInt = Field(
        1 * GIB, description="Most an archive, or the embedded tensors of a kernel, may unpack to, bytes"
    )
    tensor_bytes: PositiveInt = Field(8 * GIB, description="Most the tensors of one kernel may take in one case, bytes")
    cases: PositiveInt = Field(64, description="Most cases in a contract")


class Sandbox(_Section):
    """What one cell (one kernel under test) may use."""

    memory_bytes: PositiveInt = Field(4 * GIB, description="Memory of a cell, bytes")
    gpu_memory_bytes: PositiveInt = Field(16 * GIB, description="Host memory of a cell that has a GPU, bytes")
    processes: Count = Field(256, description="Processes and threads of a cell")
    cpu_cores: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] | None = Field(
        None, description="CPU cores of a cell; all when not set"
    )
    open_files: Count = Field(1024, description="Open files of a process in a cell")
    tmp_bytes: PositiveInt = Field(512 * MIB, description="Size of the private /tmp of a cell, bytes")
    tmp_inodes: Annotated[int, Field(gt=0, le=2**31 - 1)] = Field(
        20_000, description="Files in the private /tmp of a cell"
    )
    file_bytes: PositiveInt = Field(512 * MIB, description="Largest single file a cell may write, bytes")
    output_keep_bytes: PositiveInt = Field(
        64 * 1024,
        description="How much of the beginning, and how much of the end, of stdout and of stderr is kept, bytes",
    )
    uid_base: Annotated[int, Field(ge=1000, le=2**32 - 2 - 4000)] | None = Field(
        None,
        description="First of the 4000 user ids that cells run under when evald runs as root. None may be a user's. "
        "When not set, 2100000000, or 61000 in a container that has no such ids",
    )
    spare_cells: Annotated[int, Field(ge=0, le=2)] = Field(
        2,
        description="How many cells of each kind stand ready for the next case (of a builder at most one). On a GPU "
        "each holds about 0.5 GB of its memory",
    )


class Deadlines(_Section):
    """Wall-clock limits of the stages the contract's own `timeout` does not cover, seconds."""

    build_s: Seconds = Field(300, description="Compiling one kernel, seconds")
    start_s: Seconds = Field(60, description="Starting a cell, seconds")
    call_s: Seconds = Field(
        10, description="How long later calls of a kernel on the CPU may take, however fast the first were, seconds"
    )
    gpu_call_s: Seconds = Field(
        2, description="The same on a GPU; for the first call from when all of it is launched, seconds"
    )
    job_s: Seconds = Field(
        3600, description="How long all cases of one bundle may take, seconds; after that none is begun"
    )
    metrics_s: ToolSeconds = Field(180, description="Counting one kernel under ncu, when all else is done, seconds")
    check_s: ToolSeconds = Field(300, description="One check of compute-sanitizer, when all else is done, seconds")
    stop_s: Seconds = Field(5, description="How long a stop waits for the jobs that it has cancelled to end, seconds")


class TimingDefaults(_Section):
    """When to stop measuring and how much memory to measure in, unless the contract says otherwise."""

    max_s: Seconds = Field(
        2.0, description="When to stop measuring one case, seconds, unless the contract says otherwise"
    )
    target_rse: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.003, description="Stop measuring at this relative standard error, unless the contract says otherwise"
    )
    min_rounds: Annotated[int, Field(ge=5)] = Field(
        7,
        description="Rounds that are timed before precision may end measuring; max_s may end it after 5, and a "
        "contract's timeout with fewer",
    )
    max_calls: Annotated[int, Field(ge=1, le=16384)] = Field(4096, description="How many calls one round may have")
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
    requests_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        100, description="Requests one caller may make a second"
    )
    burst: Count = Field(500, description="Requests one caller may make at once")
    jobs_per_token: PositiveInt = Field(10_000, description="Unfinished jobs one caller may have")
    streams: Count = Field(500, description="Requests that may wait for jobs at the same time")
    streams_per_token: Count = Field(250, description="How many of these may be of one caller with a token")


class Settings(_Section):
    """What one daemon, or one command, goes by."""

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
    metrics_file: Path | None = Field(
        None,
        description="File to keep current with figures for Prometheus; if two daemons name one, the first keeps it",
    )
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
    gpus: tuple[Annotated[str, BeforeValidator(_as_text)], ...] = Field(
        (),
        description="GPUs to judge on, by index or by the beginning of their UUID; all when not set. An error where "
        "there is no GPU, or with device = cpu",
    )
    slots: Annotated[int, Field(ge=1, le=160)] = Field(  # each has user ids of its own (`sandbox/policy.py`)
        1, description="How many jobs are judged on the CPU at the same time; each GPU judges one"
    )
    ahead: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None,
        description="Jobs compiled and made ready while others have the devices; when not set, 2 per GPU, 0 on the CPU",
    )
    backend_paths: tuple[Path, ...] = Field((), description="Folders with further kernel types")
    control_interval_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        3600, description="How often the control kernel is timed on each device, seconds; 0: never"
    )
    control_tolerance: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.02,
        description="How far the control may lie from its baseline, beyond the scatter of its rounds; "
        "on a CPU at least 0.25",
    )
    metrics: Literal["asked", "always", "never"] = Field(
        "asked",
        description="Whether hardware counters are taken: for contracts that ask, for every one that passes, or never",
    )
    submitter_quota: Count | None = Field(
        None,
        description="How many bundles of one submitter may be claimed and not finished; the rest wait in the inbox",
    )
    results_for: Literal["everybody", "submitter"] = Field(
        "everybody", description="Who may read a result file; submitter: whose bundle it was, and the daemon's group"
    )
    claim_ahead: Count = Field(64, description="How many bundles may be claimed before they can be judged")
    scan_interval_s: Seconds = Field(1.0, description="Pause between two scans of the inbox, seconds")
    quiet_s: Seconds = Field(2.0, description="How long an entry must not have changed to be taken, seconds")
    torn_after_s: Seconds = Field(
        3600, description="How long an incomplete entry must not have changed to be quarantined, seconds"
    )
    polling: Literal["auto", "always", "never"] = Field(
        "auto", description="Whether to rely on scans alone; auto: on network file systems"
    )
    lease_s: Seconds = Field(60, description="How long a job stays with a daemon that gives no sign of life, seconds")
    reconcile_s: Seconds = Field(30, description="Pause between two repairs of what dead daemons left, seconds")
    min_free_bytes: PositiveInt = Field(
        256 * MIB,
        description="With less free space than this no new bundle is claimed, bytes; nor if a disk is read-only or has "
        "room for fewer than 1000 files",
    )
    max_attempts: Count = Field(3, description="How often evald tries a job when evald itself fails")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        "info", description="Which lines of the log are written: this level and above"
    )
    limits: Limits = Limits()
    sandbox: Sandbox = Sandbox()
    deadlines: Deadlines = Deadlines()
    timing: TimingDefaults = TimingDefaults()
    http: Http = Http()

    @property
    def paths(self) -> Paths:
        """The folders these settings name, absolute."""
        home = expanded(self.home).absolute()

        def place(given: Path | None, name: str) -> Path:
            return (home / expanded(given)).absolute() if given else home / name

        return Paths(home, place(self.inbox, "inbox"), place(self.results, "results"), place(self.state, "state"))

    @property
    def database_url(self) -> str:
        """With the path of a SQLite file absolute. Raises `OperatorError` when `database_file` holds no URL."""
        if self.database is None and self.database_file is not None:
            url = _url_in(self.database_file)
        else:
            url = self.database or self.paths.default_database_url
        relative = _RELATIVE_SQLITE.fullmatch(url)
        return f"{relative[1]}{Path(in_url(self.paths.home), relative[2])}" if relative else url


def _url_in(path: Path) -> str:
    try:
        lines = expanded(path).read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise OperatorError(f"cannot read database_file {path}: {reason}", hint="check its place and mode") from error
    if len(lines) != 1:
        raise OperatorError(
            f"database_file {path} holds {len(lines)} words, not one URL",
            hint="one line: postgresql://user:password@host/name",
        )
    return lines[0]


def describe() -> Iterator[tuple[str, FieldInfo]]:
    """Every dotted key with its field: default, annotation, description."""
    for key in dotted_keys():
        section, _, name = key.rpartition(".")
        model = type(Settings.model_fields[section].default) if section else Settings
        yield key, model.model_fields[name]


def dotted_keys() -> Iterator[str]:
    """Every setting: `slots`, `limits.bundle_bytes`."""
    for name, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, _Section):
            yield from (f"{name}.{inner}" for inner in annotation.model_fields)
        else:
            yield name
