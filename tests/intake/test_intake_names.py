from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.intake import names
from daemon.intake.owner import Owner, WorkName

ENTRY = st.binary(min_size=1, max_size=255).filter(lambda raw: b"/" not in raw and b"\0" not in raw).map(os.fsdecode)
OWNER = Owner("gpu-node-07", "8f1d2c3b", 12345)


@given(ENTRY, st.booleans())
def test_every_file_name_fits_into_a_work_entry_and_is_read_back(name: str, own_id: bool) -> None:
    job_id = names.make_job_id()
    work_name = WorkName(name, own_id, OWNER, job_id)
    assert len(os.fsencode(work_name.text)) <= names.NAME_LIMIT_BYTES
    parsed = WorkName.parse(work_name.text)
    assert parsed is not None
    assert (parsed.own_id, parsed.owner, parsed.job_id) == (own_id, OWNER, job_id)
    assert name.startswith(parsed.dropped_name.removesuffix(names.ending_of(name)))
    assert WorkName.parse(parsed.text) == parsed


@given(ENTRY)
def test_a_readable_name_can_be_stored_in_a_database(name: str) -> None:
    assert names.readable(name).encode("utf-8").decode().isprintable()


def test_a_long_name_keeps_the_ending_that_says_its_form() -> None:
    text = names.fit("k" * 300 + ".tar.gz", "@" + "0" * 32)
    assert len(text) == names.NAME_LIMIT_BYTES
    assert names.form_of(names.bundle_name(text)) is names.Form.TAR


def test_notes_about_an_inbox_are_no_bundles() -> None:
    notes = ("README", "README.md", "Readme.md", "readme.txt", "README.rst", "desktop.ini", "Thumbs.db")
    assert all(names.is_ignored(name) for name in notes)
    assert not any(names.is_ignored(name) for name in ("readme", "readme.json", "readme.md.zip", "readme.txt.tar"))


def test_hidden_and_temporary_names_are_ignored_and_others_are_not() -> None:
    ignored = (
        ".x",
        "x.tmp",
        "x.part",
        "x.partial",
        "x.json.filepart",
        "x~",
        ".nfs000123",
        ".rsync-tmp",
        ".kernel.py.A1b2C3",
        "X.TMP",
    )
    assert all(names.is_ignored(name) for name in ignored)
    assert not any(names.is_ignored(name) for name in ("x", "tmp", "x.tmp.json", "-rf", "x.partially", "a\nb"))


def test_the_bundle_name_is_free_of_every_suffix() -> None:
    job_id = "0" * 31 + "a"
    for entry in (
        "a.zip",
        f"a.zip@{job_id}",
        f"a.zip@h-o-st-b00t-12-{job_id}",
        f"a.zip@{job_id}@host-b00t-12-{job_id}",
    ):
        assert names.bundle_name(entry) == "a.zip"
    assert names.bundle_name("a@b") == "a@b"


def test_job_ids_are_unique_and_sort_by_time() -> None:
    made = [names.make_job_id() for _ in range(2000)]
    assert len(set(made)) == 2000
    assert all(names.JOB_ID.fullmatch(job_id) for job_id in made)
    assert [job_id[:15] for job_id in made] == sorted(job_id[:15] for job_id in made)


def test_an_owner_fits_in_a_file_name_whatever_the_host_is_called() -> None:
    owner = Owner("härd/host@" + "x" * 100, "12AB-34cd-56", 7)
    assert "/" not in owner.tag
    assert "@" not in owner.tag
    assert owner.boot_id == "12ab34cd"
    assert Owner.current() == Owner.current()


def test_hosts_whose_long_names_differ_at_the_end_are_two_owners() -> None:
    pods = [Owner(f"evald-gpu-workers-production-us-east-1-7d9c6b5f4d-{end}", "b00t", 7) for end in ("x2x9k", "q8v4n")]
    assert len({pod.tag for pod in pods}) == len(pods)
    for pod in pods:
        assert Owner(pod.host, pod.boot_id, pod.pid) == pod
        parsed = WorkName.parse(WorkName("vec_add", own_id=False, owner=pod, job_id="0" * 32).text)
        assert parsed is not None
        assert parsed.owner == pod


def test_a_process_of_another_pid_namespace_is_not_taken_for_dead() -> None:
    me = Owner.current()
    mine, elsewhere = me.boot_id, f"{me.boot_id[:-3]}{'zzz' if me.boot_id[-3:] != 'zzz' else 'yyy'}"
    gone = Owner(me.host, mine, 2**22 + 1)
    assert gone.is_seen_from(me)
    assert not gone.may_live(me)
    assert me.may_live(me)
    hidden = Owner(me.host, elsewhere, 2**22 + 1)
    assert not hidden.is_seen_from(me)
    assert hidden.may_live(me)
    before_the_boot = Owner(me.host, "zzzzz" + mine[-3:], me.pid)
    assert before_the_boot.is_seen_from(me)
    assert not before_the_boot.may_live(me)
    assert Owner("elsewhere", mine, 2**22 + 1).may_live(me)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes pid namespaces here")
def test_two_pid_namespaces_of_a_host_are_two_owners() -> None:
    """Of those that are there at once: the number of one that is gone may be given again."""
    source = (
        "import sys; from daemon.intake.owner import Owner; print(Owner.current().tag, flush=True); sys.stdin.read()"
    )
    with ExitStack() as both:
        asked = [
            both.enter_context(
                subprocess.Popen(
                    ["unshare", "-p", "-f", sys.executable, "-c", source],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(2)
        ]
        inside = [one.stdout.readline().strip() for one in asked if one.stdout]
    assert Owner.of(inside[0]) != Owner.of(inside[1])
    assert all(not Owner.of(tag).is_seen_from(Owner.current()) for tag in inside)
