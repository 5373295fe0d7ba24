"""The `cuda` backend up to the launch: everything that needs no GPU. NVRTC is looked for on the module path too."""

from __future__ import annotations

import ctypes
import json
import math
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from daemon.executor.backends import cuda
from daemon.executor.backends._cubin import demangle, entry_symbols, split_list
from daemon.executor.backends._cuda_arguments import Packer, bfloat16_bits, half_bits
from daemon.executor.backends._cuda_driver import Attribute, Config, attributes_of
from daemon.executor.backends._cuda_limits import Launch, Limits, require_possible
from daemon.executor.backends._cuda_options import architecture, check
from daemon.executor.backends._cuda_probe import Parameter
from daemon.executor.backends._cuda_source import choose_kernel, find_kernels
from daemon.executor.backends._cuda_toolkit import include_folders, nvrtc_library
from daemon.executor.source import KernelFault, Source

COMPILERS = [
    pytest.param(
        "nvrtc", marks=pytest.mark.skipif(nvrtc_library() is None, reason="no NVRTC: pip install nvidia-cuda-nvrtc")
    ),
    pytest.param("nvcc", marks=pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")),
]
SCALE = """
#include <cuda_fp16.h>
namespace ns {
typedef float real;
enum Mode { FAST, EXACT };
template <typename T, int N>
__global__ void __launch_bounds__(256, 2) scale(const T* __restrict__ x, T out[], const T f, unsigned n, size_t m,
                                                Mode mode, real /* the, last */ last = 1.0f) {
  if (threadIdx.x < n) out[threadIdx.x] = x[threadIdx.x] * f * T(N);
}
}  // namespace ns
// __global__ void commented(int n) {}
#define MAKE(name) __global__ void name(float* o) { *o = 1; }
MAKE(made)
extern "C" {
__global__ void twice(const float* x, float* out, int n, __half h, bool b, long long q) { out[0] = 2.0f * x[0]; }
}
static __global__ void hidden(float* o) { *o = 1; }
namespace { __global__ void unnamed(float* o) { *o = 2; } }
"""


def source_of(
    tmp_path: Path, text: str, args: list[dict[str, Any]], architecture: str = "9.0", **metadata: Any
) -> Source:
    path = tmp_path / "bundle" / "kernel.cu"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return Source(
        path, path.parent, tmp_path / "artifacts", "candidate", "cpu", metadata, tuple(args), architecture=architecture
    )


def arg(name: str, kind: str = "tensor", **rest: Any) -> dict[str, Any]:
    return {"name": name, "is_meta": False, "type": kind, **rest}


POINTER = arg("o", dtype="float32", shape=[4])
SCALED = [
    arg("x"),
    arg("out"),
    arg("f", "float"),
    arg("n", "int"),
    arg("m", "int"),
    arg("mode", "int"),
    arg("l", "float"),
]
REST = "unsigned int,unsigned long,ns::Mode,float"
DOUBLED = [arg("x"), arg("out"), arg("n", "int"), arg("h", "float"), arg("b", "bool"), arg("q", "int")]


def test_kernels_are_found_past_comments_attributes_and_macros_with_their_namespaces() -> None:
    shown = [kernel.shown for kernel in find_kernels(SCALE)]
    assert shown == ["ns::scale<…>", "twice", "hidden", "unnamed"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"kernel_name": "twice"}, "twice"),
        ({"kernel_name": "scale<float, 4>"}, "ns::scale<float, 4>"),
        ({"kernel_name": "ns::scale<float, 4>"}, "ns::scale<float, 4>"),
        ({"name_expressions": ["&scale<float, 2>"]}, "ns::scale<float, 2>"),
        ({"kernel_name": "scale", "name_expressions": ["twice", "ns::scale<__half, 2>"]}, "ns::scale<__half, 2>"),
        ({"kernel_name": "made"}, "made"),
    ],
)
def test_the_contract_chooses_the_kernel(metadata: dict[str, Any], expected: str) -> None:
    assert choose_kernel(SCALE, metadata) == expected


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, ["kernel_name", "ns::scale<…>, twice, hidden, unnamed"]),
        ({"kernel_name": "thrice"}, ["no __global__ function 'thrice'", "twice"]),
        ({"kernel_name": "scale"}, ["template", "ns::scale<float>"]),
        ({"name_expressions": ["scale<float, 1>", "scale<float, 2>"]}, ["set metadata.kernel_name"]),
        ({"kernel_name": "scale", "name_expressions": ["scale<float, 1>", "scale<float, 2>"]}, ["could be"]),
    ],
)
def test_a_contract_that_leaves_the_kernel_open_is_told_what_there_is(
    metadata: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(KernelFault) as caught:
        choose_kernel(SCALE, metadata)
    assert caught.value.verdict == "compile_error"
    assert all(word in caught.value.message for word in words), caught.value.message


def test_options_are_accepted_in_every_spelling_and_each_compiler_gets_what_it_knows(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    given = ["-O3", "--use_fast_math", "-std=c++17", "-DX=1", "-D", "Y", "-D Z=2", "--maxrregcount", "64", "-lineinfo"]
    given += ["--expt-relaxed-constexpr", "-I", "sub", "-Xptxas=-v,-O2", "-Xptxas -dlcm=cg", "-arch=sm_90a", "-G"]
    options = check(given, tmp_path)
    both = ["--use_fast_math", "--std=c++17", "--define-macro=X=1", "--define-macro=Y", "--define-macro=Z=2"]
    both += ["--maxrregcount=64", "--generate-line-info"]
    include = f"--include-path={tmp_path}/sub"
    rest = ["--ptxas-options=-v,-O2", "--ptxas-options=-dlcm=cg", "--device-debug"]
    assert options.spelled("nvrtc") == [*both, include, *rest]
    assert options.spelled("nvcc") == ["--optimize=3", *both, "--expt-relaxed-constexpr", include, *rest]
    assert options.architecture == "sm_90a"


@pytest.mark.parametrize(
    "option",
    [
        "-Xcompiler=-fplugin=x.so",
        "-include /etc/passwd",
        "--pre-include=/etc/passwd",
        "-I/usr/include",
        "-I../other",
        "-o x",
        "-ccbin=/tmp/evil",
        "--options-file=x",
        "-Xptxas=--output-file=/tmp/x",
        "-Xptxas -v,-o,x",
        "-std=gnu++17",
        "-maxrregcount=x",
        "--use_fast_math=yes",
        "-keep",
        "kernel2.cu",
        "@file",
        "-D",
        "-lcudart",
        "--run",
    ],
)
def test_options_that_reach_outside_the_bundle_or_mean_nothing_are_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(KernelFault, match="not allowed"):
        check([option], tmp_path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], "sm_90"),
        (["-arch=sm_80"], "sm_90"),
        (["-arch=compute_90a"], "sm_90a"),
        (["-arch=sm_100"], "sm_100"),
        (["-arch=native"], "sm_90"),
        (["-gencode", "arch=compute_90a,code=sm_90a"], "sm_90a"),
    ],
)
def test_a_cubin_is_for_the_gpu_at_hand(tmp_path: Path, given: list[str], expected: str) -> None:
    assert architecture(check(given, tmp_path), "9.0") == expected


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    ("name", "args", "symbol", "types"),
    [
        ("ns::scale<float, 4>", SCALED, "_ZN2ns5scaleIfLi4E", f"float const*,float*,float,{REST}"),
        ("scale<__half,2+2>", SCALED, "_ZN2ns5scaleI6__halfLi4E", f"__half const*,__half*,__half,{REST}"),
        ("twice", DOUBLED, "twice", "float const*,float*,int,__half,bool,long long"),
        ("hidden", [POINTER], "_Z6hiddenPf", "float*"),
        ("unnamed", [POINTER], "_ZN", "float*"),
        ("made", [POINTER], "_Z4madePf", "float*"),
    ],
)  # fmt: skip
def test_the_compiler_tells_symbol_and_parameter_types(
    tmp_path: Path, compiler: str, name: str, args: list[dict[str, Any]], symbol: str, types: str
) -> None:
    source = source_of(tmp_path, SCALE, args, kernel_name=name, backend=compiler)
    built = cuda.build(source)
    assert built["symbol"].startswith(symbol)
    assert [parameter["type"] for parameter in built["parameters"]] == types.split(",")
    assert built["compiler"] == compiler
    assert built["architecture"] == "sm_90"
    kept = json.loads((source.artifacts / "kernel.json").read_text())
    assert kept["symbol"] in entry_symbols((source.artifacts / "kernel.cubin").read_bytes())


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_source_that_does_not_compile_is_answered_with_its_own_lines(tmp_path: Path, compiler: str) -> None:
    text = "#include <stdint.h>\n__global__ void f(float* o) {\n  int unused;\n  *o = oops;\n}\n"
    with pytest.raises(KernelFault) as caught:
        cuda.build(source_of(tmp_path, text, [POINTER], backend=compiler))
    assert caught.value.verdict == "compile_error"
    assert caught.value.message.startswith(f'{compiler}: kernel.cu(4): error: identifier "oops"')
    assert "evald" not in caught.value.message


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_name_only_the_compiler_can_refute_is_answered_with_the_kernels_there_are(
    tmp_path: Path, compiler: str
) -> None:
    text = "__device__ int helper() { return 1; }\n__global__ void f(float* o) { *o = helper(); }\n"
    with pytest.raises(KernelFault, match=r"no __global__ function 'helper' in the source; it has f"):
        cuda.build(source_of(tmp_path, text, [POINTER], kernel_name="helper", backend=compiler))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_overload_or_a_wrong_instance_is_told_as_the_compiler_tells_it(tmp_path: Path, compiler: str) -> None:
    text = "__global__ void f(float* o) {}\n__global__ void f(int* o) {}\n"
    with pytest.raises(KernelFault, match=r"'f' does not name one __global__ function: \w+"):
        cuda.build(source_of(tmp_path, text, [POINTER], backend=compiler))
    with pytest.raises(KernelFault, match=r"'ns::scale<Nothing, 1>' does not name one .*Nothing"):
        cuda.build(source_of(tmp_path, SCALE, SCALED, kernel_name="scale<Nothing, 1>", backend=compiler))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_headers_of_the_toolkit_the_bundle_and_of_habit_are_found(tmp_path: Path, compiler: str) -> None:
    text = """
#include <cuda_runtime.h>
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#include <mma.h>
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cuda/std/cstdint>
#include <stdint.h>
#include <cstdint>
#include <stdio.h>
#include <math.h>
#include <float.h>
#include <assert.h>
#include "own.cuh"
constexpr int twice(int n) { return 2 * n; }
__global__ void f(float* o, uint32_t n, int64_t m, std::uint8_t c, __nv_bfloat16 b) {
  __shared__ float part[twice(16)];
  part[threadIdx.x % 32] = OWN;
  if (n > UINT32_C) printf("%d", int(n));
  *o = fmaxf(-FLT_MAX, part[0]) + float(b) + sqrtf(M_PI);
}
"""
    text = text.replace("UINT32_C", "7u")
    if not any((folder / "crt" / "mma.h").is_file() for folder in include_folders()):
        pytest.skip("the wheels that torch comes with have not all of the toolkit's headers")
    args = [POINTER, arg("n", "int"), arg("m", "int"), arg("c", "int"), arg("b", "float")]
    source = source_of(tmp_path, text, args, backend=compiler)
    (source.folder / "own.cuh").write_text("#define OWN 3.0f\n")
    built = cuda.build(source)
    types = [parameter["type"] for parameter in built["parameters"]]
    assert (types[1], types[3:]) == ("unsigned int", ["unsigned char", "__nv_bfloat16"])
    assert built["parameters"][2]["size_bytes"] == 8


@pytest.mark.skipif(nvrtc_library() is None, reason="no NVRTC on this machine")
def test_without_nvcc_a_missing_header_may_be_one_that_comes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "nvcc", lambda: None)
    with pytest.raises(KernelFault, match=r"vector.*install the CUDA toolkit\)\n") as caught:
        cuda.build(source_of(tmp_path, "#include <vector>\n__global__ void f(float* o) {}\n", [POINTER]))
    assert caught.value.verdict == "compile_error"


@pytest.mark.skipif(nvrtc_library() is None or shutil.which("nvcc") is None, reason="needs NVRTC and nvcc")
def test_a_source_with_host_code_goes_to_nvcc_where_nothing_was_asked_for(tmp_path: Path) -> None:
    text = "#include <vector>\n__global__ void f(float* o) { *o = 1; }\nvoid run(float* o) { f<<<1, 1>>>(o); }\n"
    built = cuda.build(source_of(tmp_path, text, [POINTER]))
    assert built["compiler"] == "nvcc"
    assert any(note.startswith("nvrtc does not take this source") for note in built["notes"])
    assert cuda.build(source_of(tmp_path, "__global__ void f(float* o) {}", [POINTER]))["compiler"] == "nvrtc"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_arguments_that_are_not_the_kernels_are_named_with_both_lists(tmp_path: Path, compiler: str) -> None:
    text = "__global__ void f(const float* x, int n) {}\n"
    with pytest.raises(KernelFault, match=r"gives 1 arguments \(o\).* takes 2 \(float const\*, int\)"):
        cuda.build(source_of(tmp_path, text, [POINTER], backend=compiler))
    with pytest.raises(KernelFault, match=r"'o' is a tensor, but the kernel's parameter is int"):
        cuda.build(source_of(tmp_path, text, [arg("x"), POINTER], backend=compiler))
    text = "__global__ void f(float4 v) {}\n"
    with pytest.raises(KernelFault, match=r"float4 \(16 bytes\) cannot be made from a scalar of type float"):
        cuda.build(source_of(tmp_path, text, [arg("v", "float")], backend=compiler))


def packed(pairs: list[tuple[str, int, str, Any]]) -> bytes:
    parameters = [Parameter(kind, size) for kind, size, _, _ in pairs]
    args = [arg(f"a{index}", kind) for index, (_, _, kind, _) in enumerate(pairs)]
    return Packer("k", parameters, args).pack([value for *_, value in pairs])


class Tensor:
    def data_ptr(self) -> int:
        return 0x7F00_0000_1000


def test_scalars_are_packed_as_the_kernel_declares_them() -> None:
    data = packed(
        [
            ("char", 1, "int", -2),
            ("float const*", 8, "tensor", Tensor()),
            ("float", 4, "float", 0.5),
            ("double", 8, "float", 0.5),
            ("__half", 2, "float", 1.0),
            ("__nv_bfloat16", 2, "float", 1.0),
            ("bool", 1, "bool", True),
            ("unsigned long", 8, "int", 2**63),
            ("ns::Mode", 4, "int", -1),
            ("void*", 8, "tensor", None),
            ("float", 4, "int", 3),
        ]
    )
    fields = struct.unpack("@bPfdHH?QiPf", data)
    assert fields == (-2, 0x7F00_0000_1000, 0.5, 0.5, 0x3C00, 0x3F80, True, 2**63, -1, 0, 3.0)


def test_a_value_that_does_not_fit_is_named() -> None:
    with pytest.raises(KernelFault, match=r"argument a0 \(int\) cannot be 5000000000"):
        packed([("int", 4, "int", 5_000_000_000)])
    with pytest.raises(KernelFault, match=r"argument a0 \(unsigned int\) cannot be -1"):
        packed([("unsigned int", 4, "int", -1)])


def test_small_floats_are_rounded_as_the_hardware_does() -> None:
    assert [half_bits(value) for value in (0.0, -2.0, 1e9, -1e9)] == [0, 0xC000, 0x7C00, 0xFC00]
    assert [bfloat16_bits(value) for value in (1.0, -2.0, math.inf)] == [0x3F80, 0xC000, 0x7F80]
    assert bfloat16_bits(1.00390625) == 0x3F80  # halfway: to even
    assert bfloat16_bits(math.nan) == 0x7FC0


def test_a_tensor_of_another_element_size_than_the_pointers_is_noted() -> None:
    args = [arg("x", dtype="int64", shape=[4]), arg("y", dtype="float16", shape=[4])]
    notes = Packer("k", [Parameter("int*", 8), Parameter("float4 const*", 8)], args).notes
    assert notes == ["x is a int64 tensor, the kernel's parameter is int*"]


LIMITS = Limits(512, 128, (1024, 1024, 64), (2**31 - 1, 65535, 65535), 1024, 232_448)


def test_an_impossible_launch_names_every_limit_it_passes() -> None:
    require_possible("k", Launch.of({"grid": [8, 1, 1], "block": [512], "shared_mem": 100_000}), LIMITS)
    launch = Launch.of({"grid": [0, 70_000], "block": [32, 32], "shared_mem": 232_000, "cluster": [4, 3, 1]})
    with pytest.raises(KernelFault) as caught:
        require_possible("k", launch, LIMITS)
    message = caught.value.message
    assert caught.value.verdict == "runtime_error"
    for words in ("grid.x is 0", "grid.y is 70000", "1024 threads", "can have 512", "233024 bytes", "cluster.y, 3"):
        assert words in message, message


def test_the_drivers_structures_have_the_layout_of_cuda_h() -> None:
    assert (ctypes.sizeof(Config), Config.stream.offset, Config.attribute_count.offset) == (56, 32, 48)
    assert (ctypes.sizeof(Attribute), Attribute.value.offset) == (72, 8)
    given = attributes_of(Launch.of({"cluster": [2, 1, 1], "cooperative": True}))
    assert [(item.id, list(item.value[:3])) for item in given] == [(4, [2, 1, 1]), (2, [1, 0, 0])]


def test_names_are_demangled_and_lists_split_at_their_own_commas() -> None:
    assert demangle("_Z5scaleIfEvPT_i") == "void scale<float>(float*, int)"
    assert demangle("twice") == "twice"
    assert split_list("a<b, c>, d(e, f), g") == ["a<b, c>", "d(e, f)", "g"]
    assert split_list("") == []
    with pytest.raises(ValueError, match="ELF"):
        entry_symbols(b"text")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_instruction_of_another_architecture_is_answered_with_the_option_for_it(
    tmp_path: Path, compiler: str
) -> None:
    text = '__global__ void f(float* o) { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); *o = 1; }\n'
    with pytest.raises(KernelFault) as caught:
        cuda.build(source_of(tmp_path, text, [POINTER], backend=compiler))
    first, *_ = caught.value.message.splitlines()
    assert first.endswith('(compiled for sm_90; "compiler_options": ["-arch=sm_90a"], for one, has wgmma)')
    again = source_of(tmp_path, text, [POINTER], backend=compiler, compiler_options=["-arch=sm_90a"])
    assert cuda.build(again)["architecture"] == "sm_90a"
