"""Stands before nvcc in a build cell and runs the steps of a compilation side by side.

    python -I -S nvcc_wrapper.py NVCC ARGUMENT...
    python -I -S nvcc_wrapper.py --dependencies RULE TARGET PREPROCESSED...

Theory of operation: to compile one .cu file, nvcc runs some eight programs one after another. Two of them read all
that the file includes, `cudafe++` for the host's half and `cicc` for the device's, and with torch's headers they and
the host's compiler take nearly all of the time. `nvcc --dryrun` tells the steps without running them. Here a step
begins when all earlier ones that name a file it names have ended, and the last when all have.

The halves share one thing: the module's name, which keeps internal names of several objects apart. `cudafe++` makes it
up at its end, for `cicc` to read. Here it is written before either begins, from the command and the source. But for
that name the object is the one nvcc makes.

One step nvcc does not run but does: it writes the make rule of what the source includes. The second form of the command
does that here, from the same preprocessed files.

Messages and exit status are those of the first step that fails in nvcc's order. A command that is not known here, or
one of whose steps dies by a signal (two programs at a time want more memory), is nvcc's: it runs as it came.

How many programs may run at a time is what torch was told, MAX_JOBS. A cell that only loads an extension is not told:
there nvcc runs as it is, should the source compile something after all.

Runs on the standard library alone: it is started for each file.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress

TYPE_CHECKING = False  # what `typing` costs to import is a good part of what this costs to start
if TYPE_CHECKING:
    from typing import NoReturn

_COMPILES = ("-c", "--compile", "-dc", "--device-c")
_MARK = "#$ "  # before each line of a dry run that is a step, or a variable for the steps
_REMOVAL = f"{_MARK}rm "  # of temporary files, there or not
_VARIABLE = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_NAME_STEP = re.compile(r'\s--gen_module_id_file(?=\s)(.*?\s--module_id_file_name\s+"([^"]+)")', re.DOTALL)
_STUB = re.compile(r'\s--stub_file_name\s+"[^"]*"')  # cudafe++ only names what cicc will write
_TEMPORARY = re.compile(r"tmpxft_[^\s\"'=,]+")
_FILTER = re.compile(r"-- Filter Dependencies -- > (.+)")
_PREPROCESSED = re.compile(r'\s-E\s.*\s-o\s+"([^"]+)"', re.DOTALL)
_RULE_WORDS = ("-MD", "-MF", "--generate-dependencies-with-compile", "--dependency-output")  # more make another rule
_ANY_RULE = ("-M", "--generate-dep", "--generate-nonsys", "--dependency-target")
_LINE_MARK = re.compile(rb'^# \d+ "((?:[^"\\\n]|\\.)*)"', re.MULTILINE)
_SIGNALLED = 128  # and above: how a shell says that a command died by a signal


class Step:
    """One program that nvcc runs: its command line, and the steps before it that it waits for."""

    def __init__(self, command: str, needs: set[int]) -> None:
        self.command = command
        self.needs = needs


class Plan:
    """What a dry run told: the steps in nvcc's order, the variables they want, and what nvcc itself had to say."""

    def __init__(self, steps: list[Step], variables: dict[str, str], said: str, name_file: str) -> None:
        self.steps = steps
        self.variables = variables
        self.said = said
        self.name_file = name_file  # where the module's name is to be


def plan_of(told: str, arguments: list[str]) -> Plan | None:
    """The plan in what `nvcc --dryrun` wrote of `arguments`; None for one that is not of a host's and a device's
    half."""
    commands: list[str] = []
    variables: dict[str, str] = {}
    said: list[str] = []
    for line in told.splitlines():
        if not line.startswith(_MARK):
            said.append(line + "\n")
        elif (found := _VARIABLE.fullmatch(line[len(_MARK) :])) is not None:
            variables[found[1]] = found[2]
        elif not line.startswith(_REMOVAL):
            commands.append(line[len(_MARK) :])
    name_file = _take_name_step(commands)
    if name_file is None or not _take_rule_step(commands, arguments):
        return None
    return Plan(_steps(commands, os.path.basename(name_file)), variables, "".join(said), name_file)  # noqa: PTH119


def _take_name_step(commands: list[str]) -> str | None:
    """Have no command make up the module's name; the file that it is read from, None where that is not known."""
    named = [(number, found) for number, line in enumerate(commands) if (found := _NAME_STEP.search(line))]
    if len(named) != 1 or not any("cicc" in command for command in commands):
        return None
    number, found = named[0]
    commands[number] = _NAME_STEP.sub(r"\1", commands[number])
    return found[2]


def _take_rule_step(commands: list[str], arguments: list[str]) -> bool:
    """Put a command that can be run in the place of the step that writes the rule of dependencies; False where
    another rule is asked for than the one written here."""
    for number, command in enumerate(commands):
        if (rule := _FILTER.fullmatch(command)) is not None:
            read = [found[1] for line in commands[:number] if (found := _PREPROCESSED.search(line))]
            target = _output_of(arguments)
            if target is None or not read:
                return False
            words = [sys.executable, "-I", "-S", __file__, "--dependencies", rule[1], target, *read]
            commands[number] = shlex.join(words)
    return True


def _steps(commands: list[str], name_file: str) -> list[Step]:
    """Each waits for those before it that name a file it names; the last for all."""
    steps: list[Step] = []
    files: list[set[str]] = []
    for command in commands:
        named = _STUB.sub("", command) if "cudafe++" in command else command
        mine = set(_TEMPORARY.findall(named)) - {name_file}
        steps.append(Step(command, {before for before, others in enumerate(files) if others & mine}))
        files.append(mine)
    steps[-1].needs.update(range(len(steps) - 1))
    return steps


def _output_of(arguments: list[str]) -> str | None:
    """What `-o` names, where nothing is asked of the rule of dependencies but to be there."""
    if any(word.startswith(_ANY_RULE) and word not in _RULE_WORDS for word in arguments) or "-o" not in arguments[:-1]:
        return None
    return arguments[arguments.index("-o") + 1]


def write_dependencies(rule: str, target: str, preprocessed: list[str]) -> None:
    """The make rule that nvcc writes: `target` depends on all that went into the files in `preprocessed`."""
    names: dict[str, None] = {}
    for path in preprocessed:
        with open(path, "rb") as stream:  # noqa: PTH123
            found = dict.fromkeys(_LINE_MARK.findall(stream.read()))
        # Not what comes from no file, and not the working folder.
        names |= {os.fsdecode(re.sub(rb"\\(.)", rb"\1", name)): None for name in found if name[:1] != b"<"}
    files = [name.replace(" ", "\\ ") for name in names if not name.endswith("//")]
    with open(rule, "w", encoding="utf-8", errors="surrogateescape") as stream:  # noqa: PTH123
        stream.write(f"{target} : " + " \\\n    ".join(files) + "\n")


def module_name(arguments: list[str], source: str) -> str:
    """Of this command alone, in the form that cudafe++ gives it. Raises OSError where the source cannot be read."""
    with open(source, "rb") as stream:  # noqa: PTH123
        content = hashlib.sha256(stream.read()).hexdigest()[:8]
    command = hashlib.sha256("\0".join([os.getcwd(), *arguments]).encode("utf-8", "surrogateescape"))  # noqa: PTH109
    base = re.sub(r"\W", "_", os.path.basename(source), flags=re.ASCII)  # noqa: PTH119
    return f"_{command.hexdigest()[:8]}_{len(base)}_{base}_{content}"


def source_of(arguments: list[str]) -> str | None:
    """The one .cu file that a command compiles; None for any other command."""
    sources = [word for word in arguments if word.endswith(".cu") and not word.startswith("-")]
    compiles = any(word in _COMPILES for word in arguments)
    return sources[0] if compiles and len(sources) == 1 else None


class Run:
    """The steps of `plan`, at most `jobs` at a time; what they say is kept in `folder`."""

    def __init__(self, plan: Plan, folder: str, jobs: int) -> None:
        self._steps = plan.steps
        self._environment = {**os.environ, **plan.variables, "TMPDIR": folder}
        self._folder = folder
        self._jobs = jobs
        self._running: dict[int, int] = {}  # steps, by their process
        self._codes: dict[int, int] = {}

    def to_its_end(self) -> int:
        """Run them; the exit status of the first that failed in nvcc's order, or 0. Raises OSError where one cannot be
        begun, with none left that runs."""
        try:
            while self._begin_what_is_ready() or self._running:
                number, status = os.wait()
                step = self._running.pop(number)
                code = os.waitstatus_to_exitcode(status)
                self._codes[step] = code if code >= 0 else _SIGNALLED - code
                if self._failed is not None:
                    self._end_those_after(self._failed)
        finally:
            self._end_those_after(-1)
            for number in self._running:
                os.waitpid(number, 0)
        return 0 if self._failed is None else self._codes[self._failed]

    def repeat(self) -> None:
        """Say what nvcc would have: what each step said, up to the first that failed."""
        for step in range(len(self._steps) if self._failed is None else self._failed + 1):
            for suffix, stream in ((".out", sys.stdout.buffer), (".err", sys.stderr.buffer)):
                with open(self._said(step, suffix), "rb") as said:  # noqa: PTH123
                    shutil.copyfileobj(said, stream)
        sys.stdout.flush()
        sys.stderr.flush()

    @property
    def _failed(self) -> int | None:
        return min((step for step, code in self._codes.items() if code != 0), default=None)

    def _begin_what_is_ready(self) -> bool:
        """Whether there was any such step. None after one that failed: nvcc would not have come to it."""
        last = len(self._steps) if self._failed is None else self._failed
        begun = {*self._running.values(), *self._codes}
        waiting = [step for step in range(last) if step not in begun]
        ready = [step for step in waiting if all(self._codes.get(before) == 0 for before in self._steps[step].needs)]
        for step in ready[: self._jobs - len(self._running)]:
            self._begin(step)
        return bool(ready)

    def _begin(self, step: int) -> None:
        with open(self._said(step, ".out"), "wb") as out, open(self._said(step, ".err"), "wb") as err:  # noqa: PTH123
            process = subprocess.Popen(
                ["/bin/sh", "-c", self._steps[step].command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environment,
                start_new_session=True,
            )
        process.returncode = 0  # `os.wait` hears how it ended
        self._running[process.pid] = step

    def _end_those_after(self, failed: int) -> None:
        for number, step in self._running.items():
            if step > failed:
                with suppress(ProcessLookupError):
                    os.killpg(number, signal.SIGKILL)

    def _said(self, step: int, suffix: str) -> str:
        return os.path.join(self._folder, f"step{step}{suffix}")  # noqa: PTH118


def side_by_side(nvcc: str, arguments: list[str], jobs: int) -> int | None:
    """Compile as `arguments` say; the exit status, or None, and nothing said, where that is nvcc's to do."""
    source = source_of(arguments)
    if source is None or jobs <= 1:
        return None
    folder = tempfile.mkdtemp(prefix="evald-nvcc-")
    try:
        dry = subprocess.run(
            [nvcc, "--dryrun", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            env={**os.environ, "TMPDIR": folder},
        )
        plan = plan_of(dry.stderr, arguments) if dry.returncode == 0 and not dry.stdout else None
        if plan is None or os.path.dirname(plan.name_file) != folder:  # noqa: PTH120
            return None
        with open(plan.name_file, "w", encoding="ascii") as stream:  # noqa: PTH123
            stream.write(module_name(arguments, source))
        run = Run(plan, folder, jobs)
        code = run.to_its_end()
        if code < _SIGNALLED:
            sys.stderr.write(plan.said)
            sys.stderr.flush()
            run.repeat()
            return code
    except OSError:
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


def _jobs() -> int:
    """Programs at a time, as torch is told."""
    try:
        return int(os.environ["MAX_JOBS"])
    except (KeyError, ValueError):
        return 1


def main(argv: list[str]) -> NoReturn:
    nvcc, *arguments = argv
    if nvcc == "--dependencies":
        write_dependencies(arguments[0], arguments[1], arguments[2:])
        sys.exit(0)
    code = side_by_side(nvcc, arguments, _jobs())
    if code is not None:
        sys.exit(code)
    os.execv(nvcc, [nvcc, *arguments])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
