"""What compiling an extension costs: with torch's precompiled header, without it, and when nothing has to be compiled.

    python bench/builds.py [--repeats 5] [--level ""|-O1|-O2|-O3]

Each build is one as the judge has it made: a build cell imports a source whose `load_inline` compiles one C++ function.
The header is made first, by a cell of its own, as the judge makes it; then builds with it and without it take turns, so
that other work on the machine hits both. `wrong` does not compile: such a source is compiled a second time, without the
header, for the compiler's own words. A hit is what the judge does for sources that it has seen before.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from daemon.config import Deadlines, Sandbox, Settings
from daemon.executor.artifacts import headers
from daemon.executor.artifacts.build import Artifact, ArtifactCache, artifact_key, build, keep
from daemon.executor.artifacts.bundle import KernelFiles
from daemon.executor.artifacts.headers import Headers
from daemon.executor.cells.settings import CellSettings
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.host import compilers
from daemon.executor.host.devices import choose
from daemon.executor.sandbox import cgroup
from daemon.executor.shared.protocol import Message
from daemon.verdict import Side
from daemon.versions import version_of

UIDS = 540_000
LIMIT_S = 280.0
SOURCE = """
from torch.utils.cpp_extension import load_inline
code = "torch::Tensor plus(torch::Tensor x) {{ return x + {number}{wrong}; }}"
extension = load_inline("plus", code, functions=["plus"], extra_cflags=["{level}"])
class Model(nn.Module):
    def forward(self, x):
        return extension.plus(x)
"""


def files_of(number: int, level: str, *, wrong: bool = False) -> KernelFiles:
    text = SOURCE.format(number=number, level=level, wrong=" + y" if wrong else "")
    return KernelFiles("kernel.py", (("kernel.py", text.encode()),))


def message_of(files: KernelFiles) -> Message:
    """What the judge tells a build cell."""
    return {
        "kernel_type": "torch_cuda",
        "source_file": files.source_file,
        "files": files.listing,
        "metadata": {},
        "side": str(Side.CANDIDATE),
        "matmul_precision": "highest",
        "device": "cpu",
        "architecture": "",
        "args": [],
        "launch": {},
        "requires": {},
    }


class Builds:
    """Build cells with and without a shelf, and the cache behind them."""

    def __init__(self, home: Path, zygotes: Zygotes) -> None:
        self.settings = Settings(
            home=home, device="cpu", sandbox=Sandbox(uid_base=UIDS), deadlines=Deadlines(build_s=LIMIT_S)
        )
        self.settings.paths.create()
        found = compilers.find()
        if found.cxx is None:
            raise SystemExit("there is no C++ compiler here")
        self.toolchain: Mapping[str, str | None] = {"torch": version_of("torch")} | found.versions
        self.shelf = headers.shelf_of(self.settings, found.cxx, self.toolchain)
        made = CellSettings.of(self.settings, choose(self.settings)[0], uid_step=0, slot=0, threads=1)
        groups = cgroup.find()
        self.plain = Cells(made, groups, zygotes)
        self.helped = Cells(replace(made, shelf=self.shelf), groups, zygotes)
        self.headers = Headers(self.shelf, found.cxx, headers.roomy(self.helped), 4 << 30)
        self.cache = ArtifactCache(self.settings.paths.cache, 4 << 30)

    def build_ms(self, cells: Cells, files: KernelFiles, *, header: bool | None) -> float:
        """One build; a wrong source ends in a refusal. Ends the benchmark where the header was not used as it says."""
        artifact = self.kept(cells, files)
        used = artifact.describe.get("precompiled_header")
        if artifact.refusal is None and used is not header:
            raise SystemExit(f"the precompiled header was to be used: {header}; it was: {used}")
        return artifact.build_ms

    def kept(self, cells: Cells, files: KernelFiles) -> Artifact:
        message = message_of(files)
        key = artifact_key(message, files, dict(self.toolchain))
        if (found := self.cache.get(key)) is not None:
            return found
        return keep(self.cache, key, lambda: build(cells, Side.CANDIDATE, message, files, deadline_s=LIMIT_S))


def took_ms(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
    return (time.perf_counter() - started_s) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds with and without torch's precompiled header.")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--level", choices=["", "-O1", "-O2", "-O3"], default="")
    arguments = parser.parse_args()
    rows: dict[str, list[float]] = {}
    zygotes = Zygotes()
    with tempfile.TemporaryDirectory() as home:
        builds = Builds(Path(home), zygotes)
        try:
            measure(builds, arguments.level, arguments.repeats, rows)
        finally:
            zygotes.close()
        bytes_made = headers.size_of(builds.shelf) if builds.shelf else 0
    print(f"{'':44}{'median':>10} {'min':>10} {'max':>10} {'count':>6}")
    for title, values in rows.items():
        print(f"{title:44}{statistics.median(values):10.1f} {min(values):10.1f} {max(values):10.1f} {len(values):6d}")
    pairs = zip(rows["without, ms"], rows["with the header, ms"], strict=True)  # one after the other, each
    ratios = sorted(without / header for without, header in pairs)
    print(f"without / with: {statistics.median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})", end=", ")
    print(f"the header takes {bytes_made / 1e6:.0f} MB")
    return 0


def measure(builds: Builds, level: str, repeats: int, rows: dict[str, list[float]]) -> None:
    made: list[bool] = []
    rows["making the header, ms"] = [took_ms(lambda: made.append(builds.headers.make(level)))]
    print(f"making the header, ms {rows['making the header, ms'][0]:.1f}", file=sys.stderr, flush=True)
    if made != [True]:
        raise SystemExit("no header could be made; see the log")
    kinds = (("without, ms", builds.plain, False, False), ("with the header, ms", builds.helped, True, False))
    kinds += (
        ("wrong, without, ms", builds.plain, False, True),
        ("wrong, with the header, ms", builds.helped, True, True),
    )
    number = 0
    for _ in range(repeats):
        for title, cells, header, wrong in kinds:
            number += 1
            files = files_of(number, level, wrong=wrong)
            rows.setdefault(title, []).append(builds.build_ms(cells, files, header=header))
            print(f"{title} {rows[title][-1]:.1f}", file=sys.stderr, flush=True)
            rows.setdefault("artifact cache hit, ms", []).append(took_ms(lambda f=files: builds.kept(builds.plain, f)))


if __name__ == "__main__":
    sys.exit(main())
