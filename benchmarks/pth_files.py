"""Files of PyTorch made without it, sound and hostile, for the fuzzer and the tests."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {"f4": "Float", "f2": "Half", "f8": "Double", "i8": "Long", "i4": "Int", "i2": "Short"}
KINDS |= {"i1": "Char", "u1": "Byte", "b1": "Bool"}


class Named:
    """A function or class by its name alone, such as ``"torch.FloatStorage"``."""

    def __init__(self, name: str) -> None:
        self.module, _, self.name = name.rpartition(".")

    def __call__(self) -> None:
        """The pickler wants it; nobody calls it."""


class Call:
    """A call of a function by its name, done by whoever reads the pickle."""

    def __init__(self, function: str, *arguments: Any) -> None:
        self.function, self.arguments = Named(function), arguments


class Storage:
    """Numbers in a row, with what the pickle claims of them."""

    def __init__(
        self, key: str, numbers: np.ndarray, *, count: int | None = None, kind: str = ""
    ) -> None:
        self.key, self.numbers = key, numbers
        self.count = numbers.size if count is None else count
        self.kind = kind or KINDS[numbers.dtype.str[1:]]


def tensor(storage: Storage, shape: Any = None, strides: Any = (1,), *, offset: Any = 0) -> Call:
    """A tensor; without a shape, all of its storage."""
    shape = (storage.count,) if shape is None else shape
    arguments = storage, offset, shape, strides, False, Call("collections.OrderedDict")
    return Call("torch._utils._rebuild_tensor_v2", *arguments)


def sound() -> dict[str, Any]:
    """A checkpoint such as nnU-Net's, very small."""
    numbers = Storage("0", np.arange(24, dtype=np.float32))
    double = Call("numpy.dtype", "f8", False, True)
    state = {
        "convolution.weight": tensor(numbers, (2, 3, 4), (12, 4, 1)),
        "all_modules.0.weight": tensor(numbers, (2, 3, 4), (12, 4, 1)),
        "turned": tensor(numbers, (2, 3), (1, 6), offset=5),
        "seen": tensor(Storage("1", np.array([7])), (), ()),
        "mask": tensor(Storage("2", np.array([True, False]))),
    }
    number = Call(
        "numpy._core.multiarray.scalar", double, Call("_codecs.encode", "\0" * 8, "latin1")
    )
    return {
        "network_weights": state,
        "logging": {"losses": [number, 0.5, None, -3, 2**40]},
        "init_args": {"device": Call("torch.device", "cuda", 0), "configuration": "2d"},
        "inference_allowed_mirroring_axes": (0, 1),
    }


def pickled(value: Any, *, protocol: int = 2) -> tuple[bytes, dict[str, Storage]]:
    """The pickle, and the storages that it names."""
    file, storages = io.BytesIO(), {}

    class Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
        def persistent_id(self, one: Any) -> Any:
            if not isinstance(one, Storage):
                return None
            storages[one.key] = one
            return "storage", Named(f"torch.{one.kind}Storage"), one.key, "cpu", one.count

        def reducer_override(self, one: Any) -> Any:
            if isinstance(one, Named):
                return one.name
            return (one.function, one.arguments) if isinstance(one, Call) else NotImplemented

        def save_global(self, one: Any, name: str | None = None) -> Any:
            if not isinstance(one, Named):
                return super().save_global(one, name)
            self.write(f"c{one.module}\n{name}\n".encode())
            self.memoize(one)

    Pickler(file, protocol).dump(value)
    return file.getvalue(), storages


def zipped(
    value: Any,
    *,
    protocol: int = 2,
    order: str | None = "little",
    further: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """As ``torch.save`` writes today; a value of bytes is a pickle."""
    data, storages = (value, {}) if isinstance(value, bytes) else pickled(value, protocol=protocol)
    members = {"data.pkl": data, "version": b"3\n"}
    if order:
        members["byteorder"] = order.encode()
    for key, one in storages.items():
        kind = one.numbers.dtype.newbyteorder(">" if order == "big" else "<")
        members[f"data/{key}"] = one.numbers.astype(kind).tobytes()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, body in {**members, **(further or {})}.items():
            member = zipfile.ZipInfo(f"archive/{name}")  # of 1980, so that the bytes stay the same
            archive.writestr(member, body, compression)
    return file.getvalue()


def legacy(value: Any, **header: Any) -> bytes:
    """As ``torch.save`` wrote before 2020; further names replace parts of its header."""
    data, storages = pickled(value)
    parts = {"magic": MAGIC, "version": 1001, "about": {"little_endian": True}, **header}
    keys = parts.pop("keys", sorted(storages))
    head = b"".join(pickled(part)[0] for part in parts.values())
    numbers = b"".join(
        one.numbers.size.to_bytes(8, "little") + one.numbers.tobytes()
        for _, one in sorted(storages.items())
    )
    return head + data + pickled(keys)[0] + numbers
