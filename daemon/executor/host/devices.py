"""The devices of this host: what there is, which of it the settings choose, and whom it can serve. No torch.

Theory of operation: NVML is asked in a process of its own, with a deadline, because a sick driver can hang whoever
asks it; the daemon only reads what that process printed. Run as a program, this file is that process.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.contract import Requirements
from daemon.errors import HarnessError, OperatorError
from daemon.executor.host.supervise import output_of

_ASK_LIMIT_S = 20.0
_LEAST_CAPABILITY = (8, 0)
_GIB = 1024**3
_NVML_HINT = "nvidia-smi, which must list the GPUs; or judge on the CPU: --device cpu"
_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")


@dataclass(frozen=True)
class Device:
    """One device that a judge owns. For a GPU: NVML's index, UUID and name, the number of its node in /dev (`minor`),
    memory in bytes, compute capability, and the versions of driver and CUDA."""

    kind: str = "cpu"
    index: int = 0
    name: str = "cpu"
    uuid: str | None = None
    minor: int = 0
    memory_bytes: int = 0
    capability: tuple[int, int] = (0, 0)
    driver: str | None = None
    cuda: str | None = None

    def __str__(self) -> str:
        return f"{self.name} (GPU {self.index})" if self.is_gpu else "the CPU"

    @property
    def key(self) -> str:
        """What tells it from every other device of its host: a GPU's UUID, or the kind."""
        return self.uuid or self.kind

    @classmethod
    def from_json(cls, text: str) -> Device:
        """The device that `as_json` wrote."""
        return cls._of(json.loads(text))

    @classmethod
    def _of(cls, item: dict[str, Any]) -> Device:
        return cls(**{**item, "capability": tuple(item["capability"])})

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def is_gpu(self) -> bool:
        return self.kind == "cuda"

    @property
    def architecture(self) -> str:
        """As compilers call it, e.g. "9.0"."""
        return f"{self.capability[0]}.{self.capability[1]}"

    @property
    def nodes(self) -> tuple[Path, ...]:
        """The device nodes a cell needs to use this GPU, and no other."""
        if not self.is_gpu:
            return ()
        wanted = (Path(f"/dev/nvidia{self.minor}"), *(Path("/dev") / name for name in _NODES))
        return tuple(node for node in wanted if node.exists())


CPU = Device()


def choose(settings: Settings) -> tuple[Device, ...]:
    """What this host judges on, one device per slot: GPUs where there are any, else the CPU. The setting `device`
    forces either.

    Raises `OperatorError` when the settings ask for what is not there, `HarnessError` when NVML does not answer.
    """
    if settings.device == "cpu":
        _require_no_gpu_named(settings.gpus)
        return (CPU,) * settings.slots
    gpus = found() if settings.device == "cuda" or _has_nodes() else ()
    if not gpus:
        _require_no_gpu_wanted(settings)
        return (CPU,) * settings.slots
    _require_cuda_torch()
    return _chosen(gpus, settings.gpus)


def _require_no_gpu_named(gpus: tuple[str, ...]) -> None:
    if gpus:
        raise OperatorError(
            f'device is "cpu", and gpus names {", ".join(gpus)}: one contradicts the other',
            hint="leave one of them out, here or in the settings (evald config)",
        )


def _require_no_gpu_wanted(settings: Settings) -> None:
    """Raises `OperatorError` where there is no GPU and the settings ask for one: nobody who asked for a GPU is to be
    judged on the CPU."""
    if settings.gpus:
        raise OperatorError(
            f"gpus names {', '.join(settings.gpus)}, and this host has no NVIDIA GPU",
            hint="nvidia-smi, which must list it; or judge on the CPU: --device cpu, without --gpu and gpus",
        )
    if settings.device == "cuda":
        raise OperatorError('device is "cuda" and this host has no NVIDIA GPU', hint="evald doctor; or --device cpu")


def _has_nodes() -> bool:
    return any(Path("/dev").glob("nvidia[0-9]*"))


def _chosen(gpus: tuple[Device, ...], wanted: tuple[str, ...]) -> tuple[Device, ...]:
    """Those that `wanted` names by index or by the beginning of their UUID; all fit ones when it names none."""
    if not wanted:
        fit = tuple(gpu for gpu in gpus if gpu.capability >= _LEAST_CAPABILITY)
        if not fit:
            names = ", ".join(f"{gpu.name} ({gpu.architecture})" for gpu in gpus)
            raise OperatorError(f"no GPU here has compute capability 8.0 or newer: {names}", hint="--device cpu")
        return fit
    chosen = []
    for word in wanted:
        matching = [gpu for gpu in gpus if word == str(gpu.index) or (len(word) > 4 and _starts(gpu, word))]  # noqa: PLR2004
        if len(matching) != 1:
            listed = "; ".join(f"{gpu.index}: {gpu.uuid}, {gpu.name}" for gpu in gpus)
            raise OperatorError(f"gpus: {word!r} names {len(matching)} GPUs of this host", hint=f"it has {listed}")
        if matching[0].capability < _LEAST_CAPABILITY:
            text = f"gpus: {matching[0].name} is older than compute capability 8.0"
            raise OperatorError(
                text, hint="name another one, or judge on the CPU: --device cpu, without --gpu and gpus"
            )
        chosen.append(matching[0])
    return tuple(dict.fromkeys(chosen))


def _starts(gpu: Device, word: str) -> bool:
    uuid = (gpu.uuid or "").lower()
    return uuid.startswith(word.lower()) or uuid.removeprefix("gpu-").startswith(word.lower())


def _require_cuda_torch() -> None:
    cuda = cuda_of_torch()
    if cuda is None:
        raise OperatorError(
            "this host has an NVIDIA GPU, but its torch is a build for CPUs",
            hint="install the CUDA build of torch, or judge on the CPU: --device cpu",
        )


def cuda_of_torch() -> str | None:
    """The CUDA version torch was built for, read from its files: importing torch takes seconds. None: a CPU build."""
    spec = importlib.util.find_spec("torch")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / "version.py"
        if not path.is_file():
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Constant):
                target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
                if isinstance(target, ast.Name) and target.id == "cuda":
                    return node.value.value if isinstance(node.value.value, str) else None
    return None


def refusal(requires: Requirements, devices: tuple[Device, ...]) -> str | None:
    """Why none of `devices` can ever serve `requires`; None when one can."""
    reasons = [_unmet(requires, device) for device in dict.fromkeys(devices)]
    if not reasons or None in reasons:
        return None
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason))


def _unmet(requires: Requirements, device: Device) -> str | None:
    capability = requires.capability
    if not device.is_gpu:
        wanted = _wanted_of_a_gpu(requires)
        return f"it requires a GPU ({wanted}), this host judges on the CPU" if wanted else None
    if requires.gpu and requires.gpu.lower() not in device.name.lower():
        return f"it requires {requires.gpu}, this host has {device.name}"
    if capability and device.capability < capability:
        return f"it requires compute capability {requires.min_capability}, {device.name} has {device.architecture}"
    if requires.min_memory_gib and device.memory_bytes < requires.min_memory_gib * _GIB:
        has = device.memory_bytes / _GIB
        return f"it requires {requires.min_memory_gib:g} GiB of device memory, {device.name} has {has:.0f}"
    return None


def _wanted_of_a_gpu(requires: Requirements) -> str:
    """What it says of the GPU, in words; empty where it asks for none."""
    words = [requires.gpu] if requires.gpu else []
    if requires.capability:
        words.append(f"compute capability {requires.min_capability}")
    if requires.min_memory_gib:
        words.append(f"{requires.min_memory_gib:g} GiB")
    return ", ".join(words)


def found() -> tuple[Device, ...]:
    """Every NVIDIA GPU of this host. Raises `HarnessError` when NVML fails or does not answer."""
    try:
        text = output_of([sys.executable, "-I", "-m", "daemon.executor.host.devices"], timeout_s=_ASK_LIMIT_S)
        return tuple(Device._of(item) for item in json.loads(text))
    except TimeoutError as error:
        raise HarnessError(f"NVML did not answer within {_ASK_LIMIT_S:.0f} s", hint=_NVML_HINT) from error
    except (ValueError, TypeError, KeyError) as error:
        raise HarnessError(f"NVML answered something else: {error}", hint=_NVML_HINT) from error
    except HarnessError as error:
        raise HarnessError(f"no NVIDIA driver answers: {error}", hint=_NVML_HINT) from error


def _ask_nvml() -> list[dict[str, object]]:
    """What NVML knows of every GPU it can see (NVML API reference, "Device Queries")."""
    import pynvml

    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    version = pynvml.nvmlSystemGetCudaDriverVersion_v2()
    devices = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        device = Device(
            kind="cuda",
            index=index,
            name=pynvml.nvmlDeviceGetName(handle),
            uuid=pynvml.nvmlDeviceGetUUID(handle),
            minor=pynvml.nvmlDeviceGetMinorNumber(handle),
            memory_bytes=pynvml.nvmlDeviceGetMemoryInfo(handle).total,
            capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
            driver=driver,
            cuda=f"{version // 1000}.{version % 1000 // 10}",
        )
        devices.append(asdict(device))
    pynvml.nvmlShutdown()
    return devices


def main() -> int:
    """Print the GPUs as JSON. Exit code 1 with the reason on stderr when NVML is not to be had."""
    try:
        importlib.metadata.version("nvidia-ml-py")
        print(json.dumps(_ask_nvml()))
    except Exception as error:  # noqa: BLE001 - a program's main: whatever NVML raises is the answer
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
