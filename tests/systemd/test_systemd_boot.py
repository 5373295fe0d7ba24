"""evald under a really booted systemd: start, watchdog, crash, stop, timers, credentials, the sandbox in the unit."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from systemd_machine import Machine

pytestmark = pytest.mark.systemd
EVALD = str(Path(sys.executable).parent / "evald")
HOME = "/var/lib/evald"
DROP_IN = "/etc/systemd/system/evald.service.d/50-test.conf"
SETTINGS = f'home = "{HOME}"\nmetrics_file = "{HOME}/metrics/evald.prom"\nquiet_s = 0.3\nscan_interval_s = 0.2\n'
REFERENCE = (
    "import torch\nclass Model(torch.nn.Module):\n    def forward(self, x):\n        return x * 2\n"
    "def get_inputs():\n    return [torch.randn(64)]\n"
)
CANDIDATE = "import torch\nclass ModelNew(torch.nn.Module):\n    def forward(self, x):\n        return x + x\n"
CONTRACT = json.dumps(
    {
        "ref_kernel": {"kernel_type": "torch", "source_code": REFERENCE},
        "custom_kernel": {"kernel_type": "torch", "source_code": CANDIDATE},
        "correctness_trials": 2,
        "num_trials": 5,
        "timeout": 60,
        "timing": {"max_s": 0.2, "target_rse": 0.2},
    }
)


def install(machine: Machine, settings: str = "", *, unit: str = "", user: str = "root") -> None:
    """A fresh installation: nothing of the test before is left."""
    machine.run(
        "sh", "-c", "systemctl stop 'evald*' ; systemctl reset-failed 'evald*'; rm -rf /etc/credstore", check=False
    )
    machine.run("rm", "-rf", HOME, "/etc/evald", "/etc/systemd/system/evald.service.d")
    machine.run(EVALD, "install-service", "--force", "--user", user)
    machine.write("/etc/evald/evald.toml", SETTINGS + settings)
    machine.write(DROP_IN, f"[Service]\nWatchdogSec=20\nRestartSec=0.2\n{unit}")
    machine.run("systemd-sysusers", "/etc/sysusers.d/evald.conf")
    machine.run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/evald.conf")
    machine.run("systemctl", "daemon-reload")


def drop(machine: Machine, name: str) -> None:
    machine.write(f"{HOME}/outside/{name}/contract.json", CONTRACT)
    machine.run("mv", f"{HOME}/outside/{name}", f"{HOME}/inbox/{name}")


def result(machine: Machine, name: str) -> dict[str, object] | None:
    text = machine.read(f"{HOME}/results/by-name/{name}/result.json")
    return None if text is None else json.loads(text)


def results(machine: Machine) -> list[str]:
    return machine.run("sh", "-c", f"ls -d {HOME}/results/[0-9]*/*", check=False).stdout.split()


def jobs(machine: Machine) -> list[dict[str, object]]:
    done = machine.run("env", "EVALD_CONFIG=/etc/evald/evald.toml", EVALD, "status", "--json", check=False)
    return json.loads(done.stdout)["recent"] if done.returncode == 0 else []


def is_judging(machine: Machine) -> bool:
    return "1/1 slots judging" in machine.show("evald", "StatusText")


def isolation_of(judged: dict[str, object]) -> str:
    environment = judged["environment"]
    assert isinstance(environment, dict)
    return str(environment["isolation"])


REHEARSAL = 'engine = "rehearsal"\nrehearsal_s = {}\n'


def test_the_service_is_ready_judges_tells_its_counts_and_writes_metrics(machine: Machine) -> None:
    install(machine, REHEARSAL.format(0.1))
    machine.run("systemctl", "start", "evald")
    assert machine.show("evald", "ActiveState") == "active"
    drop(machine, "first")
    machine.wait_for(lambda: result(machine, "first"), "the result")
    machine.wait_for(lambda: "1 judged" in machine.show("evald", "StatusText"), "the counts in STATUS")
    machine.wait_for(
        lambda: 'evald_jobs{state="finished"} 1' in (machine.read(f"{HOME}/metrics/evald.prom") or ""), "the metrics"
    )
    machine.run("systemctl", "stop", "evald")
    assert machine.show("evald", "Result") == "success"
    assert "evald_up 0" in str(machine.read(f"{HOME}/metrics/evald.prom"))


def test_a_wedged_daemon_is_restarted_by_the_watchdog_and_its_job_finishes_exactly_once(machine: Machine) -> None:
    install(machine, REHEARSAL.format(2), unit="WatchdogSec=3\n")
    machine.run("systemctl", "start", "evald")
    drop(machine, "wedged")
    machine.wait_for(lambda: is_judging(machine), "the job to run")
    before = machine.show("evald", "MainPID")
    machine.run("kill", "-STOP", before)
    machine.wait_for(lambda: machine.show("evald", "NRestarts") == "1", "the watchdog")
    machine.wait_for(lambda: "Fatal Python error: Aborted" in machine.journal(), "what only the watchdog's signal does")
    machine.wait_for(lambda: result(machine, "wedged"), "the result")
    assert machine.show("evald", "MainPID") != before
    assert len(results(machine)) == 1
    assert machine.run("ls", f"{HOME}/work", f"{HOME}/inbox").stdout.split() == [f"{HOME}/inbox:", f"{HOME}/work:"]


def test_a_healthy_daemon_outlives_many_watchdog_periods(machine: Machine) -> None:
    install(machine, REHEARSAL.format(9), unit="WatchdogSec=3\n")
    machine.run("systemctl", "start", "evald")
    drop(machine, "long")
    machine.wait_for(lambda: result(machine, "long"), "a job that takes several periods")
    assert machine.show("evald", "NRestarts") == "0"


def test_a_crash_is_followed_by_a_restart_that_finishes_the_job_once(machine: Machine) -> None:
    install(machine, REHEARSAL.format(2))
    machine.run("systemctl", "start", "evald")
    drop(machine, "crashed")
    machine.wait_for(lambda: is_judging(machine), "the job to run")
    machine.run("kill", "-KILL", machine.show("evald", "MainPID"))
    machine.wait_for(lambda: result(machine, "crashed"), "the result")
    assert machine.show("evald", "NRestarts") == "1"
    assert len(results(machine)) == 1


def test_a_stop_gives_the_running_bundle_back_in_time(machine: Machine) -> None:
    install(machine, REHEARSAL.format(600))
    machine.run("systemctl", "start", "evald")
    drop(machine, "endless")
    machine.wait_for(lambda: is_judging(machine), "the job to run")
    machine.run("systemctl", "stop", "evald", limit_s=30)
    assert machine.show("evald", "Result") == "success"
    assert machine.run("ls", f"{HOME}/inbox").stdout.split() == ["endless"]
    assert results(machine) == []


def test_wrong_settings_fail_at_once_and_are_not_tried_again(machine: Machine) -> None:
    install(machine, "slotz = 3\n")
    drop(machine, "untouched")
    machine.run("systemctl", "start", "evald", check=False)
    machine.wait_for(lambda: machine.show("evald", "ActiveState") == "failed", "the unit to fail")
    assert machine.show("evald", "NRestarts") == "0"
    machine.wait_for(lambda: "unknown setting 'slotz'" in machine.journal(), "the reason in the journal")
    assert machine.run("ls", f"{HOME}/inbox").stdout.split() == ["untouched"]


def test_a_missing_database_server_is_waited_for_beyond_the_start_limit(machine: Machine) -> None:
    missing = 'database = "postgresql://nobody@127.0.0.1:1/evald"\n'
    # Long enough for the interpreter of a busy machine: more time can be asked for only once it runs.
    limit_s = 12
    install(machine, REHEARSAL.format(1) + missing, unit=f"TimeoutStartSec={limit_s}\n")
    machine.run("systemctl", "start", "--no-block", "evald")
    machine.wait_for(lambda: "waiting for the database" in machine.show("evald", "StatusText"), "the reason in STATUS")
    time.sleep(limit_s + 1)
    assert (machine.show("evald", "ActiveState"), machine.show("evald", "NRestarts")) == ("activating", "0")
    machine.run("systemctl", "stop", "evald", limit_s=30)


def test_a_folder_that_cannot_be_made_is_tried_again(machine: Machine) -> None:
    install(machine, REHEARSAL.format(1) + 'results = "/proc/nowhere"\n')
    machine.run("systemctl", "start", "--no-block", "evald")
    machine.wait_for(lambda: int(machine.show("evald", "NRestarts")) >= 2, "a second attempt")


def test_the_database_url_comes_from_a_credential_that_only_root_can_read(machine: Machine) -> None:
    install(machine, REHEARSAL.format(0.1), user="evald")
    machine.write("/etc/credstore/evald-database-url", f"sqlite:///{HOME}/state/elsewhere.sqlite3\n")
    machine.run("chmod", "-R", "go=", "/etc/credstore")
    machine.run("systemctl", "start", "evald")
    assert machine.run("ls", f"{HOME}/state").stdout.split().count("elsewhere.sqlite3") == 1
    machine.run("systemctl", "stop", "evald")


def test_timers_fire_and_a_missed_one_is_caught_up(machine: Machine) -> None:
    install(machine, REHEARSAL.format(0.1))
    often = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/1\nRandomizedDelaySec=0\nAccuracySec=100ms\n"
    machine.write("/etc/systemd/system/evald-sweep.timer.d/test.conf", often)
    machine.write("/etc/systemd/system/evald-cleanup.timer.d/test.conf", "[Timer]\nRandomizedDelaySec=0\n")
    machine.run("systemctl", "daemon-reload")
    machine.run(
        "sh",
        "-c",
        "mkdir -p /var/lib/systemd/timers; touch -d '3 days ago' /var/lib/systemd/timers/stamp-evald-cleanup.timer",
    )
    drop(machine, "swept")
    machine.run("systemctl", "start", "evald-sweep.timer")
    machine.wait_for(lambda: result(machine, "swept"), "a sweep")
    machine.run("systemctl", "stop", "evald-sweep.timer")
    machine.run("systemctl", "start", "evald-cleanup.timer")
    machine.wait_for(lambda: "removed 0 jobs" in machine.journal(), "the missed cleanup")
    assert machine.show("evald-cleanup", "Result") == "success"


def test_sweep_cleanup_and_daemon_at_once_do_no_harm(machine: Machine) -> None:
    install(machine, REHEARSAL.format(0.2))
    machine.run("systemctl", "start", "evald")
    for number in range(6):
        drop(machine, f"shared{number}")
    machine.run("systemctl", "start", "--no-block", "evald-sweep", "evald-cleanup")
    machine.wait_for(lambda: all(result(machine, f"shared{number}") for number in range(6)), "all results")
    assert len(results(machine)) == 6
    machine.run("systemctl", "stop", "evald")


@pytest.mark.sandbox
@pytest.mark.parametrize("user", ["root", "evald"])
def test_bubblewrap_works_inside_the_hardened_unit(machine: Machine, user: str) -> None:
    install(machine, unit="WatchdogSec=60\n", user=user)
    machine.run("systemctl", "start", "evald", limit_s=120)
    drop(machine, "real")
    machine.run("chown", "-R", f"{user}:", f"{HOME}/inbox/real", check=False)
    machine.wait_for(lambda: result(machine, "real"), "the result", 300)
    judged = result(machine, "real")
    assert judged is not None
    assert judged["verdict"] == "passed", judged
    assert isolation_of(judged).startswith("bubblewrap+uid" if user == "root" else "bubblewrap")
    machine.run("systemctl", "stop", "evald")


def test_the_http_unit_serves_what_the_daemon_beside_it_judges(machine: Machine) -> None:
    install(machine, REHEARSAL.format(0.1))
    machine.run("systemctl", "start", "evald", "evald-http")
    assert machine.show("evald-http", "ActiveState") == "active"
    program = (
        "from daemon.client import Client\n"
        "answer = Client().evaluate('class Model(nn.Module):\\n    def forward(self): return 1', name='by-http')\n"
        "print(answer.verdict)"
    )
    assert machine.run(sys.executable, "-c", program).stdout.strip() == "unsupported"  # a rehearsal judges nothing
    assert result(machine, "by-http")
    assert len(results(machine)) == 1
    machine.run("systemctl", "stop", "evald-http")
    assert machine.show("evald-http", "Result") == "success"
