"""Options that many commands share: where evald's home is, single settings, and --json."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from daemon.cli.complete import Complete, files, folders, words

if TYPE_CHECKING:
    from daemon.layers import LoadedSettings

Function = TypeVar("Function", bound=Callable[..., Any])

SHARED = frozenset(("home", "config", "inbox", "results", "state", "database", "assignments", "as_json"))

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@dataclass(frozen=True)
class Flag:
    """An option that sets one setting. `metavar`: what the help shows for the value. `constant`: the option takes no
    value and sets this one."""

    option: str
    metavar: str
    help: str
    multiple: bool = False
    constant: str | None = None
    complete: Complete | None = None


class MayPass(Exception):  # noqa: N818 - says what is to be expected
    """Why a command that is started again cannot start now."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason)
        self.reason = reason


_PLACES = {
    "home": Flag(
        "--home", "DIR", "Folder that holds inbox/, results/ and state/ (default: ./evald-home).", complete=folders
    ),
    "inbox": Flag("--inbox", "DIR", "Inbox, when it is not in the home.", complete=folders),
    "results": Flag("--results", "DIR", "Result files, when they are not in the home.", complete=folders),
    "state": Flag(
        "--state", "DIR", "Database, cache and locks, on a local disk, when not in the home.", complete=folders
    ),
    "database": Flag("--database", "URL", "sqlite:////path/evald.sqlite3 or postgresql://user@host/name."),
}
WHICH_EVALD = ("--home", "--config", *(flag.option for key, flag in _PLACES.items() if key != "home"))
_MORE = {
    "isolation": Flag(
        "--isolation", "HOW", "bubblewrap, or none: only to debug your own code.", complete=words("bubblewrap", "none")
    ),
    "slots": Flag("--slots", "N", "How many jobs to judge at the same time."),
    "device": Flag(
        "--device",
        "KIND",
        "auto, cpu or cuda: GPUs where there are any, unless you say otherwise.",
        complete=words("auto", "cpu", "cuda"),
    ),
    "gpus": Flag("--gpu", "GPU", "Index, or beginning of the UUID, of a GPU to use; may be repeated.", multiple=True),
    "http.host": Flag("--host", "ADDRESS", "Address to listen on (default: 127.0.0.1)."),
    "http.port": Flag("--port", "PORT", "Port to listen on (default: 8720)."),
    "metrics": Flag("--metrics", "", "Take hardware counters, whatever the contract says.", constant="always"),
    "log_level": Flag(
        "--log-level",
        "LEVEL",
        "debug, info, warning or error.",
        complete=words("debug", "info", "warning", "error"),
    ),
    "backend_paths": Flag(
        "--backend-path", "DIR", "Folder with further kernel types; may be repeated.", multiple=True, complete=folders
    ),
}


def settings_options(*more: str, restarted: bool = False) -> Callable[[Function], Function]:
    """Give a command the options that say which settings to use, and the settings themselves as argument `loaded`.

    `more` names settings that get an option of their own here, beside the places every command knows. `restarted`: a
    service manager starts it again where a disk or file server did not let it look.
    """
    flags = {**_PLACES, **{key: _MORE[key] for key in more}}

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(*args: Any, **given: Any) -> Any:
            chosen = {key: given.pop(_parameter(key)) for key in flags}
            try:
                loaded = _load(click.get_current_context(), chosen, given.pop("config"), given.pop("assignments"))
            except OSError as error:
                if not restarted or isinstance(error, PermissionError):
                    raise
                raise MayPass(error) from error
            return function(*args, loaded=loaded, **given)

        return _with_flags(_ASSIGN(command), flags)  # type: ignore[no-any-return]

    return decorate


def place_options(function: Any) -> Any:
    """Give the group the options that say which evald is meant: they may stand before the command as well."""
    return _with_flags(function, _PLACES)


def _with_flags(function: Any, flags: dict[str, Flag]) -> Any:
    for key in reversed(flags):
        function = _option(key, flags[key])(_with_config_file(function) if key == "home" else function)
    return function


def _parameter(key: str) -> str:
    """The parameter that carries a setting: dots cannot stand in one."""
    return key.replace(".", "_")


def _option(key: str, flag: Flag) -> Callable[[Any], Any]:
    if flag.constant is not None:
        return click.option(flag.option, _parameter(key), flag_value=flag.constant, default=None, help=flag.help)
    return click.option(
        flag.option,
        _parameter(key),
        metavar=flag.metavar,
        multiple=flag.multiple,
        help=flag.help,
        shell_complete=flag.complete,
    )


def _with_config_file(function: Any) -> Any:
    text = "Settings file (default: HOME/evald.toml if it is there)."
    return click.option("--config", metavar="FILE", help=text, shell_complete=files)(function)


_ASSIGN = click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    help="Any setting, such as timing.max_s=5; may be repeated. evald config lists them.",
)


def settings_of(context: click.Context) -> LoadedSettings:
    """The settings of a command that is being typed and has not been called. Raises `OperatorError`, `UsageError`."""
    given = context.params
    chosen = {key: given.get(_parameter(key)) for key in _PLACES}
    return _load(context, chosen, given.get("config"), given.get("assignments") or ())


def _load(
    context: click.Context, chosen: dict[str, Any], config: str | None, assignments: tuple[str, ...]
) -> LoadedSettings:
    from daemon import layers
    from daemon.paths import expanded

    root = context.find_root().params
    chosen |= {key: root.get(key) for key in _PLACES if chosen[key] is None}
    for key, flag in _PLACES.items():
        if chosen[key] == "":
            raise click.UsageError(f"{flag.option} is empty: is a variable of the shell not set?", ctx=context)
    file = config or root.get("config")
    if "" in (chosen.get("backend_paths") or ()):
        raise click.UsageError("--backend-path is empty: is a variable of the shell not set?", ctx=context)
    if chosen.get("backend_paths"):  # typed by hand, so relative to the current folder
        chosen["backend_paths"] = [expanded(Path(folder)).absolute() for folder in chosen["backend_paths"]]
    flags = {key: value for key, value in chosen.items() if value not in (None, ())}
    options = {key: flag.option for key, flag in {**_PLACES, **_MORE}.items()}
    for assignment in assignments:
        key, found, value = assignment.partition("=")
        if not found:
            raise click.UsageError(f"--set {assignment!r} is not KEY=VALUE", ctx=context)
        known = layers.known_key(key.strip())
        if chosen.get(known) not in (None, ()):
            both = f"{options[known]} and --set {known} are given for the same setting"
            raise click.UsageError(f"{both}; leave one of them out", ctx=context)
        flags[known] = layers.listed(known, value)
        options[known] = f"--set {known}"
    return layers.load(flags, config_file=Path(file) if file else None, options=options)
