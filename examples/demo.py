"""`make demo`: judge every example in a home of its own, then say whether each got the verdict it was written for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from daemon.errors import EvaldError
from daemon.executor.host.devices import Device, choose
from daemon.layers import load

EXAMPLES = Path(__file__).parent
EVALD = [sys.executable, "-m", "daemon"]


def main(home: Path) -> int:
    """Submit, sweep, compare. Exit 0 when every verdict is the expected one."""
    device = judged_on()
    print(f"judging on {device}", flush=True)
    expected = expected_on(device.kind)
    (home / "inbox").mkdir(parents=True, exist_ok=True)
    bundles = [str(EXAMPLES / name) for name in expected]
    submit = [*EVALD, "submit", "--home", str(home), "--json", *bundles]
    dropped = json.loads(subprocess.run(submit, check=True, stdout=subprocess.PIPE).stdout)
    print(f"{len(bundles)} bundles dropped into {home / 'inbox'}", flush=True)
    status = subprocess.run([*EVALD, "sweep", "--home", str(home)], check=False).returncode
    # 1: some did not pass, 2: one cannot be judged without a GPU; as it should be. No result at all: it has said why.
    if status not in (0, 1, 2) or not (home / "results" / "by-name").is_dir():
        return status
    surprises = 0
    for (name, verdict), drop in zip(expected.items(), dropped["submitted"], strict=True):
        found = verdict_of(home, drop["job_id"])
        if found != verdict:
            surprises += 1
            print(f"{name}: expected {verdict}, got {found}")
    print(f"{len(expected) - surprises} of {len(expected)} verdicts as expected; results in {home / 'results'}")
    return 1 if surprises else 0


def expected_on(device: str) -> dict[str, str]:
    """The verdict each example was written for; some depend on what it is judged on ("cpu", "cuda")."""
    written: dict[str, str | dict[str, str]] = json.loads((EXAMPLES / "expected.json").read_text("utf-8"))
    return {name: verdict if isinstance(verdict, str) else verdict[device] for name, verdict in written.items()}


def judged_on() -> Device:
    """What `evald sweep` will judge on here: a GPU where there is one. Ends with what to type when it cannot say."""
    try:
        return choose(load().settings)[0]
    except EvaldError as error:
        sys.exit(f"evald: {error}")


def verdict_of(home: Path, job_id: str) -> str:
    """The published verdict of a job."""
    for path in (home / "results").glob(f"[0-9]*/{job_id}/result.json"):
        return str(json.loads(path.read_text("utf-8"))["verdict"])
    return "no result"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
