"""Files of torch.save: valid ones are read, everything else is refused in one sentence."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moshi_phone.engines.moshi.checkpoint.torch_archive import NotTensors, read_tensors
from tests.support.torch_files import HOOKS, VALUES, Called, Global, Stored, tensor, write

VOICE = Path(__file__).parents[1] / "data" / "personaplex_voice.pt"


def test_reads_a_file_written_by_torch() -> None:
    tensors = read_tensors(VOICE)
    assert {name: (array.shape, str(array.dtype)) for name, array in tensors.items()} == {
        "embeddings": ((20, 1, 1, 64), "float32"),
        "cache": ((1, 17, 4), "int64"),
    }
    golden = np.load(VOICE.with_name("personaplex_golden.npz"))
    assert tensors["cache"][0, 1, 20 % 4] == golden["voice_codes"][20, 0]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("FloatStorage", VALUES),
        ("HalfStorage", VALUES.astype("<f2")),
        ("LongStorage", VALUES.astype("<i8") - 5),
        ("BFloat16Storage", (VALUES.view("<u4") >> 16).astype("<u2")),
    ],
)
def test_reads_each_type_bit_by_bit(tmp_path: Path, kind: str, values: np.ndarray[Any, Any]) -> None:
    path = write(tmp_path / "good.pt", {"it": tensor((4, 6), (6, 1), kind=kind)}, data=values.tobytes())
    expected = VALUES if kind == "BFloat16Storage" else values  # these few fit into 16 bits
    found = read_tensors(path)["it"]
    assert (found == expected.reshape(4, 6)).all()
    assert found.dtype == expected.dtype


def test_reads_views(tmp_path: Path) -> None:
    path = write(
        tmp_path / "views.pt",
        {
            "turned": tensor((6, 4), (1, 6)),
            "part": tensor((2, 2), (6, 2), offset=7),
            "one": tensor((), ()),
        },
    )
    found = read_tensors(path)
    assert (found["turned"] == VALUES.reshape(4, 6).T).all()
    assert found["part"].tolist() == [[7, 9], [13, 15]]
    assert found["one"] == 0
    assert all(
        array.flags.owndata or array.base is None or array.base.flags.owndata for array in found.values()
    )


def legacy(path: Path) -> Path:
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))
    return path


def big(path: Path) -> Path:
    return write(path, {"it": tensor()}, compression=zipfile.ZIP_DEFLATED)


def twice(path: Path) -> Path:
    write(path, {"it": tensor()})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("v/data/0", b"")
    return path


def cut(path: Path) -> Path:
    path.write_bytes(VOICE.read_bytes()[:-200])
    return path


def flipped(path: Path) -> Path:
    data = bytearray(VOICE.read_bytes())
    data[data.index(b"embeddings")] ^= 0x20
    path.write_bytes(data)
    return path


MEMO = b"\x80\x02}r" + struct.pack("<I", 0x7FFFFFFF) + b"."
HUGE = b"\x80\x02\x8a\x09" + b"\xff" * 8 + b"\x7f."


def bad(content: Any, **more: Any) -> Callable[[Path], Path]:
    return lambda path: write(path, content, **more)


def named(module: str, name: str, *arguments: Any) -> Callable[[Path], Path]:
    return bad({"it": Called(Global(module, name), *arguments)})


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (named("os", "system", "true"), "it names os.system, which no tensor needs"),
        (named("builtins", "eval", "1"), "it names builtins.eval"),
        (named("torch", "load", "x"), "it names torch.load"),
        (named("torch._utils", "_rebuild_parameter", 1), "it names torch._utils._rebuild_parameter"),
        (named("collections", "namedtuple", "a"), "it names collections.namedtuple"),
        (
            named("moshi_phone.engines.moshi.checkpoint.torch_archive", "_rebuild"),
            "it names moshi_phone.engines.moshi.checkpoint.torch_archive._rebuild",
        ),
        (bad({"it": OrderedDict(a=1)}), "expected no hooks|the instruction|expected a tensor"),
        (bad({"it": {1, 2}}), "names|instruction"),
        (bad({"it": 1.5}), "the instruction BINFLOAT, which no tensor needs"),
        (bad({"it": [1]}), "the instruction EMPTY_LIST"),
        (bad({"it": 7}), "expected a tensor for 'it', got a int"),
        (bad({"it": Global("torch", "FloatStorage")}), "expected a tensor for 'it', got a StorageType"),
        (bad({7: tensor()}), "expected tensors by name, got something else"),
        (bad(tensor()), "expected tensors by name"),
        (bad({"it": tensor((2, 3), (0, 1))}), "expected strides of at least 1, got (0, 1)"),
        (bad({"it": tensor((2, 3), (-3, 1))}), "expected strides of at least 1"),
        (bad({"it": tensor((-2, 3))}), "expected sizes of at least 1"),
        (bad({"it": tensor((0, 3))}), "expected sizes of at least 1"),
        (bad({"it": tensor((2, 3, 1))}), "with a stride each"),
        (bad({"it": tensor((1,) * 9, (1,) * 9)}), "with a stride each"),
        (bad({"it": tensor((5, 6), (6, 1))}), "reaches beyond its 24 values"),
        (bad({"it": tensor((4, 6), (6, 1), offset=1)}), "reaches beyond its 24 values"),
        (bad({"it": tensor(offset=-1)}), "expected sizes of at least 1"),
        (bad({"it": tensor((12, 12), (1, 1))}), "reaches beyond its 24 values"),  # six times the stored size
        (bad({"it": tensor((2, True))}), "expected whole numbers"),
        (bad({"it": tensor("ab")}), "with an offset, a size and a stride"),
        (bad({"it": tensor(length=23)}), "storage 0: expected 92 bytes, got 96"),
        (bad({"it": tensor(length=-1)}), "storage 0: expected -4 bytes"),
        (bad({"it": tensor(length=1 << 62)}), "storage 0: expected"),
        (bad({"it": tensor(key="../../etc/passwd")}), "expected a storage with a number"),
        (bad({"it": tensor(key="7")}), "its v/data/7 is missing"),
        (bad({"it": tensor(kind="UntypedStorage")}), "it names torch.UntypedStorage"),
        (bad({"it": tensor(hooks=1)}), "expected a plain tensor"),
        (bad({"it": Stored("module", "x")}), "it cannot be read"),
        (bad({"it": Called(HOOKS, 1)}), "it cannot be read"),
        (bad({"it": Called(Global("collections", "OrderedDict"), ())}), "expected no hooks"),
        (bad(MEMO), "counts more objects than it has"),
        (bad(HUGE), "a number of more than 64 bits"),
        (bad(b"\x80\x02}q\x00X\xff\xff\xff\x7fabc."), "it cannot be read"),
        (bad(b""), "it cannot be read"),
        (bad(b"garbage"), "it cannot be read|the instruction"),
        (bad(b"\x80\x02" + b"}" * 100_000 + b"."), "expected a pickle of at most 65,536 bytes"),
        (bad({"it": tensor()}, order=b"big"), "expected little-endian"),
        (big, "expected stored entries"),
        (twice, "no name twice"),
        (legacy, "no whole zip archive"),
        (cut, "no whole zip archive"),
        (flipped, "no whole zip archive"),
    ],
)
def test_refuses_everything_else(tmp_path: Path, make: Callable[[Path], Path], complaint: str) -> None:
    path = make(tmp_path / "bad.pt")
    with pytest.raises(NotTensors) as caught:
        read_tensors(path)
    assert any(part in str(caught.value) for part in complaint.split("|"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none.pt")
