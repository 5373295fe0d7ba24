"""`evald schema`: the JSON Schema of a contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daemon.cli import screen
from daemon.cli.options import json_option, settings_options

if TYPE_CHECKING:
    from daemon.layers import LoadedSettings


@click.command("schema")
@settings_options("backend_paths")
@json_option
def command(*, loaded: LoadedSettings, as_json: bool) -> int:
    """Print the JSON Schema of contract.json, for editors: evald schema > contract.schema.json.

    It knows the kernel types of this evald. It is JSON with and without --json.
    """
    from daemon.contract import contract_schema
    from daemon.executor import catalog

    del as_json
    screen.document(contract_schema(catalog.contract_types(catalog.load(loaded.settings.backend_paths))))
    return 0
