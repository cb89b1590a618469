import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from lungmask_jax import preprocess
from lungmask_jax.errors import SpecError
from lungmask_jax.models import Model, unet, unet_3d
from lungmask_jax.prediction import Predictor, Slab, _predictor, boxes, make_predict, predict_scan
from lungmask_jax.prediction._patches import importance, starts
from lungmask_jax.prediction._plans import _stacked
from lungmask_jax.prediction._thick import ThickSlices, parts
from lungmask_jax.spec import PredictSpec, PreprocessSpec
from lungmask_jax.volume import Volume

PATCHES = PredictSpec(patch=(4, 8, 6))
SEEN = PreprocessSpec(window=(0.0, 1.0), region="full", size=(16, 16))


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def tilted(shape):
    """A slope across a patch, so that it matters where in a patch a voxel lies."""
    return 0.1 * np.indices(shape).sum(axis=0)[..., None]


def volumetric(traced=None, labels=1):
    """A network of volumes that looks at the values and at the place in the patch."""

    def apply(params, state, images, *, train=False, key=None):
        if traced is not None:
            traced.append(images.shape)
        place = jnp.asarray(tilted(images.shape[1:4]), jnp.float32)[None]
        return jnp.concatenate([3 * images - 1 + place] * labels, axis=-1), state

    return Model(lambda key: ({}, {}), apply, ndim=3, num_classes=labels)


def reference(volume, patch, step=0.5):
    """The mean over all patches of the padded volume, with the weights that scipy gives."""
    edges = [divmod(max(0, size - side), 2) for side, size in zip(volume.shape, patch, strict=True)]
    padded = np.pad(volume, [(half, half + odd) for half, odd in edges])
    spike = np.zeros(patch)
    spike[tuple(size // 2 for size in patch)] = 1
    weight = ndimage.gaussian_filter(spike, [size / 8 for size in patch], mode="constant")
    weight = (10 * weight / weight.max()).astype(np.float16).astype(np.float32)
    weight[weight == 0] = weight[weight > 0].min()
    places = []
    for side, size in zip(padded.shape, patch, strict=True):
        count = int(np.ceil((side - size) / (size * step))) + 1
        places.append(np.round(np.linspace(0, side - size, count)).astype(int))
    total, counts = np.zeros(padded.shape), np.zeros(padded.shape)
    for corner in itertools.product(*places):
        where = tuple(slice(at, at + size) for at, size in zip(corner, patch, strict=True))
        logits = 3 * padded[where].astype(float) - 1 + tilted(patch)[..., 0]
        total[where] += weight / (1 + np.exp(-logits))
        counts[where] += weight
    inner = tuple(
        slice(half, half + side) for (half, _), side in zip(edges, volume.shape, strict=True)
    )
    return (total / counts)[inner]


@pytest.mark.parametrize("shape", [(4, 8, 6), (9, 20, 17), (3, 5, 30), (1, 1, 1), (13, 8, 5)])
@pytest.mark.parametrize("step", [0.5, 0.25, 1.0])
def test_patches_are_blended_as_numpy_and_scipy_do(shape, step):
    volume = noise(*shape)
    predictor = Predictor(volumetric(), {}, {}, PredictSpec(patch=(4, 8, 6), step=step))
    found = predictor.volume(volume[..., None])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], reference(volume, (4, 8, 6), step), atol=1e-6)


@given(st.integers(1, 200), st.integers(1, 40), st.floats(0.1, 1))
def test_patches_cover_an_axis_in_even_steps(length, size, step):
    found = starts(length, size, step)
    assert found[0] == 0
    assert found[-1] + size >= length
    gaps = np.diff(found)
    assert (gaps <= np.ceil(size * step)).all()
    assert np.ptp(gaps) <= 1 if len(gaps) else len(found) == 1


@pytest.mark.parametrize("size", [5, 6, 16, 33])
def test_the_weights_of_a_patch_are_those_of_scipy(size):
    spike = np.zeros(size)
    spike[size // 2] = 1
    expected = ndimage.gaussian_filter1d(spike, size / 8, mode="constant")
    np.testing.assert_allclose(importance((size,)), 10 * expected / expected.max(), rtol=1e-3)


def test_corners_of_large_patches_count_as_little_as_float16_can_say():
    weights = importance((32, 32, 32))
    assert weights.max() == 10
    assert weights[0, 0, 0] == weights.min() == np.finfo(np.float16).smallest_subnormal


@given(st.integers(1, 9))
def test_every_slice_is_seen_once_by_patches_of_one_slice(length):
    assert starts(length, 1, 0.5) == list(range(length))


def test_a_network_of_slices_sees_patches_of_each():
    def apply(params, state, images, *, train=False, key=None):
        return images * 2, state

    network = Model(lambda key: ({}, {}), apply, num_classes=1)
    spec = PredictSpec(patch=(1, 8, 6), average="logits")
    volume = noise(3, 20, 17, 1)
    np.testing.assert_allclose(
        Predictor(network, {}, {}, spec).volume(volume), 2 * volume, rtol=1e-5
    )


def test_logits_are_averaged_where_the_spec_says_so():
    def apply(params, state, images, *, train=False, key=None):
        ramp = jnp.arange(float(images.shape[2]), dtype=jnp.float32)[:, None]
        return jnp.concatenate([jnp.broadcast_to(ramp, images.shape), 0 * images], axis=-1), state

    network = Model(lambda key: ({}, {}), apply, num_classes=2)
    spec = PredictSpec(mirror=(False, False, True), average="logits")
    found = Predictor(network, {}, {}, spec).images(noise(1, 4, 8, 1))
    np.testing.assert_allclose(found[0, 0, :, 0], 3.5)
    assert found.shape[-1] == 2


def test_volumes_of_all_sizes_share_one_compilation():
    traced = []
    predictor = Predictor(volumetric(traced), {}, {}, PATCHES)
    for shape in ((4, 8, 6), (9, 20, 17), (2, 3, 4)):
        predictor.volume(noise(*shape, 1))
    assert traced == [(1, 4, 8, 6, 1)]


def test_a_scan_in_patches_is_its_volume_in_patches():
    traced = []
    predictor = Predictor(volumetric(traced), {}, {}, PATCHES)
    for slices in (1, 3, 11, 30):
        ct = noise(slices, 16, 16)
        found = scanned(predictor, ct)
        np.testing.assert_allclose(found, reference(ct, (4, 8, 6)), atol=1e-5)
    assert traced == [(1, 4, 8, 6, 1)]


def test_patches_far_from_the_lungs_cost_nothing():
    ct, lungs = noise(40, 16, 16), np.zeros((40, 16, 16), np.uint8)
    lungs[20:25] = 1
    read = []

    def counted(params, state, images, *, train=False, key=None):
        jax.debug.callback(lambda: read.append(None))
        return volumetric().apply(params, state, images)

    predictor = Predictor(Model(volumetric().init, counted, ndim=3), {}, {}, PATCHES)
    found = scanned(predictor, ct, Volume(lungs))
    jax.effects_barrier()
    np.testing.assert_allclose(found[20:25], reference(ct, (4, 8, 6))[20:25], atol=1e-5)
    assert not found[:16].any()
    a_window = len(starts(16, 8, 0.5)) * len(starts(16, 6, 0.5))
    assert len(read) == 9 * a_window  # those that reach into slices 16 to 31, eight at a time


def scanned(predictor, ct, lungs=None):
    """Probabilities of any label, on the grid of the scan."""
    found = np.zeros(ct.shape, np.float32)

    def finish(probabilities):
        return (probabilities.sum(axis=0),)

    ct = Volume(ct).as_checked()
    for batch in predict_scan(predictor, ct, SEEN, box=boxes(ct, SEEN), finish=finish, lungs=lungs):
        for slices, (array,) in batch.parts:
            found[slices] = array
    assert batch.stop == len(ct)
    return found


def test_a_patch_that_does_not_suit_its_network_is_refused():
    with pytest.raises(SpecError, match=r"one slice for a 2-D network, found \(4, 8, 6\)"):
        Predictor(unet(channels=(4, 8)), {}, {}, PATCHES)
    with pytest.raises(SpecError, match=r"multiples of \(1, 4, 4\), found \(4, 8, 5\)"):
        Predictor(unet_3d(channels=(4, 8)), {}, {}, PredictSpec(patch=(4, 8, 5)))
    with pytest.raises(SpecError, match=r"no patch .* set PredictSpec\.patch"):
        Predictor(volumetric(), {}, {}).volume(noise(4, 8, 6, 1))
    with pytest.raises(SpecError, match="three sides of a patch or three zeros"):
        PredictSpec(patch=(4, 0, 6))


def test_images_share_one_compilation_and_are_padded_in_silence():
    traced = []

    def apply(params, state, images, *, train=False, key=None):
        traced.append(images.shape)
        return 3 * images - 1, state

    predictor = Predictor(Model(lambda key: ({}, {}), apply), {}, {})
    for count in (1, 4, 5, 0):
        images = noise(count, 8, 8, 1)
        expected = 1 / (1 + np.exp(1 - 3 * images))
        np.testing.assert_allclose(predictor.images(images), expected, rtol=1e-5)
    assert traced == [(4, 8, 8, 1)]


@pytest.mark.parametrize("memory", [3, 1])
def test_images_go_in_smaller_batches_where_memory_is_short(monkeypatch, memory):
    predictor, images = Predictor(pixelwise(), {}, {}), noise(6, 8, 8, 1)
    expected, run = predictor.images(images), make_predict(pixelwise())

    def short(params, state, batch):
        if len(batch) > memory:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return run(params, state, batch)

    monkeypatch.setattr(_predictor, "make_predict", lambda *_, **__: short)
    np.testing.assert_array_equal(predictor.images(images), expected)


def test_a_volume_is_mirrored_along_every_set_of_axes():
    images = jnp.asarray(noise(1, 3, 4, 5, 1))
    found = make_predict(volumetric(), mirror=(True, True, True))({}, {}, images)
    logits, views = 3 * np.asarray(images, float) - 1, []
    for count in range(4):
        for axes in itertools.combinations((1, 2, 3), count):
            views.append(1 / (1 + np.exp(-logits - np.flip(tilted((3, 4, 5))[None], axes))))
    np.testing.assert_allclose(found, np.mean(views, axis=0), rtol=1e-5)
    with pytest.raises(SpecError, match="2-D network cannot be mirrored along slices"):
        make_predict(pixelwise(), mirror=(True, False, False))


def test_thick_slices_are_the_same_wherever_a_batch_begins():
    thin = np.random.default_rng(0).integers(-1000, 0, (11, 4, 5)).astype(np.int16)
    slices = ThickSlices(thin, 3)
    whole = preprocess.averaged(thin, 3)
    assert (len(slices), slices.size) == (4, (128, 128))
    for start, stop in ((0, 4), (-2, 2), (3, 6), (-1, 5)):
        places = np.clip(np.arange(start, stop), 0, 3)
        np.testing.assert_array_equal(slices.read(start, stop)[:, :4, :5], whole[places])


@given(st.integers(1, 7), st.integers(1, 60), st.integers(1, 5))
def test_thick_slices_are_interpolated_to_thin_ones(count, total, size):
    thick = np.random.default_rng(count * total).random(-(-total // count))
    found, follows = np.full(total, np.nan), False
    for start in range(0, len(thick), size):
        where = slice(start * count, min((start + size) * count, total))
        batch = thick[start : start + size]
        batch = np.pad(batch, (0, size - len(batch)), mode="edge")
        before = np.append(thick[start - 1] if follows else batch[0], batch[:-1])
        for share, of_batch, slices in parts(where, count, total, follows=follows):
            found[slices] = (share * batch + (1 - share) * before)[of_batch]
        follows = True
    middles = np.arange(len(thick)) * count + (count - 1) / 2
    np.testing.assert_allclose(found, np.interp(np.arange(total), middles, thick), atol=1e-12)


def test_the_first_thick_slice_holds_up_to_its_middle():
    found = [*parts(slice(12, 24), 3, 100, follows=False)]
    places = [np.arange(100)[slices] for *_, slices in found]
    assert np.sort(np.concatenate(places)).tolist() == [*range(12, 24)]
    share, of_batch, slices = found[0]
    assert (share, of_batch.start, slices.start) == (pytest.approx(1 / 3), 1, 14)


def pixelwise():
    def apply(params, state, images, *, train=False, key=None):
        return 3 * images - 1, state

    return Model(lambda key: ({}, {}), apply)


def position():
    """A network that answers by the place in the picture, not by what is there."""

    def apply(params, state, images, *, train=False, key=None):
        rows, columns = jnp.indices(images.shape[1:3], dtype=jnp.float32)
        return images + (0.1 * rows + 0.01 * columns)[None, ..., None], state

    return Model(lambda key: ({}, {}), apply)


@pytest.mark.parametrize("mirror", [(False, False, False), (False, True, True)])
def test_views_of_a_pixelwise_network_agree(key, mirror):
    images = jax.random.normal(key, (1, 12, 10, 1))
    plain = make_predict(pixelwise())({}, {}, images)
    found = make_predict(pixelwise(), mirror=mirror, shift=2)({}, {}, images)
    inner = np.s_[:, 2:-2, 2:-2]  # near the edge some views repeat it
    np.testing.assert_allclose(found[inner], plain[inner], rtol=1e-6)


def test_views_are_the_mean_over_moved_images():
    images = jnp.zeros((1, 9, 9, 1))
    found = make_predict(position(), shift=1)({}, {}, images)[0, 4, 4, 0]
    steps = [(0, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]
    logits = [0.1 * (4 + down) + 0.01 * (4 + right) for down, right in steps]
    assert float(found) == pytest.approx(np.mean(1 / (1 + np.exp(-np.array(logits)))), rel=1e-6)


def test_slices_come_with_their_neighbors():
    images = jnp.arange(6.0)[:, None, None, None] * jnp.ones((6, 8, 8, 1))
    found = _stacked(images, unet(channels=(4, 8), in_channels=3))
    np.testing.assert_array_equal(found[:, 0, 0], [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]])
    assert _stacked(images, unet_3d(channels=(4, 8))).shape == (1, 6, 8, 8, 1)
    np.testing.assert_array_equal(_stacked(images, unet(channels=(4, 8))), images)


def test_slabs_fit_the_network():
    for levels, flat in ((2, 0), (4, 0), (6, 0), (4, 2)):
        model = unet_3d(channels=(2,) * levels, flat_levels=flat)
        inner, around = Slab.of(model)
        assert (inner + 2 * around) % model.depth_stride == 0
        assert inner + 2 * around >= 16
        assert around >= 1
    assert Slab.of(unet(channels=(4, 8), in_channels=5)).around == 2


def test_channels_without_a_middle_are_refused():
    with pytest.raises(SpecError, match="odd number of channels"):
        Slab.of(unet(channels=(4, 8), in_channels=2))
    with pytest.raises(SpecError, match="one channel, found in_channels=3"):
        Slab.of(unet_3d(channels=(4, 8), in_channels=3))
