"""The page `back-up-and-restore.md`: a home made of the copies it asks for knows its callers and their requests."""

from __future__ import annotations

import re
import shutil
import sqlite3
from pathlib import Path

from http_bodies import evaluate
from http_servers import Serve, evald, started
from waiting import wait_for

PAGE = (Path(__file__).parents[2] / "docs/how-to/back-up-and-restore.md").read_text("utf-8")
KEY = {"Idempotency-Key": "relu-17"}


def kept() -> set[str]:
    """What the page has copied of the state folder, as patterns."""
    return set(re.findall(r"--include='?/state/([^' ]+)", PAGE))


def restored(home: Path, new_home: Path) -> Path:
    """A home as the page has it made of a copy of `home`, with no daemon on either."""
    shutil.copytree(home, new_home, ignore=lambda folder, names: names if Path(folder) == home / "state" else ())
    for pattern in kept():
        for found in (home / "state").glob(pattern):
            (shutil.copytree if found.is_dir() else shutil.copy)(found, new_home / "state" / found.name)
    with sqlite3.connect(home / "state" / "evald.sqlite3") as connection:
        connection.execute(f"VACUUM INTO '{new_home / 'state' / 'evald.sqlite3'}'")
    return new_home


def test_a_restored_home_knows_who_may_call_and_what_they_asked_for(serve: Serve, home: Path, tmp_path: Path) -> None:
    mine = evald(home, "token", "mine").stdout.strip()
    server = serve()
    with server.client(mine) as client:
        job_id = client.post("/jobs", json=evaluate(), headers=KEY).json()["job_id"]
        wait_for(lambda: client.get(f"/jobs/{job_id}/result").status_code == 200, "the result")
    assert server.stop() == 0
    again = started(restored(home, tmp_path / "restored"))
    try:
        with again.client() as stranger, again.client(mine) as client:
            assert stranger.get("/jobs").status_code == 401
            answer = client.post("/jobs", json=evaluate(), headers=KEY).json()
            assert (answer["job_id"], answer["repeated"]) == (job_id, True)
            assert client.post("/jobs", json=evaluate("two"), headers=KEY).status_code == 422
        assert again.stop() == 0
    finally:
        again.process.kill()
        again.process.wait()


def test_without_tokens_a_repeated_request_is_known_to_a_restored_home_too(
    serve: Serve, home: Path, tmp_path: Path
) -> None:
    server = serve()
    with server.client() as client:
        job_id = client.post("/jobs", json=evaluate(), headers=KEY).json()["job_id"]
        wait_for(lambda: client.get(f"/jobs/{job_id}/result").status_code == 200, "the result")
    assert server.stop() == 0
    again = started(restored(home, tmp_path / "restored"))
    try:
        with again.client() as client:
            assert client.post("/jobs", json=evaluate(), headers=KEY).json()["job_id"] == job_id
        assert again.stop() == 0
    finally:
        again.process.kill()
        again.process.wait()


def test_the_page_says_of_everything_in_the_state_folder_what_becomes_of_it(serve: Serve, home: Path) -> None:
    evald(home, "token", "mine", "--admin")
    evald(home, "token", "mine", "--revoke")
    mine = evald(home, "token", "mine").stdout.strip()
    server = serve()
    with server.client(mine) as client:
        assert client.post("/jobs", json=evaluate(), headers=KEY).status_code == 202
    assert server.stop() == 0
    there = {path.name for path in (home / "state").iterdir() if not path.name.startswith(".")}
    told = set(re.findall(r"`state/([a-z-]+)", PAGE)) | {"evald"}
    assert {name for name in there if not any(name.startswith(word) for word in told)} == set()
