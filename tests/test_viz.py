import math
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from lungmask_jax import viz
from lungmask_jax.errors import MissingPackageError, ShapeError, SpecError
from lungmask_jax.phantoms import phantom
from lungmask_jax.tasks import Task, registry
from lungmask_jax.viz import learning_curve, montage, overlay, save_png, windowed
from lungmask_jax.volume import Volume

SKY_BLUE, YELLOW, VERMILION = (86, 180, 233), (240, 228, 66), (213, 94, 0)
PURPLE = (204, 121, 167)
CHART_BLUE, GREY = (0, 114, 178), 94  # -800 HU in the default window


def spaced(slices_mm: float, rows_mm: float, columns_mm: float) -> np.ndarray:
    return np.diag([slices_mm, rows_mm, columns_mm, 1.0])


def scan(
    slices: int = 12, spacing: tuple[float, float, float] = (1, 1, 1)
) -> tuple[Volume, Volume, Volume]:
    """A grey block, its right lung at columns 8..27, its left at 36..55, infection in the left."""
    ct = Volume(np.full((slices, 64, 64), -800, np.int16), affine=spaced(*spacing))
    lungs, infection = np.zeros((2, slices, 64, 64), np.uint8)
    lungs[:, 16:48, 8:28] = 1
    lungs[:, 16:48, 36:56] = 2
    infection[slices // 3, 24:40, 42:50] = 1
    return ct, ct.with_array(lungs), ct.with_array(infection)


def named(lungs: Volume | None = None, infection: Volume | None = None) -> dict[str, Volume]:
    """Masks by their task; infection with its types."""
    masks = {"lungs": lungs, "infection": infection, "lesions": infection}
    return {name: mask for name, mask in masks.items() if mask is not None}


def overlaid(spacing: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    ct, *masks = scan(spacing=spacing)
    return overlay(ct, named(*masks))


def colored(rgb: np.ndarray) -> np.ndarray:
    return rgb.max(axis=-1) != rgb.min(axis=-1)


def near(rgb: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return np.abs(rgb.astype(int) - color).max(axis=-1) <= 12


# Windowing


def test_windowed_by_hand() -> None:
    found = windowed(np.array([[-2000, -1000], [-500, 400]]), (-1000, 0))
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 0], [128, 255]]


def test_an_empty_window_is_an_error() -> None:
    with pytest.raises(SpecError, match=r"low < high HU, found \(0, 0\)"):
        windowed(np.zeros((2, 2)), (0, 0))


# One slice


@pytest.mark.parametrize("empty", [False, True])
def test_nothing_is_drawn_where_nothing_is(empty: bool) -> None:
    ct, lungs, _ = scan()
    nothing = ct.with_array(np.zeros_like(lungs.array)) if empty else None
    rgb = overlay(ct, named(nothing, nothing))
    assert rgb.dtype == np.uint8
    assert rgb.shape == (64, 64, 3)
    assert (rgb == GREY).all()


def test_each_label_has_its_color_and_stays_inside() -> None:
    ct, lungs, infection = scan()
    rgb = overlay(ct, named(lungs, infection))
    lung, side = lungs.array[4], np.arange(64) < 32
    assert (near(rgb, SKY_BLUE) & (lung == 1)).sum() > 80
    assert (near(rgb, YELLOW) & (lung == 2)).sum() > 80
    assert (near(rgb, VERMILION) & (infection.array[4] == 1)).sum() > 30
    assert not (near(rgb, SKY_BLUE) & ~side).any()
    assert not (near(rgb, YELLOW) & side).any()
    assert not (colored(rgb) & (lung == 0)).any()


def test_the_patients_right_is_on_the_left() -> None:
    ct, lungs, _ = scan()
    rgb = overlay(ct, named(lungs))
    assert np.nonzero(near(rgb, SKY_BLUE))[1].max() < np.nonzero(near(rgb, YELLOW))[1].min()


def test_infection_is_translucent_as_asked() -> None:
    ct, _, infection = scan()
    red = [
        int(overlay(ct, named(None, infection), alpha=alpha)[32, 46, 0])
        for alpha in (0.0, 0.5, 1.0)
    ]
    assert red == [GREY, round((GREY + VERMILION[0]) / 2), VERMILION[0]]


def test_the_slice_is_the_one_with_most_infection_then_most_lung_then_the_middle() -> None:
    ct, lungs, infection = scan()
    ct = ct.with_array(ct.array + np.arange(12, dtype=np.int16)[:, None, None] * 20)
    more = lungs.array.copy()
    more[7, 48:52, 8:28] = 1
    lungs = lungs.with_array(more)
    corner = [overlay(ct, named(*masks))[0, 0, 0] for masks in ((lungs, infection), (lungs,), ())]
    assert corner == [windowed(ct.array[index])[0, 0] for index in (4, 7, 6)]
    assert overlay(ct, named(lungs, infection), index=0)[0, 0, 0] == GREY


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [((5, 1, 1), (64, 64)), ((1, 2, 1), (128, 64)), ((1, 0.7, 0.7 * 1.5), (64, 96))],
)
def test_proportions_are_true(spacing: tuple[float, float, float], shape: tuple[int, int]) -> None:
    assert overlaid(spacing=spacing).shape == (*shape, 3)


def test_a_single_voxel_is_seen() -> None:
    ct = Volume(np.full((1, 16, 16), -800, np.int16))
    infection = np.zeros((1, 16, 16), np.uint8)
    infection[0, 5, 9] = 1
    rgb = overlay(ct, named(None, ct.with_array(infection)))
    assert colored(rgb)[5, 9]
    assert np.argwhere(colored(rgb)).tolist() == [[5, 9]]


def test_a_task_of_another_is_drawn_in_its_color() -> None:
    task = Task(name="fluid_for_tests", inside="lungs", colors={1: (0, 158, 115)})
    registry.register(task.name, task)
    ct, lungs, infection = scan()
    rgb = montage(ct, {"lungs": lungs, task.name: infection}, count=3, columns=1, tile=64)
    assert near(rgb, (0, 158, 115)).any()
    assert not near(rgb, VERMILION).any()


def test_masks_of_another_shape_are_an_error() -> None:
    ct, lungs, _ = scan()
    other = Volume(lungs.array[1:])
    for draw in (overlay, montage):
        with pytest.raises(ShapeError, match=r"shape \(12, 64, 64\), found \(11, 64, 64\)"):
            draw(ct, named(other))
        with pytest.raises(ShapeError, match=r"found \(11, 64, 64\): bring them to the grid"):
            draw(ct, named(lungs, other))


def test_a_slice_that_is_not_there_is_an_error() -> None:
    for index in (-1, 12):
        with pytest.raises(ShapeError, match=f"from 0 to 11, found {index}"):
            overlay(scan()[0], index=index)


def test_a_scan_without_voxels_is_an_error() -> None:
    with pytest.raises(ShapeError, match="with voxels"):
        overlay(Volume(np.zeros((0, 4, 4), np.int16)))


# A page


def test_one_slice_is_one_tile() -> None:
    ct = Volume(np.full((1, 64, 64), -800, np.int16))
    assert montage(ct, tile=128).shape == (130, 130, 3)


def test_a_page_without_masks_has_no_color() -> None:
    rgb = montage(scan()[0], title="A title", caption="A caption", tile=64)
    assert rgb.dtype == np.uint8
    assert not colored(rgb).any()
    assert rgb.max() > 200  # the words


def test_count_and_columns_make_the_grid() -> None:
    ct = scan()[0]
    assert montage(ct, count=6, columns=3, tile=64).shape == (2 * 66, 3 * 66, 3)
    assert montage(ct, count=5, columns=3, tile=64).shape == (2 * 66, 3 * 66, 3)
    assert montage(ct, count=2, columns=9, tile=64).shape == (66, 2 * 66, 3)
    assert montage(ct, count=1, tile=64).shape == (66, 66, 3)


def test_few_slices_are_shown_once_without_a_coronal_view() -> None:
    assert montage(scan(slices=3)[0], count=12, columns=3, tile=64).shape == (66, 3 * 66, 3)


def test_the_slice_with_most_infection_is_always_there() -> None:
    for most in range(12):
        ct, lungs, infection = scan()
        infection = ct.with_array(np.roll(infection.array, most - 4, axis=0))
        rgb = montage(ct, named(lungs, infection), count=3, columns=1, tile=64)
        axial = rgb[-3 * 66 : -66]
        assert near(axial, VERMILION).sum() > 20


def test_tiles_run_from_head_to_feet() -> None:
    ct = Volume(
        (np.arange(7, dtype=np.int16)[:, None, None] * 100 - 900).repeat(64, 1).repeat(64, 2)
    )
    rgb = montage(ct, count=7, columns=7, tile=64)
    shades = [int(rgb[50, 66 * place + 33, 0]) for place in range(7)]
    assert shades == windowed(ct.array[::-1, 0, 0]).tolist()


def test_tiles_are_cut_to_the_lungs_with_true_proportions() -> None:
    ct, lungs, _ = scan(slices=1, spacing=(1, 1, 1))
    small = np.zeros_like(lungs.array)
    small[0, 30:34, 30:34] = 1
    rgb = montage(ct, named(ct.with_array(small)), tile=108)  # 4 + 2 * 25 mm each way
    tile = rgb[-110:]
    rows, columns = np.nonzero(colored(tile))
    assert rgb.shape[1] == 110
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (8, 8)
    tall = montage(Volume(ct.array, spaced(1, 2, 1)), tile=64)
    assert tall.shape == (130, 66, 3)


def test_the_legend_names_what_is_shown() -> None:
    ct, lungs, infection = scan()
    tile = {"tile": 96, "columns": 4, "count": 4}
    bare, lung, both = (
        montage(ct, named(*masks), **tile) for masks in ((), (lungs,), (lungs, infection))
    )
    assert len(lung) - len(bare) >= 24
    header = len(both) - (len(lung) - 24)
    assert near(both[:header], VERMILION).sum() >= 60
    assert not near(lung, VERMILION).any()
    assert near(lung[:24], SKY_BLUE).sum() >= 60
    assert near(lung[:24], YELLOW).sum() >= 60


def test_words_that_do_not_fit_shrink() -> None:
    ct, lungs, infection = scan(slices=1)
    words = "Research use only. Not a medical device."
    rgb = montage(ct, named(lungs, infection), title=words, caption=words, tile=256)
    assert rgb[:, -5:].max(initial=0, where=np.arange(len(rgb))[:, None, None] < 20) == 0
    assert rgb[-20:, -5:].max() == 0
    assert all(near(rgb[:100], color).any() for color in (SKY_BLUE, YELLOW, VERMILION))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((12, 24, 24), (20, 120, 4)),
        ((12, 24, 24), (20, 12_000, 4)),
        ((12, 8, 128), (20, 4, 4)),
        ((12, 128, 8), (20, 4, 4)),
        ((1, 1200, 1200), (1, 1, 1)),
        ((1, 1, 1), (1, 1, 1)),
        ((12, 24, 24), (1e-3, 1e-6, 1e6)),
    ],
)
def test_a_picture_is_no_larger_than_others_whatever_the_header_says(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    ct = Volume(np.full(shape, -800, np.int16), spaced(*spacing))
    mask = ct.with_array(np.ones(shape, np.uint8))
    for rgb in (montage(ct, named(mask, mask), count=3), viz.errors(ct, mask, mask, count=1)):
        assert rgb.size <= 3 * (3 * 256 * 256 * 3) or rgb.size <= 1.3 * (1024 * 1024 * 3)
    rows, columns = shape[1:]
    drawn = overlay(ct, named(mask, mask)).shape
    assert rows <= drawn[0] <= 3 * rows
    assert columns <= drawn[1] <= 3 * columns


def test_a_lone_slice_is_drawn_at_full_size_with_the_whole_legend() -> None:
    ct = Volume(np.full((1, 600, 700), -800, np.int16))
    lungs, lesions = np.zeros((2, 1, 600, 700), np.uint8)
    lungs[0, 100:500, 30:340] = 1
    lungs[0, 100:500, 360:670] = 2
    lesions[0, 300:320, 100:120] = 1
    lesions[0, 300:320, 400:420] = 2
    rgb = montage(ct, named(ct.with_array(lungs), ct.with_array(lesions)), title="a" * 300)
    assert rgb.shape[1] == 690 + 2  # the lungs, 25 mm around them as far as there are, a frame
    header = rgb[: len(rgb) - 450]
    assert all(near(header, color).sum() > 50 for color in (SKY_BLUE, YELLOW, VERMILION, PURPLE))
    words = np.argwhere(near(header, (245, 245, 245)))[:, 1]
    assert words.max() < 690


def test_any_text_is_drawn() -> None:
    ct = scan(slices=1)[0]
    pictures = {
        words: montage(ct, title=words, tile=64).tobytes()
        for words in (
            "a\udcff",
            "\ud800",
            "a\0b",
            "\x1b[31m",
            "\u202eabc",
            "\u0645\u0631",
            "e\u0301",
        )
    }
    assert len(set(pictures.values())) == len(pictures)
    montage(ct, title="x" * 1_000_000)


@pytest.mark.parametrize("options", [{"count": 0}, {"columns": 0}, {"tile": 63}])
def test_a_page_needs_a_tile(options: dict[str, int]) -> None:
    with pytest.raises(SpecError, match="at least 1 tile, 1 column and 64 pixels"):
        montage(scan()[0], **options)


# A chart


RECORDS = [{"step": 100.0 * i, "loss": 1.0 / i, "dice": 1 - 0.9 / i} for i in range(1, 9)]
BELOW = 790  # where the legend is


def drawn_in(rgb: np.ndarray, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of what a chart has in a color, its legend left out."""
    return np.nonzero(near(rgb[:BELOW], color))


def test_a_chart_without_records_has_axes_and_no_line() -> None:
    rgb = learning_curve([])
    assert rgb.dtype == np.uint8
    assert not near(rgb, CHART_BLUE).any()
    assert rgb.min() < 60


def test_lines_fall_and_rise() -> None:
    rgb = learning_curve(RECORDS, scores=("dice",))
    for color, falls in ((CHART_BLUE, True), (VERMILION, False)):
        rows, columns = drawn_in(rgb, color)
        first, last = rows[columns == columns.min()].mean(), rows[columns == columns.max()].mean()
        assert (first < last) == falls


def test_scores_are_drawn_from_0_to_1() -> None:
    values = [{"step": i, "d": i / 5} for i in range(6)]
    top, middle = (
        drawn_in(learning_curve(values[:stop], series=(), scores=("d",)), CHART_BLUE)[0]
        for stop in (6, 3)
    )
    assert top.max() == middle.max()
    assert np.ptp(middle) == pytest.approx(0.4 * np.ptp(top), rel=0.05)


def test_one_record_is_a_dot() -> None:
    rows, columns = drawn_in(learning_curve([{"step": 50, "loss": 0.7}]), CHART_BLUE)
    assert 10 <= np.ptp(rows) + 1 <= 16
    assert 10 <= np.ptp(columns) + 1 <= 16


@pytest.mark.parametrize("hole", [{}, {"loss": math.nan}, {"loss": math.inf}])
def test_a_missing_value_leaves_a_gap(hole: dict[str, float]) -> None:
    records = [{"step": i, "loss": 1.0 + i} for i in range(5)]
    whole = len(drawn_in(learning_curve(records), CHART_BLUE)[0])
    records[2] = {"step": 2, **hole}
    assert len(drawn_in(learning_curve(records), CHART_BLUE)[0]) < 0.7 * whole


@pytest.mark.parametrize("value", [0.0, -2.0, 0.5, 1e-9, 3e6])
def test_a_constant_line_is_level(value: float) -> None:
    rgb = learning_curve([{"step": i, "loss": value} for i in range(3)])
    rows, columns = drawn_in(rgb, CHART_BLUE)
    assert np.ptp(rows) <= 6
    assert np.ptp(columns) > 600


def test_values_that_differ_by_rounding_alone_are_constant() -> None:
    records = [{"step": 0, "loss": 0.3}, {"step": 1, "loss": 0.1 + 0.2}]
    assert np.ptp(drawn_in(learning_curve(records), CHART_BLUE)[0]) <= 6


def test_any_words_are_drawn_in_charts_as_they_are() -> None:
    words = ("$x", "$x$", "a_b", "a\udcff", "\u202eabc", "\u80ba", "x" * 1_000_000)
    pictures = {word: learning_curve(RECORDS, title=word).tobytes() for word in words}
    assert len(set(pictures.values())) == len(words)
    viz.box_plot({word: {word: [0.5]} for word in words[:6]}, title=words[1])


def test_a_name_that_no_record_has_is_an_error() -> None:
    with pytest.raises(SpecError, match="no record has 'dise': did you mean 'dice'"):
        learning_curve(RECORDS, scores=("dise",))


def test_more_lines_than_colors_are_an_error() -> None:
    with pytest.raises(SpecError, match="at most 6 lines, found 7"):
        learning_curve([], series=tuple("abcdefg"))


def test_charts_know_nothing_of_pyplot() -> None:
    code = "import sys; from lungmask_jax import viz; viz.learning_curve([]); "
    code += "sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_matplotlib_it_is_said_what_to_install(without_matplotlib: None) -> None:
    for draw in (lambda: learning_curve(RECORDS), lambda: viz.box_plot({"dice": {"": [0.5]}})):
        with pytest.raises(MissingPackageError, match=r'pip install "lungmask-jax\[plots\]"'):
            draw()


# A file


def test_a_picture_comes_back_from_its_file(tmp_path: Path) -> None:
    rgb = overlaid()
    path = tmp_path / "überlagert.png"
    save_png(rgb, path)
    save_png(rgb, path)
    back = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(back[..., ::-1], rgb)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_not_saved(wrong: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"picture \(H, W, 3\) of uint8, found shape"):
        save_png(wrong, tmp_path / "wrong.png")
    assert not list(tmp_path.iterdir())


# scores of many cases


def test_boxes_lie_where_their_numbers_say():
    rgb = viz.box_plot({"": {"": [0.2, 0.4, 0.5, 0.6, 0.8]}})
    dark = (rgb.max(axis=2) < 60).sum(axis=0)
    axis, *_, median = np.sort(np.argsort(dark)[-8:])  # the axis on the left, then the median
    pale = np.abs(rgb.astype(int) - (204, 227, 239)).max(axis=2) < 3
    columns = np.nonzero(pale.any(axis=0))[0]
    assert columns.mean() == pytest.approx(median, abs=4)
    assert np.ptp(columns) == pytest.approx(0.2 * (rgb.shape[1] - axis) / 1.02, rel=0.05)


def test_every_case_is_a_dot():
    few, many = (
        viz.box_plot({"dice": {"": list(np.linspace(0.1, 0.9, count))}}) for count in (5, 40)
    )
    ink = [(rgb == CHART_BLUE).all(axis=2).sum() for rgb in (few, many)]
    assert ink[1] > ink[0] + 35 * 20


def test_models_have_lanes_of_their_own_and_undefined_ones_are_told():
    one = viz.box_plot({"dice": {"": [0.5, 0.6]}})
    two = viz.box_plot({"dice": {"a": [0.5, 0.6], "b": [0.6, np.nan]}})
    assert two.shape[0] - one.shape[0] == 90
    assert near(two, VERMILION).any()
    assert not near(one, VERMILION).any()
    axes = [(rgb.max(axis=2) < 60).sum(axis=0).argmax() for rgb in (one, two)]
    assert axes[1] > axes[0] + 100  # "(1 undefined)"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "none that is finite"),
        ({"dice": {"": [np.nan]}}, "none that is finite"),
        ({"mm": {"": [3.0]}}, "between 0 and 1, found 3.0"),
        ({"dice": {str(n): [0.5] for n in range(7)}}, "at most 6 models, found 7"),
    ],
)
def test_scores_that_cannot_be_drawn_are_refused(scores, message):
    with pytest.raises(SpecError, match=message):
        viz.box_plot(scores)


# errors


def test_errors_have_the_color_of_their_kind():
    ct = Volume(np.full((30, 64, 64), -800, np.int16))
    truth, found = (np.zeros(ct.shape, np.uint8) for _ in range(2))
    truth[10, 10:30, 10:50] = 1
    found[10, 20:50, 10:50] = 2
    rgb = viz.errors(ct, ct.with_array(found), ct.with_array(truth), count=1, tile=256)
    tile = rgb[-258:].astype(int)
    green, blue, red = ((tile[..., c] - tile.mean(axis=2) > 25) for c in (1, 2, 0))
    shares = [part.sum() / (256 * 256) for part in (green, blue, red)]
    np.testing.assert_allclose(shares, np.array([10, 10, 20]) * 40 / 64**2, atol=0.03)


def test_the_worst_slices_are_shown_some_way_apart():
    ct = Volume(np.full((60, 32, 32), -800, np.int16))
    truth = np.zeros(ct.shape, np.uint8)
    for index, rows in ((20, 9), (21, 8), (50, 5)):
        truth[index, :rows] = 1
    masks = ct.with_array(0 * truth), ct.with_array(truth)
    one, two, many = (viz.errors(ct, *masks, count=count, tile=64) for count in (1, 2, 5))
    assert one.shape != two.shape
    np.testing.assert_array_equal(two, many)  # 21 is near 20, and no other has errors
    same = viz.errors(ct, masks[1], masks[1], tile=64)
    assert same.shape == one.shape
    with pytest.raises(SpecError, match="found 0 of 256"):
        viz.errors(ct, *masks, count=0)
    with pytest.raises(ShapeError):
        viz.errors(ct, masks[0], Volume(np.zeros((1, 32, 32), np.uint8)))


def papers(**options):
    chest = phantom((12, 64, 64), disease=0.2, seed=1)
    masks = {"lungs": chest.lungs, "infection": chest.infection}
    return viz.montage(chest.ct, masks, count=3, columns=1, tile=128, **options)


def test_labels_of_all_tiles_have_one_size():
    ct = Volume(np.zeros((2, 64, 64), np.int16))
    pages = (viz.montage(ct, window=(0, 1), columns=1, notes=["", note]) for note in ("", "a" * 60))
    heights = [np.ptp(np.flatnonzero((one[260:290] > 200).any(axis=(1, 2)))) for one in pages]
    assert heights[1] < 0.8 * heights[0]


def test_plain_tiles_stand_left_of_the_marked_ones():
    usual, beside = papers(), papers(plain=True)
    assert beside.shape[1] == usual.shape[1] + 128
    colored = np.ptp(beside[-90:].astype(int), axis=2) > 40  # below the legend
    assert colored[:, 130:].any()
    assert not colored[:, :128].any()


def test_outlines_leave_the_inside_plain():
    filled, outlined = (
        np.ptp(papers(outline=one).astype(int), axis=2) > 40 for one in (False, True)
    )
    assert 0 < outlined.sum() < filled.sum()


def test_a_scale_bar_and_levels_are_drawn_if_wanted():
    usual = papers()
    for option in ("scale", "levels"):
        assert (papers(**{option: True}) != usual).any()


def test_levels_come_with_a_sagittal_view():
    chest = phantom((12, 64, 64), seed=1)
    one, two = (
        viz.montage(chest.ct, {"lungs": chest.lungs}, count=5, columns=1, tile=128, levels=levels)
        for levels in (False, True)
    )
    assert one.shape == two.shape  # a slice less
    left, right = (
        np.ptp(two[-60:, part].astype(int), axis=2).max() for part in (slice(64), slice(64, 130))
    )
    assert left > 100 or right > 100  # one lung, outlined
    assert (one[-60:] != two[-60:]).mean() > 0.1


def test_a_scale_bar_is_seen_on_any_ground():
    ct = Volume(np.full((1, 64, 64), 400, np.int16), np.diag([5.0, 2.0, 2.0, 1.0]))
    bar = viz.montage(ct, scale=True, tile=128)[-12:, :60]
    assert bar.min() < 20 < 200 < bar.max()


def test_without_a_voxel_size_there_is_no_scale_bar():
    ct = Volume(np.full((1, 64, 64), -800, np.int16))
    assert (viz.montage(ct, scale=True) == viz.montage(ct)).all()


def test_a_png_states_its_pixels_per_inch():
    picture = np.zeros((2, 3, 3), np.uint8)
    content = viz.png(picture, dpi=300)
    assert content[37:41] == b"pHYs"
    assert int.from_bytes(content[41:45], "big") == 11811  # per metre
    assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape == picture.shape


def test_a_gif_goes_through_all_slices(tmp_path):
    from PIL import Image

    chest = phantom((4, 64, 64), seed=1)
    viz.save_gif(viz.frames(chest.ct, {"lungs": chest.lungs}), tmp_path / "a.gif", seconds=0.2)
    with Image.open(tmp_path / "a.gif") as made:
        assert (made.n_frames, made.info["duration"]) == (4, 200)


def test_pictures_that_make_no_gif_are_refused(tmp_path):
    with pytest.raises(ShapeError, match="found none"):
        viz.save_gif([], tmp_path / "a.gif")
    pictures = [np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)]
    with pytest.raises(ShapeError, match="pictures of one shape"):
        viz.save_gif(pictures, tmp_path / "a.gif")
    assert [*tmp_path.iterdir()] == []


def test_without_pillow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"lungmask-jax\[plots\]"):
        viz.save_gif([np.zeros((2, 2, 3), np.uint8)], tmp_path / "a.gif")
