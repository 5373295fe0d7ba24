"""`evald token`: who may use `evald serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daemon.cli import screen
from daemon.cli.commands_to_type import here
from daemon.cli.options import json_option, settings_options
from daemon.cli.screen import Column

if TYPE_CHECKING:
    from daemon.http.tokens import Tokens
    from daemon.layers import LoadedSettings


@click.command("token")
@settings_options()
@click.option("--admin", is_flag=True, help="It may also cancel others' jobs and clean up.")
@click.option("--revoke", is_flag=True, help="Take NAME's token back; it stops working at once.")
@json_option
@click.argument("name", required=False)
def command(*, loaded: LoadedSettings, name: str | None, admin: bool, revoke: bool, as_json: bool) -> int:
    """Make a token for NAME to call evald serve with; without NAME list who has one.

    The token is printed this once. evald keeps only what it hashes to, in state/tokens.
    """
    from daemon.http.tokens import Role, Tokens

    if name is None and (admin or revoke):
        option = "--revoke" if revoke else "--admin"
        raise click.UsageError(f"say whose token: evald token NAME {option}", ctx=click.get_current_context())
    tokens = Tokens.of(loaded.settings)
    if name is None:
        _list(tokens, as_json=as_json)
    elif revoke:
        tokens.revoke(name)
        screen.document({"revoked": name}) if as_json else screen.line(f"the token of {name} works no more")
    else:
        tokens.path.parent.mkdir(parents=True, exist_ok=True)
        token = tokens.add(name, Role.ADMIN if admin else Role.SUBMIT)
        screen.document({"name": name, "token": token}) if as_json else screen.line(token)
    return 0


def _list(tokens: Tokens, *, as_json: bool) -> None:
    callers = tokens.callers()
    if as_json:
        screen.document({"tokens": [{"name": caller.name, "role": str(caller.role)} for caller in callers]})
    elif callers:
        screen.table((Column("NAME"), Column("ROLE")), [(caller.name, str(caller.role)) for caller in callers])
    else:
        screen.line(f"nobody has a token; make one with: {here('evald token')} NAME")
