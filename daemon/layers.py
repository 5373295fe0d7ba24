"""Where settings come from: defaults < systemd credential < TOML file < `EVALD_*` environment < flags, each value with
its source. A key nobody knows is an error that names the file and the line.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import ValidationError

from daemon.config import Settings, describe, dotted_keys
from daemon.errors import OperatorError
from daemon.paths import expanded
from daemon.sentences import sentence

DATABASE_CREDENTIAL = "evald-database-url"

_NO_SETTINGS = ("EVALD_CONFIG", "EVALD_URL", "EVALD_TOKEN")  # the last two are for `daemon.client`

LIST_SEPARATORS = {"backend_paths": os.pathsep, "gpus": ","}


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
    sources = dict.fromkeys(dotted_keys(), "default")
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
            _require_something(key, value, source)
            if isinstance(value, str) and "\0" in value:
                raise OperatorError(f"{source}: {key} has a NUL in it", hint="no name of a file can have that")
            _assign(values, key, value)
            sources[key] = source
    settings = _placed(_validate(values, sources))
    _require_text(settings)
    _require_apart(settings, sources)
    return LoadedSettings(settings, sources)


def _require_something(key: str, value: object, source: str) -> None:
    """Raises `OperatorError` for an empty text. A shell makes that of a variable that nobody has set; it does not mean
    the default."""
    if isinstance(value, (list, tuple)) and "" in value:
        raise OperatorError(f"{source}: {key} has an empty text in it", hint="leave it out")
    if value == "" and key in _places():
        raise OperatorError(f"{source}: {key} is empty", hint="name a folder or file, or leave it out")
    if value == "" and key in _texts():
        raise OperatorError(f"{source}: {key} is empty", hint="say which, or leave it out")


def _replaced_by(layer: Mapping[str, tuple[Any, str]]) -> Iterator[str]:
    """Keys of earlier layers that this layer says in another way. Raises `OperatorError` for a layer that says both."""
    ways = [key for key in ("database", "database_file") if key in layer]
    if len(ways) > 1:
        places = " and ".join(layer[key][1] for key in ways)
        raise OperatorError(f"{' and '.join(ways)} both say which database ({places})", hint="leave one of them out")
    if ways:
        yield from ("database", "database_file")


def _require_text(settings: Settings) -> None:
    """Raises `OperatorError` for a folder whose name cannot be written down."""
    paths = settings.paths
    for place in (paths.home, paths.inbox, paths.results, paths.state):
        try:
            str(place).encode("utf-8")
        except UnicodeEncodeError as error:
            raise OperatorError(
                f"{str(place)!a} is not UTF-8 here",
                hint="use a name that is; or set LC_ALL=C.UTF-8, if only the locale says otherwise",
            ) from error


def _require_apart(settings: Settings, sources: Mapping[str, str]) -> None:
    """Raises `OperatorError` where evald would take what is its own for bundles."""
    paths, own = settings.paths, [("results", settings.paths.results), ("state", settings.paths.state)]
    files = {
        "metrics_file": settings.metrics_file,
        "http.tokens_file": settings.http.tokens_file,
        "database_file": settings.database_file,
        "database": _sqlite_file(settings.database_url) if settings.database_file is None else None,
    }
    own += [(key, place) for key, place in files.items() if place is not None]
    for key, place in own:
        holding = next((folder for folder in paths.spool if place.is_relative_to(folder)), None)
        if holding is not None:
            raise OperatorError(
                f"{sources.get(key, 'default')}: {key} {place} lies in {holding}, where bundles do",
                hint=f"put it beside the inbox, as in {paths.home / place.name}",
            )
        if key in files and _is_folder(place):
            raise OperatorError(f"{sources.get(key, 'default')}: {key} {place} is a folder", hint="name a file")
    if paths.inbox.is_relative_to(paths.results):
        raise OperatorError(
            f"{sources['inbox']}: inbox {paths.inbox} lies in the results, {paths.results}",
            hint=f"put it beside them, as in {paths.home / 'inbox'}",
        )


def _is_folder(place: Path) -> bool:
    """As far as this user may look: whoever submits need not see the database."""
    try:
        return place.is_dir()
    except PermissionError:
        return False


def _sqlite_file(url: str) -> Path | None:
    scheme, _, place = url.partition(":///")
    return Path(unquote(place.partition("?")[0])) if scheme.startswith("sqlite") and place else None


def _placed(settings: Settings) -> Settings:
    """The same settings, with every path that is used as it stands made absolute, because the current folder may change
    its meaning."""
    home = settings.paths.home

    def place(given: Path | None) -> Path | None:
        return home / expanded(given) if given is not None else None

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
    candidate = expanded(home) / "evald.toml"
    if candidate.is_dir():  # what docker makes of a file to mount that is not there
        raise OperatorError(f"{candidate} is a folder, not a settings file", hint="remove it, or put the file there")
    return candidate if candidate.is_file() else None


def _credential_layer(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """What systemd's `LoadCredential=` laid down for us, if it did."""
    path = Path(environ.get("CREDENTIALS_DIRECTORY") or "/nonexistent", DATABASE_CREDENTIAL)
    return {"database_file": (path, f"credential {DATABASE_CREDENTIAL}")} if path.is_file() else {}


def _places() -> set[str]:
    return {key for key, field in describe() if field.annotation in (Path, Path | None)}


def _texts() -> set[str]:
    return {key for key, field in describe() if field.annotation in (str, str | None)}


def known_key(key: str) -> str:
    """`key` when it is the dotted key of a setting. Raises `OperatorError` with the nearest one."""
    known = set(dotted_keys())
    if key not in known:
        raise OperatorError(f"unknown setting {key!r}", hint=_nearest_hint(key, known))
    return key


def _file_layer(path: Path | None) -> dict[str, tuple[Any, str]]:
    if path is None:
        return {}
    try:
        text = path.read_text("utf-8-sig")  # some editors put a byte order mark in front
        document = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise OperatorError(f"{path}: not UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        hint = 'write key = value, a line each and each key once, with quotes around text: isolation = "bubblewrap"'
        raise OperatorError(f"{path}: not valid TOML: {error}", hint=hint) from error
    known = set(dotted_keys())
    layer: dict[str, tuple[Any, str]] = {}
    for key, value in _flatten(document, known):
        line = _line_of(text, key)
        if key not in known:
            raise OperatorError(f"{path}:{line}: unknown setting {key!r}", hint=_nearest_hint(key, known))
        layer[key] = (_no_number(value), f"{path}:{line}")
    return layer


class _Switch:
    """A `true` or `false` in a settings file. No setting takes one, but pydantic would take it for the number 1 or
    0."""

    def __init__(self, value: bool) -> None:
        self._value = value

    def __repr__(self) -> str:
        return str(self._value).lower()


def _no_number(value: object) -> object:
    if isinstance(value, list):
        return [_no_number(item) for item in value]
    return _Switch(value) if isinstance(value, bool) else value


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
    by_variable = {"EVALD_" + key.replace(".", "_").upper(): key for key in dotted_keys()}
    layer: dict[str, tuple[Any, str]] = {}
    for variable, value in environ.items():
        if not variable.startswith("EVALD_") or variable in _NO_SETTINGS or variable.startswith("EVALD_TEST_"):
            continue
        key = by_variable.get(variable)
        if key is None:
            raise OperatorError(
                f"environment: unknown variable {variable}", hint=_nearest_hint(variable, set(by_variable))
            )
        layer[key] = (listed(key, value), f"environment {variable}")
    return layer


def listed(key: str, text: str) -> str | list[Any]:
    """What a text says of the setting `key`. For a list: its items, and none for an empty text. The text of a list in
    the settings file's own form is right as well."""
    separator = LIST_SEPARATORS.get(key)
    if separator is None:
        return text
    if text.startswith("["):
        with suppress(tomllib.TOMLDecodeError):
            return list(tomllib.loads(f"items = {text}")["items"])
    return [item.strip() for item in text.split(separator) if item.strip()]


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
        told = sentence(first["type"], first.get("ctx", {})) or first["msg"]
        raise OperatorError(f"{place}: {known} {told}, got {first['input']!r}", hint=_about(known)) from error


def _about(key: str) -> str | None:
    """What a setting is, for whoever has written something else."""
    field = dict(describe()).get(key)
    if field is None or field.description is None:
        return None
    default = "" if field.default in (None, ()) else f"; {field.default} when not set"
    return f"{key}: {field.description}{default}"
