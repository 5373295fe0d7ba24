"""Who sends over HTTP, as the file of tokens tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon import callers
from daemon.config import Settings
from daemon.http.tokens import Role, Tokens


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings.model_validate({"home": tmp_path})
    made.paths.work.mkdir(parents=True)
    made.paths.state.mkdir(parents=True)
    return made


def test_who_had_a_token_is_known_until_others_have_lost_theirs_since(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of a hundred thousand that scripts have made and revoked was named in every query, until a database took no
    more of them, and no job was begun."""
    monkeypatch.setattr(callers, "MOST", 3)
    callers._names_in.cache_clear()
    tokens = Tokens.of(settings)
    for name in ("zoe", "anna", "bert"):
        tokens.add(name, Role.SUBMIT)
        tokens.revoke(name)
    assert set(callers.known(settings).names.values()) == {"zoe", "anna", "bert"}
    tokens.add("zoe", Role.SUBMIT)
    tokens.revoke("zoe")
    tokens.add("carl", Role.SUBMIT)
    assert set(callers.known(settings).names.values()) == {"carl", "zoe", "bert"}, "anna lost hers first"
    for name in ("dora", "emil", "fritz"):
        tokens.add(name, Role.SUBMIT)
    assert set(callers.known(settings).names.values()) == {"carl", "dora", "emil", "fritz"}, "all who have one"
