"""Several daemons on one database: what `evald status` shows of them, and `evald drain`."""

from __future__ import annotations

import json
import signal
import socket
from typing import Any

from service_rehearsal import Daemon, Place, on_both_if_thorough
from waiting import wait_for

from daemon.intake.owner import Owner

HOST = Owner(socket.gethostname(), "", 0).host
SHORT_LEASE = {"LEASE_S": "1.5"}

pytestmark = on_both_if_thorough


def status(here: Place) -> dict[str, Any]:
    done = here.ask("status", "--json")
    return json.loads(done.stdout) if done.returncode == 0 else {"daemons": []}


def daemon_of(here: Place, daemon: Daemon) -> dict[str, Any]:
    found = [one for one in status(here)["daemons"] if one["pid"] == daemon.process.pid]
    return found[0] if found else {"state": "unknown", "is_missing": None}


def test_status_shows_every_daemon_its_slots_what_it_judges_and_until_when(here: Place) -> None:
    here.drop("long")
    busy = here.start(is_held=True)
    wait_for(lambda: here.state("long") == "running", "the job to run")
    idle = here.start(SLOTS="3")
    wait_for(lambda: daemon_of(here, idle)["state"] == "running", "the second daemon in status")
    first, second = daemon_of(here, busy), daemon_of(here, idle)
    assert (first["host"], first["slots"], first["inbox"]) == (HOST, 1, str(here.home / "inbox"))
    assert [(lease["name"], lease["lease_until"] is not None) for lease in first["judging"]] == [("long", True)]
    assert (second["slots"], second["judging"], second["is_missing"]) == (3, [], False)
    shown = here.evald("status").stdout
    assert "1/1" in shown
    assert "0/3" in shown
    assert idle.stop() == 0
    assert daemon_of(here, idle)["state"] == "stopped"


def test_a_daemon_that_gives_no_sign_of_life_is_marked_and_replaced_by_the_next(here: Place) -> None:
    first = here.start(**SHORT_LEASE)
    wait_for(lambda: daemon_of(here, first)["state"] == "running", "the daemon in status")
    first.signal(signal.SIGSTOP)
    wait_for(lambda: daemon_of(here, first)["is_missing"] is True, "the daemon to be missed")
    assert "no sign of life" in here.evald("status").stdout
    first.signal(signal.SIGCONT)
    wait_for(lambda: daemon_of(here, first)["is_missing"] is False, "the daemon to be back")
    first.signal(signal.SIGKILL)
    first.process.wait(120)
    second = here.start(**SHORT_LEASE)
    wait_for(lambda: [one["pid"] for one in status(here)["daemons"]] == [second.process.pid], "the dead one to go")


def test_a_drained_host_finishes_what_runs_gives_the_rest_back_and_goes_on_when_undone(here: Place) -> None:
    here.drop("runs")
    daemon = here.start(is_held=True, LEASE_S="12")
    wait_for(lambda: here.state("runs") == "running", "the job to run")
    here.drop("claimed")
    wait_for(lambda: here.state("claimed.json") == "queued", "the second bundle to be claimed")
    done = here.evald("drain", HOST)
    assert (done.returncode, "will be drained" in done.stdout) == (0, True), done.stderr
    wait_for((here.home / "inbox" / "claimed.json").exists, "the second bundle to be given back")
    assert here.state("runs") == "running"
    assert daemon_of(here, daemon)["state"] == "draining"
    here.let_go("runs", "claimed")
    wait_for(lambda: here.has_results("runs"), "the running job to be finished")
    wait_for(lambda: "drained" in here.ask("status").stdout, "status to say that it is drained")
    later = here.start("sweep")
    assert later.process.wait(300) in (0, 2)
    assert (here.home / "inbox" / "claimed.json").exists(), "a sweep on a drained host takes nothing either"
    here.started.remove(later)
    assert daemon.is_alive
    assert "takes jobs again" in here.evald("drain", HOST, "--undo").stdout
    wait_for(lambda: here.has_results("claimed"), "the second bundle to be judged")
    assert daemon.stop() == 0
    assert here.faults("runs", "claimed") == []
    assert {name: job.attempts for name, job in here.jobs().items()} == {"runs": 1, "claimed": 1, "claimed.json": 0}


def test_a_host_nobody_knows_is_refused_with_the_nearest_name(here: Place) -> None:
    daemon = here.start()
    wait_for(lambda: daemon_of(here, daemon)["state"] == "running", "the daemon in status")
    done = here.evald("drain", f"{HOST}x")
    assert done.returncode == 2
    assert HOST in done.stderr
    assert not status(here)["drained_hosts"]
