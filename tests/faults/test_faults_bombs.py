"""Bombs: each runs into a limit that the verdict names, hurts nobody else, and is gone before the next cell starts."""

from __future__ import annotations

import pytest
from executor_bundles import Doc, JudgeOne, evaluate, forward, with_enough_time
from faults_host import candidates, groups_of_the_dead, shared_memory_bytes
from waiting import wait_for

from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

FILES = "n = 0\nwhile True:\n    n += 1\n    "
# Of so few files that they run into no limit but that of bytes.
FILL = FILES + "with open(f'{}/{{n}}', 'wb') as f:\n        f.write(bytes(1 << 22))"
# Every bomb that a kernel can survive: what it is told when it has hit its limit.
SURVIVED = {
    "descriptors": ("kept = []\nwhile True:\n    kept.append(os.dup(0))", "EMFILE"),
    "pipes": ("kept = []\nwhile True:\n    kept.append(os.pipe())", "EMFILE"),
    "files in tmp": (FILES + "open(f'/tmp/{n}', 'w').close()", "ENOSPC"),
    "folders in tmp": (FILES + "os.mkdir(f'/tmp/{n}')", "ENOSPC"),
    "links in tmp": (FILES + "os.symlink('x', f'/tmp/{n}')", "ENOSPC"),
    "files in shm": (FILES + "open(f'/dev/shm/{n}', 'w').close()", "ENOSPC"),
    "bytes in tmp": (FILL.format("/tmp"), "ENOSPC"),
    "bytes in shm": (FILL.format("/dev/shm"), "ENOSPC"),
    "one file": (FILES + "os.posix_fallocate(os.open('/tmp/x', os.O_RDWR | os.O_CREAT), 0, n << 20)", "EFBIG|ENOSPC"),
    "processes": ("while True:\n    if os.fork() == 0:\n        signal.pause()", "EAGAIN"),
}
# Each in a child of its own, so that what it holds is free again; its place in /tmp and /dev/shm is emptied by us.
AROUND = """
import errno, os, shutil, signal
def explode(name, body):
    parent, child = os.pipe()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        try:
            exec(body)
        except OSError as error:
            os.write(child, errno.errorcode[error.errno].encode())
            os.killpg(0, signal.SIGKILL)
    os.close(child)
    print(name + "=" + os.read(parent, 100).decode(), flush=True)
    os.close(parent)
    for folder in ("/tmp", "/dev/shm"):
        for entry in os.scandir(folder):
            if entry.name.isdigit() or entry.name == "x":
                shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
"""


def once(body: str, before: str = "") -> Doc:
    """An evaluate of a kernel that does `body` in its first call."""
    inner = "\n".join("    " + line for line in body.splitlines())
    source = forward(
        f"if not hasattr(self, 'tried'):\n    self.tried = True\n{inner}\nreturn a", before=before, arguments="a"
    )
    source = source.replace("ModelNew", "Model") + "\ndef get_inputs():\n    return [torch.randn(8)]\n"
    return evaluate(source, timeout=120)


def test_every_bomb_is_stopped_by_its_own_limit_and_the_kernel_that_defuses_it_passes(judge: JudgeOne) -> None:
    body = "\n".join(f"explode({name!r}, {code!r})" for name, (code, _) in SURVIVED.items())
    report = judge(once(body, before=AROUND)).passed().report
    expected = {name: told.split("|") for name, (_, told) in SURVIVED.items()}
    assert {name: report.get(name) for name, told in expected.items() if report.get(name) not in told} == {}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (FILL.format("/dev/shm"), "No space left"),
        ("import os\nkept = []\nwhile True:\n    kept.append(os.pipe())", "256 open files"),
    ],
    ids=["shm", "pipes"],
)
def test_a_bomb_that_is_not_defused_is_an_error_that_names_the_limit(judge: JudgeOne, body: str, words: str) -> None:
    judge(once(body)).ended(Verdict.RUNTIME_ERROR, words)


@pytest.mark.parametrize(
    "body",
    [
        "import mmap\nkept = []\nwhile True:\n    kept.append(mmap.mmap(-1, 1 << 24))\n"
        "    kept[-1].write(b'x' * (1 << 24))",
        "import os\nchildren = []\nfor _ in range(8):\n    child = os.fork()\n    if child == 0:\n"
        "        kept = b'x' * (200 << 20)\n        os.read(os.pipe()[0], 1)\n    children.append(child)\n"
        "for _ in children:\n    assert os.wait()[1] == 0, 'a child was killed'",
    ],
    ids=["shared mappings", "eight processes of 200 MiB"],
)
def test_memory_is_limited_for_all_processes_together_and_is_back_before_the_next_start(
    judge: JudgeOne, body: str
) -> None:
    before = shared_memory_bytes()
    judged = judge(once(body)).ended(Verdict.OUT_OF_MEMORY)
    assert "memory" in judged.message or "1024 MiB" in judged.message
    assert candidates() == []
    wait_for(lambda: shared_memory_bytes() < before + (512 << 20), "the memory to come back")
    wait_for(lambda: groups_of_the_dead() == [], "no group to be left")


def test_who_waits_for_a_process_that_was_killed_for_want_of_memory_is_out_of_memory_not_too_slow(
    judge: JudgeOne,
) -> None:
    body = "import os, time\nif os.fork() == 0:\n    kept = b'x' * (2 << 30)\n    os._exit(0)\ntime.sleep(600)"
    judged = with_enough_time(
        judge,
        lambda judged: judged.verdict is not Verdict.TIMEOUT,
        lambda timeout_s: {**once(body), "timeout": timeout_s},
    ).ended(Verdict.OUT_OF_MEMORY)
    assert "1024 MiB" in judged.message
