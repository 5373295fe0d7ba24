"""The commands that the pages show are run against a live server, as they stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_servers import Server

from daemon.http.tokens import Caller, Role

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/how-to/serve-over-http.md")
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def blocks() -> Iterator[object]:
    for page in PAGES:
        for number, text in enumerate(_BLOCK.findall((ROOT / page).read_text("utf-8")), start=1):
            if "curl" in text:
                yield pytest.param(text, id=f"{page}-{number}")


@pytest.mark.parametrize("text", list(blocks()))
def test_every_curl_command_works_as_it_stands(judging: Server, text: str) -> None:
    script = re.sub(r"^evald serve.*$", "", text, flags=re.MULTILINE)
    script = script.replace("localhost:8720", judging.url.removeprefix("http://")).replace("curl ", "curl -S -m 120 ")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if "ref_" in script or "/evaluate" in script:
        assert json.loads(done.stdout)["verdict"] == "passed", done.stdout
    if "/events" in script:
        assert "event: result" in done.stdout
        assert done.stdout.rstrip().endswith("}")
    if "DELETE" in script:
        assert "there is no job 0123456789abcdef" in done.stdout


def test_whose_token_a_job_came_with_is_told_by_the_digits_that_the_page_on_sql_finds() -> None:
    page = (ROOT / "docs/how-to/read-the-results-with-sql.md").read_text("utf-8")
    (command,) = re.findall(r"^\$ (printf .*)$", page, re.MULTILINE)
    assert subprocess.check_output(command, shell=True, text=True).strip() == Caller("ci", Role.SUBMIT).tag


def test_there_are_commands_to_try() -> None:
    assert len(list(blocks())) >= 7
