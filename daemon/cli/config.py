"""`evald config`: effective settings and where each came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from daemon.cli import screen
from daemon.cli.options import json_option, settings_options
from daemon.cli.urls import without_password

if TYPE_CHECKING:
    from daemon.layers import LoadedSettings


@click.command("config")
@settings_options("isolation", "device", "gpus", "slots", "log_level", "backend_paths")
@json_option
def command(*, loaded: LoadedSettings, as_json: bool) -> int:
    """Every setting, its effective value, and where it came from: default, file:line, environment or flag.

    Later ones win: defaults, the TOML file (--config, EVALD_CONFIG, or HOME/evald.toml), EVALD_* variables, flags.
    """
    settings, paths = loaded.settings, loaded.settings.paths
    values = {key: _value(settings, key) for key in loaded.sources}
    folders = {name: str(getattr(paths, name)) for name in ("home", "inbox", "results", "state", "archive", "cache")}
    folders["database"] = without_password(settings.database_url)
    if as_json:
        found = {key: {"value": value, "source": loaded.sources[key]} for key, value in values.items()}
        screen.document({"settings": found, "effective": folders})
        return 0
    columns = (screen.Column("SETTING"), screen.Column("VALUE", flexible=True), screen.Column("FROM", flexible=True))
    screen.table(columns, [(key, _shown(value), _source(loaded.sources[key])) for key, value in values.items()])
    screen.heading("in effect")
    screen.fields(folders.items(), indent=2)
    return 0


def _value(settings: Any, key: str) -> Any:
    """JSON can say it; a password in a URL is left out."""
    value = settings
    for part in key.split("."):
        value = getattr(value, part)
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if key == "database" and value:
        return without_password(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _shown(value: Any) -> str:
    if value is None:
        return "(not set)"
    return ", ".join(value) or "(none)" if isinstance(value, list) else str(value)


def _source(source: str) -> str:
    return screen.Styled(source, "dim" if source == "default" else "cyan")
