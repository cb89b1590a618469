import json

import numpy as np
import pytest
from lungmask_jax_dlinknet.effusion import EFFUSION, without_films

import lungmask_jax as lj
from lungmask_jax.cli import main
from lungmask_jax.testing import check_step, check_task


def with_effusion(seed):
    """A synthetic scan whose lungs have fluid behind them, and the fluid."""
    made = lj.phantom((8, 96, 96), seed=seed)
    back = np.arange(96)[:, None] > 58
    fluid = (made.lungs.array > 0) & back
    hu = np.where(fluid, np.int16(10), made.ct.array)
    return made.ct.with_array(hu), made.ct.with_array(fluid.astype(np.uint8))


@pytest.fixture
def metadata(tmp_path):
    """The list of three such scans."""
    rows = ["ct_scan,effusion_mask"]
    for seed in range(3):
        ct, fluid = with_effusion(seed)
        lj.save(ct, tmp_path / f"ct_{seed}.nii.gz")
        lj.save(fluid, tmp_path / f"fluid_{seed}.nii.gz")
        rows.append(f"ct_{seed}.nii.gz,fluid_{seed}.nii.gz")
    path = tmp_path / "metadata.csv"
    path.write_text("\n".join(rows))
    return path


def test_the_task_and_its_step_are_known_by_name():
    assert lj.tasks.registry["effusion"] is EFFUSION
    assert lj.postprocess.registry["without_films"] is without_films


def test_the_task_and_its_step_keep_to_what_the_library_relies_on():
    check_task(EFFUSION)
    check_step(without_films)


def test_a_film_goes_and_fluid_stays():
    mask = np.zeros((1, 20, 20), np.uint8)
    mask[0, 2:12, 4:14] = mask[0, 16, :] = 1
    left = without_films(lj.Volume.of(mask, spacing=(5.0, 1.0, 1.0))).array[0]
    assert left[2:12, 4:14].all()
    assert not left[16].any()


def test_the_command_trains_scores_measures_draws_and_saves_it(metadata):
    folder = metadata.parent
    network = "--channels 4 8 --preprocess size=[64,64] --learning-rate 0.01"
    weights = f"--weights lungs {folder}/effusion.npz"
    for words in (
        f"train --data {metadata} --target effusion {network} --steps 40 --batch-size 4 "
        f"-o {folder}/effusion.npz",
        f"evaluate --data {metadata} --target effusion {weights} --worst 1 -o {folder}/scores",
        f"segment {folder}/ct_0.nii.gz {weights} --uncertainty -o {folder}/masks",
    ):
        assert main(words.split()) == 0
    scores = json.loads((folder / "scores/summary.json").read_text())["learned_from"]
    assert scores["effusion"]["dice"]["mean"] > 0
    numbers = json.loads((folder / "masks/ct_0.json").read_text())
    assert numbers["effusion_ml"] > 0
    mask = lj.io.load_mask(folder / "masks/ct_0_effusion.nii.gz")
    assert mask.array.sum() * mask.voxel_ml == pytest.approx(numbers["effusion_ml"], abs=0.001)
    assert lj.weights.load(folder / "effusion.npz").spec.postprocess[2] == (
        "without_films",
        {"thinnest_mm": 3.0},
    )


def test_it_is_drawn_in_its_color_and_named():
    ct, fluid = with_effusion(0)
    lungs = lj.phantom((8, 96, 96)).lungs
    drawn = lj.viz.montage(ct, {"lungs": lungs, "effusion": fluid})
    assert (abs(drawn.astype(int) - EFFUSION.colors[1]).max(axis=-1) < 12).sum() >= 50
