import gc
import os
import sys
import tempfile
import warnings
from pathlib import Path

import hypothesis
import jax
import numpy as np
import optax
import pytest

from lungmask_jax.phantoms import phantom

hypothesis.settings.register_profile("lungmask_jax", deadline=None, max_examples=25)
hypothesis.settings.load_profile("lungmask_jax")

# no tests: what several files share, and what scripts made that need other libraries
shared = ["drawn_losses.py", "known_models.py", "scan_files.py", "segment_runs.py", "shapes.py"]
collect_ignore = ["references", *shared, "hostile_workers.py"]

# little is computed here, and much compiled, the same again in many tests and processes: a step of
# training takes a third of the time to compile without MLIR for each fusion
QUICK = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1"
)
DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


def pytest_configure(config):
    """What XLA and JAX read before the first computation, in workers and other processes, too."""
    os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '').removeprefix(QUICK)}"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="compiled-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def pytest_collection_finish():
    """What was imported and collected stays: the collector of garbage need not look at it again."""
    gc.freeze()


def pytest_make_parametrize_id(val):
    """Bytes by their size: those of an archive have the time in them, and workers must agree."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def _strict():
    """No implicit promotion of dtypes or ranks in our code; Adam's own is excused."""
    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(optax, "adamw", _excused(optax.adamw))
        yield


def _excused(make):
    def made(*args, **options):
        tx = make(*args, **options)

        def update(*args):
            with jax.numpy_dtype_promotion("standard"):
                return tx.update(*args)

        return optax.GradientTransformation(tx.init, update)

    return made


@pytest.fixture
def without_matplotlib(monkeypatch):
    """As if it was not installed."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture(scope="session")
def write_dicom():
    """A function that writes one CT slice with pydicom: ``write_dicom(path, height, pixels)``.

    `drop` leaves tags out, `syntax` is the transfer syntax of pixels that are not compressed, and
    further tags are given by name.
    """
    return _write_dicom


def _write_dicom(path, height=0.0, pixels=None, *, drop=(), syntax="1.2.840.10008.1.2.1", **tags):
    pydicom = pytest.importorskip("pydicom")
    pixels = np.add.outer(np.arange(24) * 60, np.arange(32) * 30) if pixels is None else pixels
    order = ">" if syntax.endswith(".1.2.2") else "<"
    bits = tags.get("BitsAllocated", 16)
    values = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "SOPInstanceUID": pydicom.uid.generate_uid(entropy_srcs=[str(path)]),
        "Modality": "CT",
        "SeriesInstanceUID": "1.2.3",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelSpacing": [0.5, 0.75],
        "SliceThickness": 2.5,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-100, -120, height],
        "PixelData": pixels.astype(f"{order}u{bits // 8}").tobytes(),
        **tags,
    }
    dataset = pydicom.Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that are wrong on purpose
        for tag, value in values.items():
            if tag not in drop:
                setattr(dataset, tag, value)
        if "PixelData" not in drop:
            dataset["PixelData"].VR = "OW"
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="session")
def scan():
    """A synthetic scan with infection, and its masks, for files without a scan of their own."""
    return phantom((8, 128, 128), disease=0.15, seed=3)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session")
def data_dir():
    """Real scans, too large to ship; tests that want them are skipped where they are missing."""
    folder = Path(os.environ.get("LUNGMASK_DATA", DATA)).resolve()
    if not folder.is_dir():
        pytest.skip(f"no real scans in {folder}: set LUNGMASK_DATA to their folder")
    return folder
