import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from scipy import ndimage

from lungmask_jax.errors import PluginError, ShapeError, SpecError
from lungmask_jax.models import Model, create, from_linen, from_nnx, registry, unet
from lungmask_jax.models._grid import depth_to_space, space_to_depth
from lungmask_jax.prediction import make_predict


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), one, other))


def initial(model, key):
    """Parameters and state, from one program."""
    return jax.jit(model.init)(key)


@pytest.fixture(scope="module")
def small():
    """A U-Net of two levels, its parameters and its jitted forward pass."""
    model = unet(channels=(4, 8), stem=1)
    params, state = initial(model, jax.random.key(0))
    return model, params, state, jax.jit(model.apply, static_argnames="train")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # 188 + 880 encoder, 584 decoder, 5 head; a 3x3 convolution has 9 i o + o
        ({"stem": 1, "norm": "none"}, (1657, 0)),
        # 304 + 896 encoder, 592 decoder, 20 head; 9 i o, and a norm 2 o
        ({"stem": 2, "norm": "group"}, (1812, 0)),
        # the same, and a running mean and variance for each of 32 normed channels
        ({"stem": 2, "norm": "batch"}, (1812, 64)),
    ],
)
def test_the_unet_has_the_parameters_of_its_formula(key, options, expected):
    params, state = jax.eval_shape(unet(channels=(4, 8), **options).init, key)
    assert (size(params), size(state)) == expected


@pytest.mark.parametrize("stem", [1, 2, 4])
@pytest.mark.parametrize("channels", [(4,), (4, 8), (3, 4, 6)])
def test_logits_have_the_shape_of_the_images(key, stem, channels):
    model = unet(in_channels=2, num_classes=3, channels=channels, stem=stem)
    assert (model.in_channels, model.num_classes, model.ndim) == (2, 3, 2)
    assert model.stride == stem * 2 ** (len(channels) - 1)
    params, state = jax.eval_shape(model.init, key)
    images = jnp.zeros((2, model.stride, 3 * model.stride, 2))
    logits, _ = jax.eval_shape(model.apply, params, state, images)
    assert logits.shape == (2, model.stride, 3 * model.stride, 3)
    assert logits.dtype == jnp.float32


def test_the_unet_computes_what_the_paper_draws(key):
    model = unet(channels=(2, 3), stem=1, norm="none")
    params, state = initial(model, key)
    images = noise(2, 4, 6, 1)
    logits, _ = model.apply(params, state, jnp.asarray(images))
    expected = np.stack([drawn(jax.device_get(params), image) for image in images])
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def drawn(params, image):
    """A two-level U-Net in numpy and scipy."""
    fine = block(params["encoder"][0], image)
    coarse = (fine[::2, ::2] + fine[1::2, ::2] + fine[::2, 1::2] + fine[1::2, 1::2]) / 4
    coarse = block(params["encoder"][1], coarse)
    joined = np.concatenate([np.kron(coarse, np.ones((2, 2, 1))), fine], axis=-1)
    result = block(params["decoder"][0], joined)
    return result @ params["head"]["kernel"] + params["head"]["bias"]


def block(params, features):
    for one in params["convolutions"].values():
        kernel = one["kernel"]
        outputs = [
            sum(
                ndimage.correlate(features[..., i], kernel[..., i, o], mode="constant")
                for i in range(kernel.shape[2])
            )
            for o in range(kernel.shape[3])
        ]
        features = np.maximum(np.stack(outputs, axis=-1) + one["bias"], 0)
    return features


def test_another_key_gives_another_network(small):
    model, params, *_ = small
    assert not same(params, initial(model, jax.random.key(1))[0])


def test_other_images_do_not_compile_again(small):
    _, params, state, apply = small
    first, _ = apply(params, state, noise(2, 16, 16, 1))
    count = apply._cache_size()
    second, _ = apply(params, state, noise(2, 16, 16, 1, seed=1))
    assert apply._cache_size() == count
    assert (first != second).any()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 15, 16, 1), r"multiples of 2, found \(15, 16\)"),
        ((1, 16, 16, 2), r"C = 1, found \(1, 16, 16, 2\)"),
        ((16, 16, 1), r"\(N, H, W, C\) with C = 1, found \(16, 16, 1\)"),
        ((1, 4, 16, 16, 1), r"\(N, H, W, C\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(small, shape, message):
    model, params, state, _ = small
    with pytest.raises(ShapeError, match=message):
        model.apply(params, state, jnp.zeros(shape))


@pytest.mark.parametrize(
    "options",
    [
        {"channels": ()},
        {"stem": 3},
        {"norm": "layer"},
        {"dropout": 1.0},
        {"dropout": -0.1},
    ],
)
def test_options_out_of_range_are_refused(options):
    (value,) = options.values()
    with pytest.raises(SpecError, match=rf"expected .*{value}".replace("()", r"\(\)").strip()):
        unet(**options)


def test_a_level_without_channels_is_refused():
    with pytest.raises(SpecError, match=r"expected channels from 1 to .*, found 0"):
        unet(channels=(8, 0))


def test_a_name_of_ours_cannot_be_registered():
    with pytest.raises(PluginError, match="'unet' is taken"):
        registry.register("unet", unet)


def test_a_registered_architecture_is_created_by_name():
    registry.register(
        "thin_unet_for_tests", lambda *, width=4: unet(channels=(width,), num_classes=width)
    )
    assert create("thin_unet_for_tests", width=6).num_classes == 6


def test_a_module_draws_the_numbers_that_flax_gives_its_streams(key):
    def build(rngs):
        stacked = nnx.vmap(lambda each: nnx.Linear(2, 2, rngs=each))(rngs.split(3))
        forked = nnx.Linear(2, 2, rngs=rngs.fork())
        layers = [nnx.Linear(2, 2, rngs=rngs), stacked, forked, nnx.Linear(2, 2, rngs=rngs)]
        return nnx.List(layers)

    params, _ = from_nnx(build).init(key)
    theirs = nnx.to_pure_dict(nnx.state(build(nnx.Rngs(key)), nnx.Param))
    assert same(params, theirs)


def test_batch_statistics_move_in_training_only(key):
    model = from_nnx(lambda rngs: nnx.BatchNorm(1, momentum=0.9, rngs=rngs))
    params, state = model.init(key)
    images = jnp.full((2, 4, 4, 1), 3.0)
    _, same_state = model.apply(params, state, images)
    assert same(state, same_state)
    _, moved = model.apply(params, state, images, train=True)
    np.testing.assert_allclose(moved["mean"], [0.1 * 3], rtol=1e-6)
    np.testing.assert_allclose(moved["var"], [0.9 * 1], rtol=1e-5)


def with_dropout_nnx():
    return from_nnx(lambda rngs: nnx.Dropout(0.5, rngs=rngs))


def with_dropout_linen():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, images, *, train):
            return linen.Dropout(0.5, deterministic=not train)(images)

    return from_linen(Net())


@pytest.mark.parametrize("build", [with_dropout_nnx, with_dropout_linen])
def test_dropout_follows_the_key_and_is_off_in_evaluation(build):
    model = build()
    params, state = model.init(jax.random.key(0))
    images = jnp.ones((1, 16, 16, 1))

    def logits(number, train=True):
        return model.apply(params, state, images, train=train, key=jax.random.key(number))[0]

    np.testing.assert_array_equal(logits(1, train=False), images)
    np.testing.assert_array_equal(logits(1), logits(1))
    assert (logits(1) != logits(2)).any()
    assert set(np.unique(logits(1))) == {0.0, 2.0}


def test_dropout_in_the_unet_is_off_in_evaluation(key):
    model = unet(channels=(4,), stem=1, dropout=0.5)
    params, state = model.init(key)
    plain = unet(channels=(4,), stem=1)
    images = jnp.asarray(noise(1, 4, 4, 1))
    expected, _ = plain.apply(params, state, images)
    np.testing.assert_array_equal(model.apply(params, state, images, key=key)[0], expected)
    assert (model.apply(params, state, images, train=True, key=key)[0] != expected).any()


def test_every_adapter_gives_what_the_module_itself_gives(key):
    module = linen.Conv(1, (3, 3))

    class Net(linen.Module):
        @linen.compact
        def __call__(self, images, *, train):
            return linen.Conv(1, (3, 3), name="conv")(images)

    images = jnp.asarray(noise(2, 8, 8, 1))
    weights = module.init(key, images)["params"]
    expected = module.apply({"params": weights}, images)
    from_flax = from_nnx(lambda rngs: nnx.Conv(1, 1, (3, 3), rngs=rngs))
    assert jax.tree.structure(from_flax.init(key)[0]) == jax.tree.structure(dict(weights))
    plain = Model(
        init=lambda key: (weights, {}),
        apply=lambda p, s, x, *, train=False, key=None: (module.apply({"params": p}, x), s),
    )
    for model, params in (
        (from_flax, weights),
        (from_linen(Net()), {"conv": weights}),
        (plain, weights),
    ):
        logits, state = model.apply(params, {}, images)
        np.testing.assert_array_equal(logits, expected)
        assert state == {}


def test_linen_keeps_its_other_collections_as_state(key):
    class Net(linen.Module):
        @linen.compact
        def __call__(self, images, *, train):
            return linen.BatchNorm(use_running_average=not train, momentum=0.9)(images)

    model = from_linen(Net(), image_shape=(4, 4))
    params, state = model.init(key)
    images = jnp.full((2, 4, 4, 1), 3.0)
    assert same(state, model.apply(params, state, images)[1])
    _, moved = model.apply(params, state, images, train=True)
    assert jax.tree.structure(moved) == jax.tree.structure(state)
    np.testing.assert_allclose(moved["batch_stats"]["BatchNorm_0"]["mean"], [0.3], rtol=1e-6)


def test_a_model_of_volumes_takes_volumes(key):
    model = from_nnx(
        lambda rngs: nnx.Conv(2, 3, (3, 3, 3), rngs=rngs), in_channels=2, num_classes=3, ndim=3
    )
    params, state = model.init(key)
    assert model.apply(params, state, jnp.zeros((1, 2, 4, 6, 2)))[0].shape == (1, 2, 4, 6, 3)
    with pytest.raises(ShapeError, match=r"\(N, D, H, W, C\) with C = 2"):
        model.apply(params, state, jnp.zeros((1, 4, 6, 2)))


@pytest.mark.parametrize(
    ("block", "rows", "columns", "channels"), [(1, 2, 3, 1), (2, 3, 1, 2), (4, 1, 2, 1)]
)
def test_depth_to_space_undoes_space_to_depth(block, rows, columns, channels):
    images = noise(2, rows * block, columns * block, channels)
    folded = space_to_depth(jnp.asarray(images), (block, block))
    assert folded.shape == (2, rows, columns, channels * block**2)
    np.testing.assert_array_equal(depth_to_space(folded, (block, block)), images)


def test_space_to_depth_keeps_the_pixels_of_a_block_together():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    assert space_to_depth(image, (2, 2))[0].tolist() == [
        [[0, 1, 4, 5], [2, 3, 6, 7]],
        [[8, 9, 12, 13], [10, 11, 14, 15]],
    ]


def ramp():
    """A model that answers the image plus the number of the column."""

    def apply(params, state, images, *, train=False, key=None):
        columns = jnp.arange(images.shape[2], dtype=jnp.float32)
        return images + columns[None, None, :, None], state

    return Model(init=lambda key: ({}, {}), apply=apply)


def test_predict_gives_probabilities():
    images = jnp.array([[[[0.0], [-1.0]]]])
    np.testing.assert_allclose(make_predict(ramp())({}, {}, images), [[[[0.5], [0.5]]]])


def test_predict_averages_over_the_mirror_image():
    images = jnp.array([[[[0.0], [2.0]]]])
    found = make_predict(ramp(), mirror=(False, False, True))({}, {}, images)
    # logits 0, 3 and, mirrored and back, 1, 2
    expected = [
        [[(0.5 + 1 / (1 + np.exp(-1))) / 2, (1 / (1 + np.exp(-3)) + 1 / (1 + np.exp(-2))) / 2]]
    ]
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-6)
