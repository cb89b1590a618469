r"""Damaged and hostile files at every door of the library, for as long as you like.

    python benchmarks/fuzz.py --minutes 60 --out findings
    python benchmarks/fuzz.py --door nifti --case 4711

Each case is a sound file with something done to it, made from its number alone, so that a finding
can be made again. A door must open it or refuse it with an error of the library, in seconds and
without much memory. All else is a finding: another exception, values outside of HU, a process that
dies, hangs or grows. Findings of one kind are listed once, with the number of the first case, and
the file is kept in ``--out``. The cases run in a process of their own. Linux and macOS.
"""

import argparse
import collections
import contextlib
import gzip
import io as streams
import json
import pickle
import random
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SECONDS = 20.0
GROWTH_MB = 800
ADDRESS_SPACE = 24 * 2**30
CASES = 500  # before a fresh process
NUMBERS = (0, 1, 2, 7, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WORDS = (
    b"NaN", b"Infinity", b"-1", b"1e309", b"9" * 5000, b"null", b"true", b'""', b"[" * 3000,
    b'{"a":' * 3000, b"\0", b"\xff\xfe", b"=1+1", b"\x1b[2J", b"../../x", b"0.0",
    b"-0", b"[]", b"{}",
)  # fmt: skip

VALUES = (
    None, True, False, 0, 1, 2, 3, -1, 0.5, 1e-9, 1e300, 7, 255, 256, 10**5, 2**31, 2**63, 10**30,
    "", "a", "3d_fullres", "\x00", [], {}, [[]], [0], [1, 2], [1, 2, 3], [1, 1, 1], [10**9] * 3,
    [[1, 1, 1]] * 2, {"0": None}, {"a": {"a": 1}}, [0.0, 0.0, 0.0], [1e-9] * 3, [1] * 40,
    "../plans.json", "/plans.json", "fold_0/../../plans.json", "fold_1/checkpoint_final.pth",
    "plans.json", "link", "pipe", "stored",
)  # fmt: skip

BEFORE = "model_final_checkpoint.model"


class Door(NamedTuple):
    """A way into the library.

    Attributes:
        name: Of the file that is damaged.
        make: The bytes of a sound one.
        open: What is done with the damaged one.
        finish: What is done to the bytes after the damage.
    """

    name: str
    make: Callable[[], bytes]
    open: Callable[[Path], None]
    finish: Callable[[bytes], bytes] = bytes


class Result(NamedTuple):
    """How a case ended: ``"opened"``, ``"refused"`` or the kind of a finding, with details."""

    outcome: str
    details: str = ""


def main() -> None:
    """Runs cases until the time is over, or a single one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("findings"))
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--door", choices=DOORS, nargs="+", default=[*DOORS])
    parser.add_argument("--case", type=int, help="only this one, with its whole traceback")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.door, options.seed)
    elif options.case is not None:
        for door in options.door:
            print(door, *ran(door, options.case), sep="\n")
    elif findings := run(options):
        print(f"{len(findings)} kinds of findings, files in {options.out}")
        sys.exit(1)


def run(options: argparse.Namespace) -> dict[str, str]:
    """All findings, each said as it comes; a table of doors and outcomes at the end."""
    end = time.monotonic() + 60 * options.minutes
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    findings: dict[str, str] = {}
    case = options.seed
    while time.monotonic() < end:
        for door, number, result in watched(options.door, case, end):
            case = number + 1
            kind = result.outcome
            counts[door][kind if kind in ("opened", "refused") else "findings"] += 1
            if kind not in ("opened", "refused") and f"{door}: {kind}" not in findings:
                findings[f"{door}: {kind}"] = result.details
                print(f"{door} {number}: {kind}\n{result.details}", flush=True)
                keep(door, number, options.out)
    print("| Door | cases | opened | refused | findings |\n| --- | --- | --- | --- | --- |")
    for door, row in sorted(counts.items()):
        cells = [sum(row.values()), *(row[name] for name in ("opened", "refused", "findings"))]
        print(f"| {door} | {' | '.join(map(str, cells))} |")
    return findings


def watched(doors: Sequence[str], first: int, end: float) -> Iterator[tuple[str, int, Result]]:
    """What a process makes of some cases; one that falls silent is ended."""
    command = [sys.executable, __file__, "--work", "--seed", str(first), "--door", *doors]
    began = "", first
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout
        selector.register(process.stdout, selectors.EVENT_READ)
        patience = 300.0  # until the library is imported
        while time.monotonic() < end:
            line = process.stdout.readline() if selector.select(patience) else None
            if not line and not began[0]:
                raise SystemExit(f"no case began: run {' '.join(command)} to see why")
            if line is None:
                yield *began, Result("hangs", f"silent for {patience:.0f} s")
            if not line:
                break
            patience = SECONDS
            word, door, number, *rest = json.loads(line)
            began = door, number
            if word == "ended":
                yield door, number, Result(*rest)
        process.kill()
    if process.returncode > 0 or process.returncode < -9 or process.returncode in (-6, -7, -8):
        yield *began, Result(f"process ended with {process.returncode}")


def work(doors: Sequence[str], first: int) -> None:
    """Cases one after the other; what begins and how it ended, a line each."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for door in doors:
        sound = ran(door, None)  # imports and caches are not counted as growth of a case
        if sound.outcome != "opened":
            raise SystemExit(f"the sound file of {door} is not opened: {sound}")
    for number in range(first, first + CASES):
        door = doors[number % len(doors)]
        print(json.dumps(["began", door, number]), flush=True)
        before = peak_mb()
        result = ran(door, number)
        if peak_mb() - before > GROWTH_MB:
            result = Result("grows", f"{peak_mb() - before:.0f} MB more, then {result.outcome}")
        print(json.dumps(["ended", door, number, *result]), flush=True)


def peak_mb() -> float:
    """The most memory that this process had so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def ran(door: str, number: int | None) -> Result:
    """How one case ends; without a number, how the sound file does."""
    from lungmask_jax.errors import LungmaskError

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, DOORS[door].name)
        path.write_bytes(damaged(door, number))
        try:
            DOORS[door].open(path)
        except LungmaskError as error:
            return Result("refused", str(error))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            return Result(kind, "".join(traceback.format_exception(error)[-8:]))
    return Result("opened")


def keep(door: str, number: int, out: Path) -> None:
    """The file of a finding, for whoever mends it."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{door}_{number}_{DOORS[door].name}").write_bytes(damaged(door, number))


def damaged(door: str, number: int | None) -> bytes:
    """The file of a case."""
    data = bytearray(DOORS[door].make())
    if number is not None:
        choose = random.Random(f"{door} {number}")
        for _ in range(choose.choice((1, 1, 1, 2, 4, 16))):
            choose.choice(DAMAGES)(data, choose)
    return DOORS[door].finish(bytes(data))


def packed(data: bytes) -> bytes:
    """As gzip."""
    return gzip.compress(data, 1)


def with_sums(data: bytes) -> bytes:
    """A PNG whose checksums are right whatever its chunks hold, as far as they can be told."""
    at, out = 8, [data[:8]]
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + size]
        out.append(data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big"))
        at += 12 + size
    return b"".join(out)


def place(data: bytearray, choose: random.Random) -> int:
    """Somewhere; headers are damaged as often as all the rest."""
    return choose.randrange(max(1, min(len(data), choose.choice((64, 512, len(data))))))


def flip(data: bytearray, choose: random.Random) -> None:
    """One bit."""
    if data:
        data[place(data, choose)] ^= 1 << choose.randrange(8)


def number(data: bytearray, choose: random.Random) -> None:
    """A number of 1 to 8 bytes, or a special float, in either order of bytes."""
    at, order = place(data, choose), choose.choice("<>")
    size = choose.choice((1, 2, 4, 8))
    if size >= 4 and choose.random() < 0.5:
        value = choose.choice((np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-30, 1e30, -0.0))
        piece = np.array(value, f"{order}f{size}").tobytes()
    else:
        piece = np.array(choose.choice(NUMBERS) % 2 ** (8 * size), f"{order}u{size}").tobytes()
    data[at : at + size] = piece[: len(data) - at]


def cut(data: bytearray, choose: random.Random) -> None:
    """The end is missing."""
    del data[place(data, choose) :]


def leave_out(data: bytearray, choose: random.Random) -> None:
    """A piece is missing."""
    at = place(data, choose)
    del data[at : at + choose.choice((1, 4, 100, 4096))]


def repeat(data: bytearray, choose: random.Random) -> None:
    """A piece is there several times."""
    at = place(data, choose)
    data[at:at] = data[at : at + choose.choice((1, 8, 128))] * choose.choice((1, 2, 50))


def blank(data: bytearray, choose: random.Random) -> None:
    """A piece is zeros, or ones."""
    at, size = place(data, choose), choose.choice((4, 16, 256))
    piece = bytes([choose.choice((0, 255))]) * size
    data[at : at + size] = piece[: len(data) - at]


def insert(data: bytearray, choose: random.Random) -> None:
    """A word that some reader may understand."""
    at = place(data, choose)
    data[at:at] = choose.choice(WORDS)


def replace_number(data: bytearray, choose: random.Random) -> None:
    """In a text, a word takes the place of a number."""
    digits = [at for at, byte in enumerate(data[:20_000]) if chr(byte).isdigit()]
    if digits:
        at = choose.choice(digits)
        data[at : at + 1] = choose.choice(WORDS)


def replace_value(data: bytearray, choose: random.Random) -> None:
    """In a text of JSON, one value is another, or gone; it stays JSON."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    at = value
    while isinstance(at, dict | list) and at:
        key = choose.choice([*at] if isinstance(at, dict) else range(len(at)))
        if not isinstance(at[key], dict | list) or choose.random() < 0.2:
            if choose.random() < 0.2:
                del at[key]
            else:
                at[key] = choose.choice(VALUES)
            break
        at = at[key]
    data[:] = json.dumps(value).encode()


DAMAGES = (flip, number, cut, leave_out, repeat, blank, insert, replace_number, replace_value)


def scan() -> np.ndarray:
    """HU of a very small chest, ``(slices, rows, columns)`` int16."""
    hu = np.full((3, 16, 20), -1000, np.int16)
    hu[:, 2:14, 2:18] = 40
    hu[:, 4:12, 4:9] = hu[:, 4:12, 11:16] = -850
    hu[:, 3, 9:11] = 700
    return hu + np.arange(hu.size, dtype=np.int16).reshape(hu.shape) % 20


def nifti_bytes() -> bytes:
    """A sound NIfTI-1 file."""
    import nibabel

    image = nibabel.Nifti1Image(scan().transpose(2, 1, 0), np.diag([-2.0, -2, 5, 1]))
    return bytes(image.to_bytes())


def mask_bytes() -> bytes:
    """A sound mask."""
    import nibabel

    lungs = (scan() // 25 == -34).astype(np.uint8).transpose(2, 1, 0)
    return bytes(nibabel.Nifti1Image(lungs, np.diag([-2.0, -2, 5, 1])).to_bytes())


def nifti2_bytes() -> bytes:
    """A sound NIfTI-2 file."""
    import nibabel

    image = nibabel.Nifti2Image(scan().transpose(2, 1, 0), np.diag([-2.0, -2, 5, 1]))
    return bytes(image.to_bytes())


def image_bytes(suffix: str) -> bytes:
    """A sound picture of a slice."""
    import cv2

    levels = (np.clip(scan()[0], -1000, 275) + 1000) / 5
    return cv2.imencode(suffix, levels.astype(np.uint8))[1].tobytes()


def dicom_bytes() -> bytes:
    """A sound DICOM file."""
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = "1.2.3.4", "1.2.840.10008.1.2.1"
    one = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4"
    one.Modality, one.PatientID, one.SeriesInstanceUID, one.SliceThickness = "CT", "P", "1.2.3", 5
    one.ImagePositionPatient, one.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    one.PixelSpacing, one.SamplesPerPixel, one.PhotometricInterpretation = [2, 2], 1, "MONOCHROME2"
    one.Rows, one.Columns, one.PixelRepresentation = 16, 20, 0
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.RescaleSlope, one.RescaleIntercept = 15, 1, -1024
    one.PixelData = (scan()[0].astype(int) + 1024).astype("<u2").tobytes()
    file = streams.BytesIO()
    one.save_as(file)
    return file.getvalue()


def bundle_bytes() -> bytes:
    """A sound bundle of a tiny network."""
    import jax

    from lungmask_jax import weights
    from lungmask_jax.spec import ModelSpec, SegmenterSpec

    if not hasattr(bundle_bytes, "made"):
        spec = SegmenterSpec(target="lungs", model=ModelSpec(options={"channels": [2, 4]}))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "tiny.npz")
            weights.save(path, spec, *weights.create_model(spec.model).init(jax.random.key(0)))
            bundle_bytes.made = path.read_bytes()  # type: ignore[attr-defined]
    return bundle_bytes.made  # type: ignore[attr-defined, no-any-return]


def zipped_pickle(data: bytes) -> bytes:
    """A zip of PyTorch with this pickle and sound numbers."""
    import pth_files

    _, storages = pth_files.pickled(pth_files.sound())
    numbers = {f"data/{key}": one.numbers.tobytes() for key, one in storages.items()}
    return pth_files.zipped(data, further=numbers)


def pth_bytes(form: str) -> bytes:
    """A sound file of PyTorch: ``"pickled"`` alone, ``"zipped"`` or ``"legacy"``."""
    import pth_files

    made = getattr(pth_files, form)(pth_files.sound())
    return made[0] if isinstance(made, tuple) else made  # type: ignore[no-any-return]


def spec_bytes() -> bytes:
    """A sound spec."""
    from lungmask_jax.spec import PRESETS, SegmenterSpec, to_json

    return to_json(SegmenterSpec(target="infection", preprocess=PRESETS["infection"])).encode()


def recipe_bytes() -> bytes:
    """A sound recipe."""
    return (
        b'target = "lungs"\nmodel = "unet"\nchannels = [4, 8]\nsteps = 9\nlearning-rate = 0.002\n'
        b'[preprocess]\nwindow = [-1100.0, 250.0]\nsize = [32, 32]\n[setting]\nschedule = "poly"\n'
    )


def open_scan(path: Path) -> None:
    """A CT; its values must be HU."""
    from lungmask_jax import io

    volume = io.load(path, window=(-1000, 275))
    if not (volume.array.min() >= -1024 and volume.array.max() <= 3071):
        raise ValueError(f"values from {volume.array.min()} to {volume.array.max()} are not HU")
    if not np.isfinite(volume.affine).all():
        raise ValueError(f"an affine {volume.affine.tolist()}")


def open_folder(path: Path) -> None:
    """A CT in a folder of two sound slices and the damaged one."""
    if shutil.disk_usage(path.parent).free < 1e9:
        raise SystemExit("expected 1 GB of free disk for temporary files")
    for place_mm in (5, 10):
        import pydicom

        one = pydicom.dcmread(streams.BytesIO(dicom_bytes()))
        one.ImagePositionPatient[2], one.SOPInstanceUID = place_mm, f"1.2.3.{place_mm}"
        one.save_as(path.with_name(f"{place_mm}.dcm"))
    open_scan(path.parent)


def open_mask(path: Path) -> None:
    """A mask."""
    from lungmask_jax import io

    io.load_mask(path)


def open_bundle(path: Path) -> None:
    """A bundle; its numbers must be finite."""
    import jax

    from lungmask_jax import weights

    bundle = weights.load(path)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(bundle.params)):
        raise ValueError("parameters that are not finite")


def open_pth(path: Path) -> None:
    """A file of PyTorch, all of whose numbers are looked at."""
    import jax

    from lungmask_jax import weights

    for leaf in jax.tree.leaves(weights.read_pth(path)):
        np.asarray(leaf).sum() if isinstance(leaf, np.ndarray) else str(leaf)


def open_model(path: Path) -> None:
    """A model of nnU-Net, of which one file is damaged, or its zip."""
    import nnunet_files

    open_network(path if path.suffix == ".zip" else completed(path, nnunet_files.model()))


def completed(path: Path, files: Mapping[str, bytes]) -> Path:
    """The folder of a model, whose file of this name is the damaged one."""
    folder = path.parent / "model"
    for name, data in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.read_bytes() if file.name == path.name else data)
    return folder


def open_network(path: Path, **labels: Any) -> None:
    """A model of nnU-Net up to what its network sees of a scan; its numbers must be finite."""
    import jax

    from lungmask_jax import preprocess, weights

    bundle = weights.read_nnunet(path, **labels)
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(bundle.params)):
        raise ValueError("parameters that are not finite")
    assert bundle.spec.volume
    preprocess.network_volume(scan(), (5.0, 2.0, 2.0), bundle.spec.volume)


def open_before(path: Path) -> None:
    """A model of nnU-Net v1, of which one file is damaged."""
    import nnunet_files

    folder = completed(path, nnunet_files.model_before())
    open_network(folder, target="lungs", labels={"1": 1, "2": 2})


def open_layout(path: Path) -> None:
    """A folder of a model, made from a list of its files, wherever that lies in it."""
    import nnunet_files

    folder = path.parent / "model"
    folder.mkdir()
    with contextlib.suppress(ValueError, TypeError, OSError, RecursionError, LookupError):
        rows = json.loads(path.read_bytes())
        inside = [
            row for row in rows if not str(row[0]).startswith("/") and ".." not in str(row[0])
        ]
        nnunet_files.put(inside, folder)
    open_network(folder)


def zipped_layout(data: bytes) -> bytes:
    """The zip of such a list, or what there is where it is none."""
    import nnunet_files

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        try:
            return nnunet_files.packed(json.loads(data))
        except (ValueError, TypeError, AttributeError, RecursionError):
            return data


def pickled_plans(data: bytes) -> bytes:
    """The pickle of values from JSON, whose keys may be numbers; text that is none stays."""
    try:
        value = json.loads(data, object_pairs_hook=numbered)
        return pickle.dumps(value, protocol=2)
    except (ValueError, RecursionError):
        return data


def numbered(pairs: list[tuple[str, Any]]) -> dict[Any, Any]:
    """A dict, in which keys of digits are numbers."""
    return {int(key) if key.isdecimal() and len(key) < 20 else key: one for key, one in pairs}


def checkpoint_of(data: bytes) -> bytes:
    """The checkpoint of values from JSON, with sound tensors where none are given."""
    import nnunet_files
    import pth_files

    try:
        value = json.loads(data)
        weights = value["network_weights"]
        if isinstance(weights, dict):
            value["network_weights"] = nnunet_files.stored(nnunet_files.tensors()) | weights
        return pth_files.zipped(value)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return data


def model_bytes(name: str) -> bytes:
    """A file of a sound model of nnU-Net, or the zip of all."""
    import nnunet_files

    files = nnunet_files.model()
    if name in files:
        return files[name]
    packed = streams.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return packed.getvalue()


def layout_bytes() -> bytes:
    """The list of a sound model's files."""
    import nnunet_files

    return json.dumps(nnunet_files.layout()).encode()


def checkpoint_bytes() -> bytes:
    """The plain values of a sound checkpoint."""
    return json.dumps(
        {
            "network_weights": {},
            "init_args": {"configuration": "3d_fullres"},
            "trainer_name": "nnUNetTrainer",
            "current_epoch": 9,
            "inference_allowed_mirroring_axes": [0, 2],
        }
    ).encode()


def before_bytes(ending: str) -> bytes:
    """A file of a sound model of nnU-Net v1."""
    import nnunet_files

    return nnunet_files.model_before()[f"fold_0/{BEFORE}{ending}"]


def plans_before_bytes() -> bytes:
    """What is pickled beside it, as JSON."""
    value = pickle.loads(before_bytes(".pkl"))
    return json.dumps(value, default=np.ndarray.tolist).encode()


def open_spec(path: Path) -> None:
    """A spec, and what training would make of it."""
    from lungmask_jax.spec import SegmenterSpec, from_json

    from_json(path.read_text("utf-8", "replace"), SegmenterSpec)


def open_recipe(path: Path) -> None:
    """A recipe, as ``lungmask-jax train`` reads it, up to the network."""
    from lungmask_jax.cli import _options, _recipe

    words = ["train", "--images", "a", "--masks", "b", "-o", "x.npz", "--recipe", str(path)]
    _recipe.recipe(_options.parsed(words))


def open_table(path: Path) -> None:
    """A table of measures that gets one more row."""
    from lungmask_jax import records

    records.update_csv(path, [{"scan": "a", "lungs_ml": 1.0}])


def open_metadata(path: Path) -> None:
    """A list of cases, whose files are there."""
    from lungmask_jax import data

    for name in ("a.nii", "b.nii"):
        path.with_name(name).touch()
    data.read_metadata(path)


DOORS = {
    "nifti": Door("scan.nii", nifti_bytes, open_scan),
    "nifti_packed": Door("scan.nii.gz", nifti_bytes, open_scan, packed),
    "gzip": Door("scan.nii.gz", lambda: gzip.compress(nifti_bytes(), 1), open_scan),
    "nifti2": Door("scan.nii", nifti2_bytes, open_scan),
    "mask": Door("mask.nii", mask_bytes, open_mask),
    "png": Door("slice.png", lambda: image_bytes(".png"), open_scan, with_sums),
    "jpeg": Door("slice.jpg", lambda: image_bytes(".jpg"), open_scan),
    "tiff": Door("slice.tif", lambda: image_bytes(".tif"), open_scan),
    "dicom": Door("slice.dcm", dicom_bytes, open_scan),
    "dicom_folder": Door("slice.dcm", dicom_bytes, open_folder),
    "bundle": Door("tiny.npz", bundle_bytes, open_bundle),
    "pth": Door("weights.pth", lambda: pth_bytes("zipped"), open_pth),
    "pth_pickle": Door("weights.pth", lambda: pth_bytes("pickled"), open_pth, zipped_pickle),
    "pth_legacy": Door("weights.pth", lambda: pth_bytes("legacy"), open_pth),
    "nnunet_plans": Door("plans.json", lambda: model_bytes("plans.json"), open_model),
    "nnunet_dataset": Door("dataset.json", lambda: model_bytes("dataset.json"), open_model),
    "nnunet_zip": Door("model.zip", lambda: model_bytes("model.zip"), open_model),
    "nnunet_members": Door("model.zip", layout_bytes, open_model, zipped_layout),
    "nnunet_folder": Door("layout.json", layout_bytes, open_layout),
    "nnunet_checkpoint": Door("checkpoint_final.pth", checkpoint_bytes, open_model, checkpoint_of),
    "nnunet1_plans": Door(f"{BEFORE}.pkl", plans_before_bytes, open_before, pickled_plans),
    "nnunet1_pickle": Door(f"{BEFORE}.pkl", lambda: before_bytes(".pkl"), open_before),
    "nnunet1_model": Door(BEFORE, lambda: before_bytes(""), open_before),
    "spec": Door("spec.json", spec_bytes, open_spec),
    "recipe": Door("recipe.toml", recipe_bytes, open_recipe),
    "measures": Door("measures.csv", lambda: b"scan,lungs_ml\nb,2.0\n", open_table),
    "metadata": Door("metadata.csv", lambda: b"ct_scan,lung_mask\na.nii,b.nii\n", open_metadata),
}

if __name__ == "__main__":
    main()
