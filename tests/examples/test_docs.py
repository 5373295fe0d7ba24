"""The documentation is kept true: contracts parse, links lead somewhere, queries run, commands exist."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from _pytest.mark.structures import ParameterSet

from daemon.cli.root import evald
from daemon.config import Limits, Settings
from daemon.contract import parse_contract
from daemon.db import migrate
from daemon.engine import JobSpec
from daemon.executor import catalog
from daemon.executor.local import LocalEngine
from daemon.layers import load
from daemon.verdict import Verdict

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for pattern in ("docs/**/*.md", "README.md", "examples/*.md", "inbox/*.md", "results/*.md")
    for path in sorted(ROOT.glob(pattern))
]
KERNEL_KEYS = {"kernel", "custom_kernel", "custom_code"}
NEW_TYPE_PAGE = ROOT / "docs/how-to/add-a-kernel-type.md"
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def _blocks(page: Path, language: str) -> list[str]:
    return [text for _, found, text in _FENCE.findall(page.read_text("utf-8")) if found == language]


def _all(language: str, *, without: str = "") -> list[ParameterSet]:
    return [
        pytest.param(page, text, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        if page.name != without
        for number, text in enumerate(_blocks(page, language), start=1)
    ]


# -- links --------------------------------------------------------------------------------------------------------


def _anchor(heading: str) -> str:
    kept = "".join(c for c in heading.lower() if c.isalnum() or c in " -_")
    return kept.strip().replace(" ", "-")


def _headings(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text("utf-8"))
    return {_anchor(match) for match in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def _dead_links(page: Path) -> list[str]:
    dead = []
    for link in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _headings(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page: Path) -> None:
    assert _dead_links(page) == []


def test_a_dead_link_and_a_dead_anchor_are_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](page.md#a-title) [b](gone.md) [c](#gone) [d](https://example.org)\n", "utf-8")
    assert _dead_links(page) == ["gone.md", "#gone"]


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text("utf-8")
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in _LINK.findall(index)}
    pages = {path for path in PAGES if path.is_relative_to(ROOT / "docs")} - {ROOT / "docs/index.md"}
    assert {str(path.relative_to(ROOT)) for path in pages - linked} == set()


# -- blocks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "text"), _all("json"))
def test_every_json_block_parses_and_every_contract_in_it_is_valid(page: Path, text: str, tmp_path: Path) -> None:
    document = json.loads(text)
    if not isinstance(document, dict) or not KERNEL_KEYS & document.keys():
        return
    types = catalog.contract_types(catalog.load([_write_new_type(tmp_path)]))
    kernels = [document.get(key) for key in ("kernel", "ref_kernel", "custom_kernel")]
    files = {kernel["source_file"]: b"x = 1\n" for kernel in kernels if kernel and "source_file" in kernel}
    parsed = parse_contract(text.encode(), files, types=types, limits=Limits())
    assert parsed.warnings == ()
    assert parsed.notes == {}


@pytest.mark.parametrize(("page", "text"), _all("python"))
def test_every_python_block_compiles(page: Path, text: str) -> None:
    compile(text, str(page), "exec")


@pytest.mark.parametrize(("page", "text"), _all("toml"))
def test_every_settings_block_is_accepted(page: Path, text: str, tmp_path: Path) -> None:
    file = tmp_path / "evald.toml"
    file.write_text(text, "utf-8")
    assert tomllib.loads(text)
    assert load(config_file=file, environ={}).settings


@pytest.mark.parametrize(
    ("page", "text"),
    [param for param in _all("sql") if "database.md" not in str(param.id)],  # type: ignore[attr-defined]
)
def test_every_query_runs(page: Path, text: str, tmp_path: Path) -> None:
    database = tmp_path / "evald.sqlite3"
    migrate.upgrade(f"sqlite:///{database}")
    connection = sqlite3.connect(database)
    connection.execute(text).fetchall()
    connection.close()


@pytest.mark.parametrize(("page", "text"), [param for param in _all("text") if "logrotate" in str(param.values[1])])
def test_what_is_shown_for_logrotate_is_understood_by_it(page: Path, text: str, tmp_path: Path) -> None:
    """It reads one directive a line: of two, the second is taken for an argument, and the whole file is left out."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert re.fullmatch(r"/\S+ \{\n( +[a-z]+( \d+)?\n)+\}", "\n".join(lines)), text
    if (program := shutil.which("logrotate", path="/usr/sbin:/usr/bin")) is None:
        return
    file = tmp_path / "evald"
    file.write_text(text, "utf-8")
    file.chmod(0o644)
    done = subprocess.run([program, "-d", "-s", tmp_path / "state", file], capture_output=True, text=True, check=False)
    assert (done.returncode, "error:" in done.stderr) == (0, False), done.stderr


# -- commands -----------------------------------------------------------------------------------------------------


def _commands(page: Path) -> list[list[str]]:
    """The `evald …` lines of console blocks, as words; continuation lines joined."""
    found = []
    for language in ("console", "sh", "crontab"):
        for block in _blocks(page, language):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.search(r"(?:^\$ |^|/|=\S+ )(evald (?!/).*)$", line)
                if match and (language != "console" or line.startswith("$ ")):
                    found.append(shlex.split(re.split(r"[|;&>#)]", match[1])[0], comments=True)[1:])
    return found


def _mistakes(words: list[str]) -> list[str]:
    """Commands and options in `words` that do not exist."""
    command: click.Command = evald
    wrong = []
    context = click.Context(evald)
    known = {option for parameter in evald.params for option in parameter.opts}
    for word in words:
        if word.startswith("[") or word == "COMMAND":
            continue  # usage lines: [OPTIONS] COMMAND [ARGS]...
        if word.startswith("-") and word != "-":
            if word.partition("=")[0] not in known | {"--help", "-h", "--version"}:
                wrong.append(word)
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return [*wrong, word]
            command = found
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_shown_exists_with_its_options(page: Path) -> None:
    assert [(words, wrong) for words in _commands(page) if (wrong := _mistakes(words))] == []


def test_a_command_or_option_that_does_not_exist_is_noticed() -> None:
    assert _mistakes(["run", "--home", "x"]) == []
    assert _mistakes(["judge", "x"]) == ["judge"]
    assert _mistakes(["run", "--no-such-option"]) == ["--no-such-option"]


# -- rooms ---------------------------------------------------------------------------------------------------------


def test_the_rooms_of_the_architecture_are_those_that_are_held() -> None:
    held = configparser.ConfigParser()
    held.read(ROOT / "setup.cfg")
    layers = held["importlinter:contract:rooms"]["layers"].split("\n")
    rooms = [layer.replace(" | ", " · ") for layer in layers if layer]
    assert [text.splitlines() for text in _blocks(ROOT / "docs/explanation/architecture.md", "")][-1] == rooms


# -- the page that adds a kernel type -----------------------------------------------------------------------------


def _write_new_type(folder: Path) -> Path:
    backends = folder / "backends"
    backends.mkdir()
    (source,) = _blocks(NEW_TYPE_PAGE, "python")
    (backends / "numpy_function.py").write_text(source, "utf-8")
    return backends


@pytest.fixture
def visible() -> Iterator[Path]:
    """A folder a cell can be shown: cells have a /tmp of their own, which hides what lies in the host's."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.sandbox
def test_the_kernel_type_of_the_how_to_page_judges_the_bundle_of_the_page(tmp_path: Path, visible: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (contract,) = _blocks(NEW_TYPE_PAGE, "json")
    (bundle / "contract.json").write_text(contract, "utf-8")
    backends = _write_new_type(visible)
    settings = Settings(home=tmp_path / "home", backend_paths=(backends,))
    settings.paths.create()
    engine = LocalEngine(settings)
    try:
        engine.start()
        evaluation = engine.evaluate(JobSpec("new-type", "numpy-tanh", bundle), lambda _: None)
    finally:
        engine.close()
    assert (evaluation.verdict, evaluation.message) == (Verdict.PASSED, None)
