"""Two daemons on two hosts, one inbox on NFS, one Postgres; the file server reboots and cables are pulled.

What this shows: three kernels of their own (user-mode Linux 6.1), the kernel's NFS server over ext4 and its NFS 4.2
client, TCP through a bridge; host names, boot ids and NFS client ids differ as between real hosts. Both daemons are
the real `evald run`, with the rehearsal engine; Postgres is a real one, reached over the same network. The server's
reboot is a kernel killed and another one booted on the same disk; a cable is pulled at the bridge, nobody is told.

What it does not show: other servers (NetApp, Ganesha), NFS 3, Kerberos, several processors (user-mode Linux has one),
a disk that loses its write cache, clocks that differ (all guests have the host's), and judging (nothing is run).
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from nfs_lab import Lab
from nfs_story import BATCH, Facts

from daemon.lifecycle import JobState
from daemon.verdict import Verdict

pytestmark = pytest.mark.nfs
EVALD = f"{sys.executable} -m daemon"


def test_the_share_is_mounted_as_the_docs_say(lab: Lab, options: str, repository: Path) -> None:
    page = (repository / "docs" / "how-to" / "several-hosts.md").read_text("utf-8")
    assert f" nfs4 {options}," in page
    in_force = lab.clients[0].run("grep /run/share /proc/mounts").split()
    assert in_force[2] == "nfs4"
    assert {*options.split(",")} - {"lookupcache=positive"} <= {*in_force[3].split(",")}
    assert "lookupcache=pos" in in_force[3]


def test_two_clients_are_two_hosts_to_the_server(lab: Lab) -> None:
    ids = [client.run("hostname; cat /proc/sys/kernel/random/boot_id").split() for client in lab.clients]
    assert not set(ids[0]) & set(ids[1])
    assert len(lab.server.run("ls /proc/fs/nfsd/clients").split()) == 2


def test_doctor_says_that_an_inbox_on_nfs_is_scanned_and_sqlite_there_is_refused(lab: Lab, repository: Path) -> None:
    alpha, beta = lab.clients
    doctor = f"cd {repository}; EVALD_HOME=/run/share/doctor timeout 80 {EVALD} doctor | grep -m1 watching"
    run = f"cd {repository}; EVALD_HOME=/run/share/sqlite EVALD_ENGINE=rehearsal {EVALD} run; echo exit code $?"
    begun = alpha.begin(doctor), beta.begin(run)
    assert "scans every 1 s (inbox on nfs4)" in alpha.end(begun[0])
    refused = beta.end(begun[1])
    assert "is on a network file system (nfs4), where it would be corrupted" in refused
    assert "set `state` to a folder on a local disk" in " ".join(refused.split())
    assert "exit code 2" in refused
    assert lab.server.run("find /run/disk/share -name '*.sqlite3*'") == ""


def test_every_bundle_is_judged_once_by_one_of_two_hosts_whatever_breaks(facts: Facts) -> None:
    _assert_judged_and_published_once(facts)
    _assert_nothing_is_left_behind(facts)
    _assert_both_hosts_took_part(facts)
    for log in facts.logs.values():
        _assert_polls_and_never_stumbles(log)


@pytest.mark.parametrize("judges", [[], ["alpha", "beta"]], ids=["lost", "doubled"])
def test_the_books_notice_a_bundle_that_is_lost_or_doubled(judges: list[str]) -> None:
    names = [f"bundle{number}" for number in range(4 * BATCH)]
    facts = Facts(dropped=names, judged_by={name: ["alpha"] for name in names} | {"bundle7": judges})
    with pytest.raises(AssertionError, match="bundle7"):
        _assert_judged_and_published_once(facts)


def _assert_judged_and_published_once(facts: Facts) -> None:
    assert len(facts.dropped) == 4 * BATCH
    assert {name: len(judges) for name, judges in facts.judged_by.items()} == dict.fromkeys(facts.dropped, 1)
    jobs = [job for job in facts.jobs if job.state is not JobState.WITHDRAWN]
    assert sorted(job.name for job in jobs) == sorted(facts.dropped)
    assert {(job.state, job.verdict) for job in jobs} == {(JobState.FINISHED, Verdict.UNSUPPORTED)}
    assert sorted(Path(path).name for path in facts.results) == sorted(job.job_id for job in jobs)


def _assert_nothing_is_left_behind(facts: Facts) -> None:
    assert facts.left == []
    assert sorted(name.partition("@")[0] for name in facts.archived) == sorted(facts.dropped)


def _assert_both_hosts_took_part(facts: Facts) -> None:
    assert {host for judges in facts.judged_by.values() for host in judges} == {"alpha", "beta"}
    assert facts.judged_while_alpha_was_cut_off >= 1


def _assert_polls_and_never_stumbles(log: str) -> None:
    assert 'mode="polling (nfs4)"' in log
    assert "inbox is polled" in log
    assert "stopped judged=" in log
    assert "Traceback" not in log
    assert "harness fault" not in log
