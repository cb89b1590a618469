import numpy as np
import pytest

from lungmask_jax import inference, io, models, spec, tasks
from lungmask_jax.data import Case, load_case, pair_folders, pair_masks, read_metadata
from lungmask_jax.errors import PluginError, ScanError, SpecError, UnknownNameError
from lungmask_jax.evaluation import case_rows
from lungmask_jax.models import Model
from lungmask_jax.spec import ModelSpec, PreprocessSpec, SegmenterSpec
from lungmask_jax.tasks import INFECTION, LESIONS, LUNGS, Task
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle


def test_a_task_has_defaults_for_all_but_its_name():
    task = Task(name="scar")
    assert (task.noun, task.column, task.labels) == ("scar", "scar_mask", {1: "scar"})
    assert [name for name, _ in task.postprocess] == ["calibration", "threshold"]
    assert len({*Task(name="scar", labels={1: "old", 2: "new"}).colors.values()}) == 2
    inner = Task(name="scar", inside="lungs")
    assert [name for name, _ in inner.postprocess] == ["calibration", "threshold", "within"]


@pytest.mark.parametrize("label", [0, 256, -1, "1", 1.0, True])
def test_a_label_that_no_mask_can_hold_is_refused(label):
    with pytest.raises(SpecError, match="labels from 1 to 255 for task 'scar'"):
        Task(name="scar", labels={label: "scar"})


def test_types_divide_what_they_lie_inside():
    assert LESIONS.divides
    assert not INFECTION.divides
    assert (LUNGS.whole, INFECTION.whole, LESIONS.whole) == ("lungs", "infection", "infection")
    assert (LUNGS.highest, INFECTION.highest, LESIONS.highest) == (2, 2, 2)


def test_types_are_no_target_of_their_own():
    assert "lesions" in tasks.registry
    assert "lesions" not in tasks.targets()


def test_a_name_stands_for_a_task_and_nothing_else():
    with pytest.raises(PluginError, match=r"expected a Task for 'five' .*found 5"):
        tasks.registry.register("five", 5)
    with pytest.raises(UnknownNameError, match="did you mean 'lungs'"):
        tasks.registry["lung"]


@pytest.fixture(scope="module", autouse=True)
def _fluid():
    """A task inside the lungs, and a network that finds what is darker or lighter than an edge."""
    tasks.registry.register("fluid", Task(name="fluid", inside="lungs"))

    def build(*, sign=1):
        def apply(params, state, images, /, *, train=False, key=None):
            return 1e4 * sign * (params["edge"] - images), state

        return Model(init=lambda key: ({"edge": np.zeros((), np.float32)}, {}), apply=apply)

    models.registry.register("edge_for_tasks", build)


def bundle(target, hu, sign=1, *steps):
    return Bundle(
        target,
        SegmenterSpec(
            target=target,
            model=ModelSpec(name="edge_for_tasks", options={"sign": sign}),
            preprocess=PreprocessSpec(window=(-1000.0, 100.0), region="full", size=(32, 32)),
            postprocess=steps,
        ),
        {"edge": np.float32((hu + 1000) / 1100)},
        {},
        "0" * 64,
    )


def chest():
    """Two lungs of -900 HU with 0 HU at their back, in a body of 60 HU."""
    hu = np.full((4, 32, 32), 60, np.int16)
    hu[:, 4:26, 3:13] = hu[:, 4:26, 19:29] = -900
    hu[:, 20:26, 3:13] = 0
    hu[:, 0] = np.arange(50, 82)  # of few values it would look like a mask
    affine = np.array([[0, 0, -2, 0], [0, -2, 0, 0], [5, 0, 0, 0], [0, 0, 0, 1.0]])
    return Volume(hu, affine).as_checked()


LUNG = ("lungs", 30.0, 1, ("sides", {}))
FLUID = ("fluid", -100.0, -1)


def test_a_third_task_is_segmented_measured_drawn_and_saved(tmp_path):
    ct = chest()
    result = inference.segment(ct, weights=[bundle(*FLUID), bundle(*LUNG)], uncertainty=True)
    assert list(result.masks) == ["lungs", "fluid"]
    np.testing.assert_array_equal(result.masks["fluid"].array, ct.array == 0)
    numbers = result.measure()
    assert numbers["right_fluid_ml"] == pytest.approx(4 * 60 * 0.02)
    assert numbers["right_fluid_percent"] == pytest.approx(100 * 6 / 22)
    assert numbers["left_fluid_ml"] == 0
    assert not np.array_equal(result.overlay(), inference.Segmentation(ct, {}, {}).overlay())
    names = [path.name for path in result.save(tmp_path, name="a")]
    assert names == [
        "a_lungs.nii.gz", "a_fluid.nii.gz", "a_uncertainty.nii.gz", "a_overlay.png", "a.json",
    ]  # fmt: skip
    assert names == inference.file_names("a", ["lungs", "fluid"], uncertainty=True)


def test_a_task_without_what_it_lies_inside_is_refused():
    with pytest.raises(
        SpecError, match=r"expected a lung model, inside whose mask fluid .* \['fluid'\]"
    ):
        inference.segment(chest(), weights=[bundle(*FLUID)])
    with pytest.raises(SpecError, match="found none"):
        inference.segment(chest(), weights=[])


def test_a_task_that_lies_anywhere_needs_no_lungs():
    tasks.registry.register("air", Task(name="air"))
    result = inference.segment(chest(), weights=[bundle("air", -100.0)])
    np.testing.assert_array_equal(result.masks["air"].array, chest().array == -900)
    with pytest.raises(SpecError, match="expected a mask of the lungs, found air"):
        result.lungs  # noqa: B018  the property raises


def test_a_third_task_is_scored_with_its_tolerance():
    tasks.registry.register("wide", Task(name="wide", tolerance_mm=4.0))
    first, second = np.zeros((2, 4, 20, 20), np.uint8)
    first[:, 4:12, 4:12], second[:, 4:12, 6:14] = 1, 1
    masks = [Volume.of(mask, spacing=(2.0, 1.5, 1.5)) for mask in (first, second)]
    (row,) = case_rows("a", *masks, "wide")
    assert row["label"] == "wide"
    assert row["surface_dice"] == 1
    with pytest.raises(ScanError, match="labels 0 to 1, found up to 2 in the truth of a"):
        case_rows("a", masks[0], masks[0].with_array(2 * first), "wide")


def test_masks_of_a_third_task_come_from_a_column_or_a_folder(tmp_path):
    ct, fluid = chest(), chest().with_array((chest().array == 0).astype(np.uint8))
    for folder, volume in (("images", ct), ("masks", fluid)):
        (tmp_path / folder).mkdir()
        io.save(volume, tmp_path / folder / "a.nii.gz")
    table = tmp_path / "metadata.csv"
    table.write_text("ct_scan,fluid_mask\nimages/a.nii.gz,masks/a.nii.gz\n")
    mask = tmp_path / "masks" / "a.nii.gz"
    assert read_metadata(table, masks=["fluid"]) == [
        Case("a", tmp_path / "images" / "a.nii.gz", {"fluid": mask}, "a")
    ]
    (case,) = pair_folders(tmp_path / "images", tmp_path / "masks", target="fluid")
    assert load_case(case)[1]["fluid"].array.sum() == fluid.array.sum()
    mask.rename(mask.with_name("a_fluid.nii.gz"))
    with pytest.raises(ScanError, match=r"masks of lungs .* named \*_fluid"):
        pair_masks(mask.parent, mask.parent, target="lungs")


def test_its_settings_are_a_preset():
    task = Task(name="small", preprocess={"size": (64, 64), "region": "lungs"})
    tasks.registry.register("small", task)
    assert spec.PRESETS["small"].size == (64, 64)
    assert SegmenterSpec(target="small", preprocess=spec.PRESETS["small"]).needs == "lungs"
