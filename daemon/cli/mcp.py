"""`evald mcp`: evald as tools for a language model."""

from __future__ import annotations

import click

from daemon.cli.options import json_option
from daemon.cli.pip_commands import pip
from daemon.errors import OperatorError


@click.command("mcp")
@click.option("--url", metavar="URL", help="The evald serve to use (default: EVALD_URL, or this machine's).")
@click.option("--token", metavar="TOKEN", help="Its token (default: EVALD_TOKEN).")
@json_option
def command(*, url: str | None, token: str | None, as_json: bool) -> int:
    """Speak MCP on stdin and stdout: tools evaluate, compare, status and stats over a running evald serve.

    MCP clients start it themselves: give them the command  evald mcp
    """
    try:
        from daemon.client.client import Client
        from daemon.client.mcp_server import make_server
    except ModuleNotFoundError as error:
        missing = f"evald mcp needs the package {error.name}"
        raise OperatorError(missing, hint="type: " + pip("install 'evald[mcp]'")) from error
    with Client(url, token) as client:
        make_server(client).run()
    return 0
