from __future__ import annotations

import base64
import subprocess
import sys
import tracemalloc
import zlib
from typing import Any

import pytest
from contract_samples import data, fields, only, parsed, problems, tensor, with_args

from daemon.config import Limits
from daemon.contract import TensorData, bind_case, decode_tensor
from daemon.errors import BundleError

DATA = "kernel.io.args[0].tensor_spec.data"


def embedded(payload: bytes, **more: Any) -> TensorData:
    return TensorData.model_validate(data(payload, dtype="uint8", **more))


def document(shape: list[Any], dtype: str, content: dict[str, Any], **top: Any) -> dict[str, Any]:
    return with_args(tensor("x", shape, dtype, data=content), **top)


def test_plain_and_compressed_bytes_come_back_whole() -> None:
    payload = bytes(range(256)) * 5000
    plain = embedded(payload, shape=[len(payload)])
    packed = embedded(zlib.compress(payload), shape=[len(payload)], compress="zlib")
    assert decode_tensor(plain, 2_000_000) == payload
    assert decode_tensor(packed, 2_000_000) == payload


def test_white_space_in_the_base64_is_ignored() -> None:
    text = base64.encodebytes(bytes(300)).decode()
    assert "\n" in text
    assert decode_tensor(TensorData(data_b64=text, dtype="uint8", shape=(300,)), 300) == bytes(300)


def test_empty_tensors_are_legal() -> None:
    assert decode_tensor(embedded(b"", shape=[0]), 10) == b""
    assert decode_tensor(embedded(zlib.compress(b""), shape=[0], compress="zlib"), 10) == b""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (embedded(bytes(9), shape=[8]), "9 bytes"),
        (embedded(bytes(7), shape=[8]), "7 bytes"),
        (embedded(zlib.compress(bytes(9)), shape=[8], compress="zlib"), "more than the 8"),
        (embedded(zlib.compress(bytes(7)), shape=[8], compress="zlib"), "expands to 7"),
        (embedded(zlib.compress(bytes(8))[:-2], shape=[8], compress="zlib"), "cut off"),
        (embedded(zlib.compress(bytes(8)) + b"x", shape=[8], compress="zlib"), "after the end"),
        (embedded(b"no zlib!", shape=[8], compress="zlib"), "not a zlib"),
        (embedded(b"", shape=[8], compress="zlib"), "cut off"),
        (TensorData(data_b64="AAA", dtype="uint8", shape=(2,)), "cut off"),
        (TensorData(data_b64="AA-_", dtype="uint8", shape=(3,)), "standard alphabet"),
        (TensorData(data_b64="AA==AAAA", dtype="uint8", shape=(4,)), "not base64"),
        (TensorData(data_b64="ÄÄÄÄ", dtype="uint8", shape=(3,)), "ASCII"),
        (TensorData(data_b64="!!!!", dtype="uint8", shape=(3,)), "not base64"),
        (embedded(bytes(1001), shape=[1001]), "limit is 1000"),
    ],
)
def test_bytes_that_do_not_fit_the_shape_are_refused(content: TensorData, words: str) -> None:
    with pytest.raises(BundleError) as caught:
        decode_tensor(content, 1000)
    assert words in caught.value.problems[0].message


def test_a_payload_without_a_shape_of_its_own_needs_a_bound_case() -> None:
    with pytest.raises(ValueError, match="bind a case"):
        decode_tensor(TensorData(data_b64="AAAA"), 10)


def test_a_zlib_bomb_is_refused_in_constant_memory() -> None:
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    bomb = b"".join(packer.compress(block) for _ in range(256)) + packer.flush()
    wrong_size = embedded(bomb, shape=[1 << 20], compress="zlib")
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match="expands to more than the 1048576 bytes"):
            decode_tensor(wrong_size, 1 << 21)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


def test_checking_a_large_embedded_tensor_keeps_none_of_it() -> None:
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block) for _ in range(128)) + packer.flush()
    contract = document([128 << 20], "uint8", data(packed, compress="zlib"))
    tracemalloc.start()
    try:
        assert problems(contract) == ()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 << 20


def test_embedded_tensors_are_checked_while_parsing() -> None:
    assert problems(document([2], "bfloat16", data(bytes(4)))) == ()
    assert problems(document([3], "float8_e5m2", data(bytes(3), shape=[3], dtype="float8_e5m2"))) == ()
    assert fields(document([2], "float32", data(bytes(7)))) == [f"{DATA}.data_b64"]
    assert fields(document([2], "float32", data(b"x", compress="gzip"))) == [f"{DATA}.compress"]


def test_shape_and_dtype_of_data_and_tensor_spec_must_agree() -> None:
    assert fields(document([2], "float32", data(bytes(8), dtype="int32"))) == [f"{DATA}.dtype"]
    assert fields(document([2], "int8", data(bytes(4), shape=[4]))) == [f"{DATA}.shape"]
    assert fields(document(["N"], "int8", data(bytes(4), shape=[4]), cases=[{"name": "a", "bind": {"N": 4}}])) == []


def test_embedded_data_cannot_follow_a_shape_that_changes() -> None:
    cases = [{"name": "a", "bind": {"N": 4}}, {"name": "b", "bind": {"N": 5}}]
    assert "changes between cases" in only(document(["N"], "int8", data(bytes(4)), cases=cases)).message


def test_binding_gives_the_payload_its_shape_and_dtype() -> None:
    contract = document(["N", 2], "int16", data(bytes(8)), cases=[{"name": "a", "bind": {"N": 2}}])
    request = parsed(contract).request
    io = bind_case(request, request.cases[0]).candidate.io
    assert io is not None
    spec = io.args[0].tensor_spec
    assert spec is not None
    assert spec.data is not None
    assert (spec.data.shape, spec.data.dtype) == ((2, 2), "int16")
    assert decode_tensor(spec.data, spec.nbytes) == bytes(8)


def test_all_embedded_tensors_together_are_capped() -> None:
    args = [tensor(name, [100], "int8", data=data(bytes(100))) for name in ("x", "y")]
    assert problems(with_args(*args), limits=Limits(decompressed_bytes=200)) == ()
    assert "199" in only(with_args(*args), limits=Limits(decompressed_bytes=199)).message


def test_the_room_imports_no_torch_and_no_numpy() -> None:
    code = "import sys, daemon.contract; print(sorted({'torch', 'numpy'} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert answer.stdout.strip() == "[]"
