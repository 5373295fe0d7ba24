"""What is shipped: a wheel built from this tree holds everything the daemon needs at run time."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    target = tmp_path_factory.mktemp("wheel")
    copy = tmp_path_factory.mktemp("source")
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in files.decode().split("\0"):
        if name.startswith(("daemon/", "migrations/", "systemd/")) or name in (
            "setup.cfg",
            "pyproject.toml",
            "README.md",
        ):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(target),
        str(copy),
    ]
    subprocess.run(command, check=True, cwd=target)
    (built,) = target.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_every_module_and_every_migration(wheel: zipfile.ZipFile) -> None:
    shipped = set(wheel.namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "daemon").rglob("*.py")}
    revisions = {f"daemon/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "migrations").rglob("*.py")}
    assert modules - shipped == set()
    assert revisions - shipped == set()
    assert any("versions/" in name for name in revisions)


def test_the_wheel_holds_every_unit_file(wheel: zipfile.ZipFile) -> None:
    units = {
        f"daemon/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "systemd").rglob("*.*") if path.is_file()
    }
    units = {name for name in units if "__pycache__" not in name}
    assert units - set(wheel.namelist()) == set()
    assert "daemon/systemd/evald.service.d/20-gpu.conf" in units


def test_every_dependency_is_imported_somewhere() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    names = {"ninja": "ninja", "psycopg[binary]": "psycopg", "pycuda": "pycuda"}
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "daemon").rglob("*.py"))
    text += "\n".join(path.read_text("utf-8") for path in (ROOT / "migrations").rglob("*.py"))
    for line in parser["options"]["install_requires"].strip().splitlines():
        name = line.split(">=")[0].strip()
        assert names.get(name, name) in text, f"{name} is required but used nowhere"


def test_every_pinned_requirement_is_in_the_constraints() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    wanted = "".join([parser["options"]["install_requires"], *parser["options.extras_require"].values()])
    for line in wanted.strip().splitlines():
        name = line.split(">=")[0].split("[")[0].strip().lower()
        assert name in pinned | {"evald"}, f"{name} is not pinned in constraints.txt"


def _without_evalds_own_requirements(program: str, *, but: set[str]) -> subprocess.CompletedProcess[str]:
    """Run `program` where nothing that evald itself requires is installed, `but` for these."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    required = {re.split(r"[\[>]", line)[0] for line in parser["options"]["install_requires"].strip().splitlines()}
    blocked = f"import sys; sys.modules.update(dict.fromkeys({sorted(required - but)}))\n{program}"
    return subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True, check=False)


def test_the_client_needs_nothing_of_what_judging_takes() -> None:
    told = "from daemon.client import Client, contracts\nprint(Client().url)"
    done = _without_evalds_own_requirements(told, but=set())
    assert (done.returncode, done.stderr) == (0, "")


def test_tools_for_language_models_need_nothing_of_what_judging_takes() -> None:
    named_or_brought = {"click", "pydantic"}  # by the page, by mcp
    told = "from daemon.cli import main\nsys.argv = ['evald', 'mcp', '--url', 'no address']\nsys.exit(main())"
    done = _without_evalds_own_requirements(told, but=named_or_brought)
    assert done.returncode == 2
    assert "is no address of a server" in done.stderr
