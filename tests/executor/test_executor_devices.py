"""Which devices a host judges on, and whom they can serve. The GPUs here are descriptions; tests/gpu has real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from daemon.config import Settings
from daemon.contract import Requirements
from daemon.errors import HarnessError, OperatorError
from daemon.executor.host import devices
from daemon.executor.host.devices import CPU, Device
from daemon.executor.host.environment import cpu_name
from daemon.executor.timing.telemetry import Telemetry, is_the_gpus_fault

H200 = Device(
    kind="cuda",
    index=0,
    name="NVIDIA H200",
    uuid="GPU-1a2b3c4d-0000-0000-0000-000000000000",
    minor=3,
    memory_bytes=141 << 30,
    capability=(9, 0),
    driver="580.1",
    cuda="13.0",
)
A100 = replace(H200, index=1, name="NVIDIA A100", uuid="GPU-99999999-0", memory_bytes=80 << 30, capability=(8, 0))
V100 = replace(H200, index=2, name="Tesla V100", uuid="GPU-77777777-0", memory_bytes=16 << 30, capability=(7, 0))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> list[Device]:
    """The GPUs that NVML would report, with a torch that can use them."""
    gpus = [H200, A100, V100]
    monkeypatch.setattr(devices, "found", lambda: tuple(gpus))
    monkeypatch.setattr(devices, "_has_nodes", lambda: bool(gpus))
    monkeypatch.setattr(devices, "cuda_of_torch", lambda: "13.0")
    return gpus


def test_a_host_with_gpus_uses_all_that_are_new_enough(host: list[Device]) -> None:
    assert devices.choose(Settings()) == (H200, A100)


def test_a_host_without_gpus_judges_on_the_cpu_in_as_many_slots_as_set(host: list[Device]) -> None:
    host.clear()
    assert devices.choose(Settings(slots=3)) == (CPU, CPU, CPU)


def test_the_cpu_can_be_asked_for_beside_gpus(host: list[Device]) -> None:
    assert devices.choose(Settings(device="cpu", slots=2)) == (CPU, CPU)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [(("1",), (A100,)), (("GPU-1a2b",), (H200,)), (("1a2b3",), (H200,)), (("1", "0", "1"), (A100, H200))],
)
def test_gpus_are_chosen_by_index_or_by_the_beginning_of_their_uuid(
    host: list[Device], wanted: tuple[str, ...], chosen: tuple[Device, ...]
) -> None:
    assert devices.choose(Settings(gpus=wanted)) == chosen


@pytest.mark.parametrize(
    ("wanted", "words"), [(("7",), "names 0 GPUs"), (("GPU-",), "names 0 GPUs"), (("2",), "older than")]
)
def test_a_gpu_that_is_not_there_or_too_old_is_named(host: list[Device], wanted: tuple[str, ...], words: str) -> None:
    with pytest.raises(OperatorError, match=words):
        devices.choose(Settings(gpus=wanted))


def test_only_old_gpus_are_refused_with_what_to_type(host: list[Device]) -> None:
    host[:] = [V100]
    with pytest.raises(OperatorError, match=r"Tesla V100 \(7.0\)") as raised:
        devices.choose(Settings())
    assert "--device cpu" in str(raised.value)


def test_asking_for_a_gpu_where_there_is_none_fails(host: list[Device]) -> None:
    host.clear()
    with pytest.raises(OperatorError, match="no NVIDIA GPU"):
        devices.choose(Settings(device="cuda"))


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_named_where_there_is_none_is_no_word_for_the_cpu(host: list[Device], device: str) -> None:
    host.clear()
    with pytest.raises(OperatorError, match="gpus names 0, GPU-5c2f6d9c, and this host has no NVIDIA GPU") as raised:
        devices.choose(Settings.model_validate({"device": device, "gpus": ("0", "GPU-5c2f6d9c")}))
    assert "--device cpu, without --gpu" in str(raised.value)


def test_the_cpu_and_a_gpu_cannot_both_be_asked_for(host: list[Device]) -> None:
    for gpus in (host[:], []):
        host[:] = gpus
        with pytest.raises(OperatorError, match='device is "cpu", and gpus names 1'):
            devices.choose(Settings(device="cpu", gpus=("1",)))


def test_a_torch_without_cuda_beside_a_gpu_is_not_passed_over_in_silence(
    host: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cuda_of_torch", lambda: None)
    with pytest.raises(OperatorError, match="build for CPUs"):
        devices.choose(Settings())


def test_the_cuda_version_of_torch_is_read_without_importing_it() -> None:
    import torch

    assert devices.cuda_of_torch() == torch.version.cuda


def test_a_device_survives_the_way_to_its_judge() -> None:
    assert Device.from_json(H200.as_json()) == H200


def test_a_cell_is_shown_the_node_of_its_own_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert [node.name for node in H200.nodes] == ["nvidia3", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools"]
    assert CPU.nodes == ()


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ({"gpu": "B200"}, "it requires B200, this host has NVIDIA H200; it requires B200, this host has NVIDIA A100"),
        ({"min_capability": "10.0"}, "compute capability 10.0, NVIDIA H200 has 9.0"),
        ({"min_memory_gib": 500}, "500 GiB of device memory, NVIDIA H200 has 141"),
        ({"gpu": "A100", "min_memory_gib": 100}, "requires A100"),
    ],
)
def test_what_no_device_can_serve_is_refused_in_words(requires: dict[str, object], words: str) -> None:
    reason = devices.refusal(Requirements.model_validate(requires), (H200, A100))
    assert reason is not None
    assert words in reason


@pytest.mark.parametrize(
    "requires",
    [{}, {"gpu": "h200"}, {"gpu": "A100", "min_memory_gib": 40}, {"min_capability": "9.0"}, {"gpus": 1}],
)
def test_what_one_device_can_serve_is_not_refused(requires: dict[str, object]) -> None:
    assert devices.refusal(Requirements.model_validate(requires), (H200, A100)) is None


def test_a_cpu_serves_what_asks_for_no_gpu() -> None:
    assert devices.refusal(Requirements(), (CPU,)) is None
    assert "judges on the CPU" in (devices.refusal(Requirements(gpu="H200"), (CPU,)) or "")
    assert "judges on the CPU" in (devices.refusal(Requirements(min_memory_gib=1), (CPU,)) or "")
    wanted = Requirements(gpu="H200", min_capability="9.0", min_memory_gib=40)
    assert "a GPU (H200, compute capability 9.0, 40 GiB)," in (devices.refusal(wanted, (CPU,)) or "")
    assert "a GPU (compute capability 9.0)," in (devices.refusal(Requirements(min_capability="9.0"), (CPU,)) or "")


@pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="this host has a GPU")
def test_nvml_without_a_driver_is_our_fault_and_says_what_to_try() -> None:
    with pytest.raises(HarnessError, match=r"no NVIDIA driver answers: .*NVML") as raised:
        devices.found()
    assert "--device cpu" in str(raised.value)


def test_a_kernels_own_mistakes_do_not_make_the_gpu_sick() -> None:
    assert not any(map(is_the_gpus_fault, (13, 31, 43, 45)))
    assert all(map(is_the_gpus_fault, (48, 63, 74, 79, 94, 95, 119)))


def test_a_cpu_has_no_telemetry() -> None:
    telemetry = Telemetry(CPU)
    telemetry.require_healthy()
    assert telemetry.clocks() == {}


@pytest.mark.skipif(not Path("/usr/bin/lscpu").exists(), reason="no lscpu")
def test_a_processor_that_goes_by_numbers_has_the_name_that_lscpu_knows(tmp_path: Path) -> None:
    """As ARM's do: their /proc/cpuinfo has no name."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n", "ascii")
    assert cpu_name(cpuinfo)
    assert cpu_name(cpuinfo) == cpu_name()
