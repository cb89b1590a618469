"""Wrong files, wrong names and wrong folders: read by what they hold, or refused with advice."""

import errno
import gzip
import importlib
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lungmask_jax import cli, weights
from lungmask_jax.errors import LungmaskError, SpecError, UnknownNameError, WeightsError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
pth_files, nnunet_files, made_weights = map(
    importlib.import_module, ("pth_files", "nnunet_files", "made_weights")
)
sys.path.remove(str(BENCHMARKS))

TENSORS = nnunet_files.stored(made_weights.tensors("lungs", 4))
ZIPPED, LEGACY = pth_files.zipped(TENSORS), pth_files.legacy(TENSORS)
FOLDER = "nnUNetTrainer__nnUNetPlans__3d_fullres"
CHECKPOINT = "fold_0/checkpoint_final.pth"


@pytest.fixture
def model(tmp_path):
    """A function that writes a model of nnU-Net with other names for its files, or without some."""

    def write(folder=f"Dataset001/{FOLDER}", **names):
        shutil.rmtree(tmp_path / folder, ignore_errors=True)
        for name, data in nnunet_files.model().items():
            if name := names.get(Path(name).stem, name):
                path = tmp_path / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return tmp_path / folder

    return write


def packed(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def refusal(path):
    """The message of the error that a file or folder leads to."""
    with pytest.raises(LungmaskError) as error:
        weights.load(path)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("data", [ZIPPED, LEGACY], ids=["zipped", "legacy"])
@pytest.mark.parametrize("name", ["w.npz", "w.bin", "w.zip", "w.pth.tar", "w 1 (copy)"])
def test_weights_of_lungmask_are_read_under_any_name(tmp_path, data, name):
    (tmp_path / name).write_bytes(data)
    assert weights.load(tmp_path / name).spec.target == "lungs"


@pytest.mark.parametrize("name", ["m.npz", "m.pth", "m.dat"])
def test_zips_of_models_and_bundles_are_read_under_any_name(tmp_path, name):
    members = {f"{FOLDER}/{one}": data for one, data in nnunet_files.model().items()}
    apple = {f"__MACOSX/{FOLDER}/._plans.json": b"\0\5\x16\7", "__MACOSX/._data.pkl": b"\0"}
    bundle = weights.load(packed(tmp_path / name, members | apple))
    weights.save(tmp_path / "own.npz", bundle.spec, bundle.params, bundle.state, half=False)
    (tmp_path / "own.npz").rename(tmp_path / name)
    assert weights.load(tmp_path / name).checksum == bundle.checksum


SAFETENSORS = (14).to_bytes(8, "little") + json.dumps({"a": 1}).encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html>Not found</html>", "a web page: download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (gzip.compress(ZIPPED), "unpack it"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(99), "unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "as of Keras"),
        (SAFETENSORS, "safetensors"),
        (bytes(344) + b"n+1\0", "a scan"),
        (bytes(128) + b"DICM", "a scan"),
        (ZIPPED[:2000], "a zip without its end"),
        (LEGACY[:-500], "ends too early|end is missing"),
        (b"these are no weights", "not a zip file"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.npz", "a.zip"])
def test_files_of_another_kind_are_named(tmp_path, model, data, words, name):
    path = tmp_path / name
    path.write_bytes(data)
    assert "damaged or something else" in refusal(path)
    with pytest.raises(WeightsError, match=words):
        weights.load(path)
    checkpoint = model() / CHECKPOINT
    checkpoint.write_bytes(data)
    with pytest.raises(WeightsError, match=words.replace("not a zip file", "neither a zip")):
        weights.load(checkpoint.parents[1])


def test_parts_of_a_model_are_refused_with_its_folder(model):
    folder = model()
    for part in ("plans.json", "dataset.json", "fold_0", CHECKPOINT):
        assert refusal(folder / part).endswith(str(folder))
    assert weights.load(folder.parent).spec == weights.load(folder).spec  # the folder above


def test_folders_without_plans_are_refused_with_what_to_give(model, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "give the folder that holds it" in refusal(tmp_path / "empty")
    assert "from where its folds were" in refusal(model("without", plans=""))
    (tmp_path / "empty" / "unet_r231.pth").write_bytes(ZIPPED)
    assert refusal(tmp_path / "empty").endswith("such as 'unet_r231.pth'")


def test_zips_of_parts_are_refused_with_what_to_do(tmp_path):
    fold = packed(tmp_path / "fold.zip", {CHECKPOINT: ZIPPED})
    assert "zip the folder that has both" in refusal(fold)
    inner = packed(tmp_path / "outer.zip", {"a/unet_r231.pth": ZIPPED})
    assert "such as 'unet_r231.pth': unpack it" in refusal(inner)


def test_models_without_a_file_or_with_another_checkpoint_say_how_to_go_on(model, tmp_path):
    out = str(tmp_path / "best.npz")
    assert "expected dataset.json" in refusal(model(dataset=""))
    folder = model(checkpoint_final="fold_all/checkpoint_best.pth")
    assert "found fold_all/checkpoint_best.pth" in refusal(folder)
    assert "lungmask-jax import, with --folds or --checkpoint" in refusal(folder)
    assert cli.main(["import", str(folder), "-o", out, "--checkpoint", "best"]) == 0
    assert weights.load(out).spec.target == "lungs"
    (folder / "plans.json").write_text("")
    assert "as JSON, found ''" in refusal(folder)


def test_paths_that_are_not_there_are_refused_with_the_nearest(tmp_path):
    (tmp_path / "unet_r231-d5d2fc3d.pth").write_bytes(ZIPPED)
    assert refusal(tmp_path / "unet_r231.pth").endswith("did you mean 'unet_r231-d5d2fc3d.pth'?")
    assert "there is no folder" in refusal(tmp_path / "a" / "unet_r231.pth")
    (tmp_path / "link.pth").symlink_to("gone.pth")
    assert "the link leads nowhere" in refusal(tmp_path / "link.pth")
    with pytest.raises(UnknownNameError, match="weights of other programs are given as files"):
        weights.load("R231")


def test_closed_files_and_full_disks_are_no_damage(model, tmp_path, monkeypatch):
    path = packed(tmp_path / "m.zip", {f"a/{k}": v for k, v in nnunet_files.model().items()})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    def closed(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", full)
        assert "free some, or name another folder in TMPDIR" in refusal(path)
    monkeypatch.setattr(Path, "open", closed)
    assert "not open to you (Permission denied)" in refusal(path)


def test_two_models_of_one_target_that_are_no_ensemble_are_told_in_few_words(tmp_path, model):
    (tmp_path / "r231.pth").write_bytes(ZIPPED)
    with pytest.raises(SpecError, match=r"found r231 and \w+, both for lungs, with name 'lungm"):
        weights.by_target([tmp_path / "r231.pth", model()])


@pytest.mark.parametrize("out", ["mine.pth", "nowhere/mine.npz", "mine"])
def test_import_refuses_a_path_before_it_reads(tmp_path, capsys, out):
    assert cli.main(["import", str(tmp_path / "not_there.pth"), "-o", str(tmp_path / out)]) == 1
    assert f"an .npz in a folder that exists, found {tmp_path / out}" in capsys.readouterr().err


def test_options_that_are_given_twice_add_up(model, tmp_path, capsys):
    from lungmask_jax.cli import _options

    words = ["segment", "a.nii", "-o", "out"]
    parsed = _options.parsed([*words, "--weights", "a.pth", "--weights", "b.pth", "infection"])
    assert parsed.weights == ["a.pth", "b.pth", "infection"]
    assert _options.parsed(words).weights == ["lungs", "infection"]
    words = ["import", str(model()), "-o", str(tmp_path / "a.npz"), "--target", "lungs"]
    assert cli.main([*words, "--label", "right lung=1", "--label", "left_lung=2"]) == 0
    assert weights.load(tmp_path / "a.npz").spec.volume.labels == (0, 1, 2)
    assert cli.main([*words, "--overwrite", "--label", "left_lung=1", "left_lung=2"]) == 1
    assert "expected --label 'left_lung' once" in capsys.readouterr().err


def test_bundles_of_others_are_no_bundles_of_ours(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    assert "no __checksum__" in refusal(tmp_path / "other.npz")


@pytest.mark.parametrize("name", ["a.npz", "a.zip"])
def test_zips_of_a_later_version_are_refused(tmp_path, name):
    """Python cannot open them, and says so in an error of its own."""
    path = packed(tmp_path / name, {"a.npy": b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 6] = 191
    path.write_bytes(data)
    assert "zip file version" in refusal(path)
