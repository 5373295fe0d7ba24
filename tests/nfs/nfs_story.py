"""What happens to 40 bundles on a share that two daemons on two hosts work from, while everything breaks once.

Somebody on a third host (the file server itself) moves the bundles in by rename. Each chapter ends on what the
database says, never after a time: the database is asked over its unix socket, which no cut cable takes away.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from nfs_lab import DATABASE_PORT, GATEWAY, Lab
from uml_guest import Guest, wait_for

from daemon.db.connection import Database
from daemon.db.daemon_records import host_of
from daemon.db.history import History
from daemon.db.records import AttemptOutcome, JobRecord
from daemon.lifecycle import JobState

REPOSITORY = Path(__file__).parents[2]
BATCH = 10
LEASE_S = 5.0
CHAPTER_LIMIT_S = 400.0
SETTINGS = f"""
home = "/run/share/evald"
state = "/run/local/state"
database = "postgresql://evald@{GATEWAY}:{DATABASE_PORT}/DATABASE"
engine = "rehearsal"
rehearsal_s = 1.5
slots = 2
claim_ahead = 4
max_attempts = 6
lease_s = {LEASE_S}
reconcile_s = 1
scan_interval_s = 0.5
min_free_bytes = 1000000
"""
START = f"""
cd {REPOSITORY}
printf '%s' "$1" >/run/local/evald.toml
EVALD_CONFIG=/run/local/evald.toml setsid {sys.executable} -m daemon run >/run/local/log 2>&1 </dev/null &
echo $! >/run/local/pid
for _ in $(seq 150); do
    grep -q watching /run/local/log && exit 0
    sleep 0.5
done
cat /run/local/log
exit 1
"""
STOP = "kill $(cat /run/local/pid); tail --pid=$(cat /run/local/pid) -f /dev/null"
# As a careful sender does it: copied under hidden names on the share, safe on its disk, then renamed.
DROP = """
set -e
cd /run/disk/share/evald/inbox
for bundle in "$1"/*; do cp -r "$bundle" ".$(basename "$bundle").tmp"; done
sync -f .
for bundle in "$1"/*; do mv ".$(basename "$bundle").tmp" "$(basename "$bundle")"; done
"""


@dataclass
class Facts:
    """What was seen. `judged_by`: host names by bundle, one for each publication."""

    dropped: list[str] = field(default_factory=list)
    jobs: tuple[JobRecord, ...] = ()
    judged_by: dict[str, list[str]] = field(default_factory=dict)
    results: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    archived: list[str] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    judged_while_alpha_was_cut_off: int = 0
    duration_s: dict[str, float] = field(default_factory=dict)


class Story:
    """One telling, in a lab with mounted shares, over the ready and empty database at `url`."""

    def __init__(self, lab: Lab, url: str, folder: Path) -> None:
        self._lab = lab
        self._url = url
        self._folder = folder
        self._database = Database(url)
        self._history = History(self._database)
        self._since_s = time.monotonic()
        self.facts = Facts()

    def tell(self) -> Facts:
        alpha, _ = self._lab.clients
        self._start()
        self._drop()
        self._wait(self._in_the_middle, "daemons to judge")
        self._chapter("start")

        self._lab.reboot_server()
        self._drop()
        self._wait(self._all_judged, "everything after the server's reboot")
        self._chapter("server rebooted")

        self._wait_until_both_go_round()
        self._drop()
        self._wait(self._alpha_judges, "alpha to judge again")
        before = len(self._finished())
        self._lab.network.cut(alpha.tap)
        self._wait(self._no_job_is_open, "beta to judge alone, also what alpha had begun")
        self.facts.judged_while_alpha_was_cut_off = len(self._finished()) - before
        self._lab.network.mend(alpha.tap)
        self._wait(self._all_judged, "alpha to come back, with what it had claimed but not queued")
        self._chapter("alpha cut off")

        self._wait_until_both_go_round()
        self._drop()
        self._wait(self._alpha_judges, "alpha to judge, being back")
        self._lab.network.cut(self._lab.server.tap)
        self._wait(self._all_are_silent, "both daemons to be silent for longer than their leases, stuck on the share")
        self._lab.network.mend(self._lab.server.tap)
        self._wait(self._all_judged, "everything after the server came back")
        self._chapter("server cut off")

        self._wait(self._is_tidy, "the last bundles to be put away")
        self._on_both(STOP)
        self._look()
        self._chapter("end")
        return self.facts

    def close(self) -> None:
        self._database.close()

    # -- what is done -------------------------------------------------------------------------------------------

    def _start(self) -> None:
        settings = SETTINGS.replace("DATABASE", self._url.partition("@/")[2].partition("?")[0])
        self._on_both(START, settings)

    def _on_both(self, script: str, *arguments: str) -> None:
        begun = [(client, client.begin(script, *arguments)) for client in self._lab.clients]
        for client, number in begun:
            client.end(number)

    def _drop(self) -> None:
        first = len(self.facts.dropped)
        names = [f"bundle{number}" for number in range(first, first + BATCH)]
        batch = self._folder / f"batch{first}"
        for name in names:
            (batch / name).mkdir(parents=True)
            (batch / name / "contract.json").write_text(json.dumps(contract(name)), "utf-8")
        self._lab.server.run(DROP, self._lab.server.hand_over(batch))
        self.facts.dropped += names

    # -- what is waited for -------------------------------------------------------------------------------------

    def _wait(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_for(condition, what, CHAPTER_LIMIT_S)
        except AssertionError as error:
            logs = "\n".join(f"-- {client.name}\n{self._last_words(client)}" for client in self._lab.clients)
            jobs = self._history.jobs(limit=1000).jobs
            open_jobs = "\n".join(
                f"{j.name} {j.state} {j.lease_owner} {j.work_name}" for j in jobs if not j.finished_at
            )
            missing = sorted(set(self.facts.dropped) - {job.name for job in jobs})
            on_disk = self._lab.server.run("cd /run/disk/share/evald; find inbox work", check=False)
            raise AssertionError(f"{error}\nno job: {missing}\n{open_jobs}\n{on_disk}\n{logs}") from None

    def _wait_until_both_go_round(self) -> None:
        """Each has told of itself twice since now, hence scanned the share in between: none is stuck any more."""
        told: dict[str, set[datetime]] = {}

        def have_told() -> bool:
            for daemon in self._history.daemons():
                told.setdefault(daemon.owner, set()).add(daemon.seen_at)
            return all(len(times) > 2 for times in told.values())

        self._wait(have_told, "both daemons to go round their main loop")

    @staticmethod
    def _last_words(client: Guest) -> str:
        return client.run("tail -n 40 /run/local/log; kill -0 $(cat /run/local/pid); dmesg | tail -n 3", check=False)

    def _finished(self) -> list[JobRecord]:
        return list(self._history.jobs(state=JobState.FINISHED, limit=1000).jobs)

    def _running(self) -> list[JobRecord]:
        return list(self._history.jobs(state=JobState.RUNNING, limit=1000).jobs)

    def _in_the_middle(self) -> bool:
        return len(self._finished()) >= 2 and len(self._running()) >= 2

    def _alpha_judges(self) -> bool:
        return "alpha" in {host_of(job.lease_owner or "") for job in self._running()}

    def _all_judged(self) -> bool:
        return {job.name for job in self._finished()} == set(self.facts.dropped)

    def _no_job_is_open(self) -> bool:
        """A bundle without a job may be left in work/: cut off between claim and queue, alpha alone can queue it."""
        counts = self._history.counts_by_state()
        if any(count for state, count in counts.items() if not state.final):
            return False
        return not self._lab.server.run("cd /run/disk/share/evald; find inbox -mindepth 1").split()

    def _all_are_silent(self) -> bool:
        return all(daemon.is_missing for daemon in self._history.daemons())

    def _is_tidy(self) -> bool:
        return not self._lab.server.run("cd /run/disk/share/evald; find inbox work -mindepth 1").split()

    # -- what is found ------------------------------------------------------------------------------------------

    def _look(self) -> None:
        facts, server = self.facts, self._lab.server
        facts.jobs = self._history.jobs(limit=1000).jobs
        for job in facts.jobs:
            published = [a for a in self._history.attempts(job.job_id) if a.outcome is AttemptOutcome.PUBLISHED]
            facts.judged_by.setdefault(job.name, []).extend(host_of(attempt.owner) for attempt in published)
        facts.results = server.run("cd /run/disk/share/evald/results; ls -d [0-9]*/*").split()
        facts.archived = server.run("ls -A /run/disk/share/evald/archive").split()
        shelves = "inbox work rejected quarantine results/.outbox"
        facts.left = server.run(f"cd /run/disk/share/evald; find {shelves} -mindepth 1").split()
        facts.logs = {client.name: log_of(client) for client in self._lab.clients}

    def _chapter(self, name: str) -> None:
        now_s = time.monotonic()
        self.facts.duration_s[name] = round(now_s - self._since_s, 1)
        self._since_s = now_s


def log_of(client: Guest) -> str:
    return client.run("cat /run/local/log")


def contract(name: str) -> dict[str, object]:
    source = f"# {name}\nclass Model(nn.Module):\n    def forward(self): return torch.ones(1)\n"
    return {"name": name, "kernel": {"kernel_type": "torch", "source_code": source}}
