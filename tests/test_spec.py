import contextlib
import dataclasses
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax import postprocess, tasks
from lungmask_jax.errors import SpecError
from lungmask_jax.spec import (
    PRESETS,
    ModelSpec,
    PredictSpec,
    PreprocessSpec,
    SegmenterSpec,
    TrainSpec,
    changed_steps,
    from_json,
    to_json,
)

shares = st.floats(0, 1)
sizes = st.floats(0, 1e6)
positive = st.floats(1e-6, 1e3)
counts = st.integers(1, 10**6)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
options = st.dictionaries(st.text(max_size=5), json_values, max_size=3)

preprocessing = st.builds(
    PreprocessSpec,
    window=st.tuples(st.floats(-2000, 0), st.floats(1, 3000)),
    normalize=st.sampled_from(["window", "minmax"]),
    region=st.sampled_from(["full", "body", "lungs"]),
    margin_mm=st.floats(0, 1e4),
    size=st.tuples(st.integers(8, 512), st.integers(8, 512)),
    denoise=st.sampled_from(["none", "median", "bilateral"]),
    clahe_clip_limit=sizes,
    clahe_tiles=st.tuples(st.integers(1, 16), st.integers(1, 16)),
)
networks = st.builds(ModelSpec, name=st.text(max_size=8), options=options)
prediction = st.builds(
    PredictSpec,
    mirror=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    shift=st.integers(0, 2048),
    patch=st.just((0, 0, 0)) | st.tuples(*[st.integers(1, 2048)] * 3),
    step=st.floats(0.1, 1),
)
postprocessing = st.lists(st.tuples(st.text(max_size=8), options), max_size=3)
segmenters = st.builds(
    SegmenterSpec,
    target=st.sampled_from(["lungs", "infection"]),
    model=networks,
    preprocess=preprocessing.filter(lambda spec: spec.region != "lungs"),
    postprocess=postprocessing,
    predict=prediction,
    card=options,
)
training = st.builds(
    TrainSpec,
    steps=counts,
    batch_size=st.integers(1, 2**16),
    learning_rate=positive,
    warmup=shares,
    weight_decay=sizes,
    clip_norm=positive,
    ema_decay=shares,
    loss=st.text(max_size=8),
    augment=sizes,
    opacities=shares,
    coarse=shares,
    gas=shares,
    steps_per_epoch=counts,
    seed=st.integers(0, 2**31),
)
specs = preprocessing | networks | prediction | segmenters | training


@given(specs)
def test_json_and_back_is_the_same_spec(spec):
    again = from_json(to_json(spec), type(spec))
    assert again == spec
    assert to_json(again) == to_json(spec)


@given(specs)
def test_equal_specs_hash_alike_and_so_can_be_static_arguments(spec):
    again = from_json(to_json(spec), type(spec))
    assert hash(again) == hash(spec)
    assert len({spec, again}) == 1


@given(specs)
def test_json_is_what_any_other_reader_accepts(spec):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    values = json.loads(to_json(spec), parse_constant=refuse)
    assert list(values) == [field.name for field in dataclasses.fields(spec)]


@pytest.mark.parametrize("kind", [PreprocessSpec, ModelSpec, TrainSpec])
def test_missing_keys_have_their_defaults(kind):
    assert from_json("{}", kind) == kind()


def test_nested_specs_are_built_from_plain_values():
    spec = from_json('{"target": "lungs", "preprocess": {"size": [64, 32]}}', SegmenterSpec)
    assert spec == SegmenterSpec(target="lungs", preprocess=PreprocessSpec(size=(64, 32)))


@pytest.mark.parametrize("old", [{"flip": True}, {"shift": 3}, {"flip": True, "shift": 3}, {}])
def test_views_of_an_older_bundle_are_read_as_before(old):
    text = json.dumps({"target": "lungs", "version": 1, **old})
    mirror = (False, False, old.get("flip", False))
    expected = PredictSpec(mirror=mirror, shift=old.get("shift", 0))
    assert from_json(text, SegmenterSpec).predict == expected
    with pytest.raises(SpecError, match="unknown key 'flip'"):
        from_json(json.dumps({"target": "lungs", "flip": True, "predict": {}}), SegmenterSpec)


def test_a_lung_model_cannot_want_the_lungs_that_only_it_finds():
    lungs = PreprocessSpec(region="lungs")
    assert SegmenterSpec(target="infection", preprocess=lungs).preprocess == lungs
    with pytest.raises(SpecError, match="'body' or 'full' for a lung model"):
        SegmenterSpec(target="lungs", preprocess=lungs)


def test_whole_numbers_stand_for_floats_but_not_the_other_way_round():
    assert PreprocessSpec(margin_mm=5).margin_mm == 5.0
    assert isinstance(PreprocessSpec(margin_mm=5).margin_mm, float)
    with pytest.raises(SpecError, match=r"expected int for TrainSpec\.steps, found 5\.0"):
        TrainSpec(steps=5.0)


def test_options_are_compared_by_value_whatever_their_order():
    one = ModelSpec(options={"stem": 2, "channels": (8, 16)})
    other = ModelSpec(options={"channels": [8, 16], "stem": 2})
    assert one == other
    assert hash(one) == hash(other)


def test_specs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PreprocessSpec().margin_mm = 1.0


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('{"step": 3}', TrainSpec, "unknown key 'step' in TrainSpec: did you mean 'steps'"),
        (
            '{"x": 3}',
            ModelSpec,
            "unknown key 'x' in ModelSpec: known: 'members', 'name', 'options'",
        ),
        (
            '{"target": "lungs", "preprocess": {"regin": "full"}}',
            SegmenterSpec,
            r"'regin' in SegmenterSpec\.preprocess: did you mean 'region'",
        ),
        ("{}", SegmenterSpec, "incomplete SegmenterSpec.*target"),
        ("[1, 2]", TrainSpec, r"expected TrainSpec .*found \[1, 2\]"),
        ("{steps: 3}", TrainSpec, "expected a TrainSpec as JSON, found '{steps: 3}'"),
        ("", TrainSpec, "as JSON"),
    ],
)
def test_text_that_is_no_such_spec_is_explained(text, kind, message):
    with pytest.raises(SpecError, match=message):
        from_json(text, kind)


TOO_MUCH = {
    "500 levels": '{"card": ' + "[" * 500 + "]" * 500 + "}",
    "100,000 levels": '{"card": {"x": ' + "[" * 10**5 + "]" * 10**5 + "}}",
    "100,000 tables": '{"card": ' + '{"x": ' * 10**5 + "1" + "}" * 10**6,
    "33 levels": '{"target": "lungs", "card": ' + '{"x": ' * 34 + "1" + "}" * 35,
    "5,000 digits": '{"shift": ' + "9" * 5000 + "}",
    "4,000 digits": '{"target": "lungs", "shift": ' + "9" * 4000 + "}",
    "4,000 digits for a float": '{"target": "lungs", "version": 1, "postprocess": {"rim_mm": '
    + "9" * 4000
    + "}}",
    "4,000 digits in a card": '{"target": "lungs", "card": {"x": ' + "9" * 4000 + "}}",
    "NaN": '{"target": "lungs", "postprocess": [["threshold", {"at": NaN}]]}',
    "-Infinity in a card": '{"target": "lungs", "card": {"x": [-Infinity]}}',
    "1e999 in a card": '{"target": "lungs", "card": {"x": [1e999]}}',
    "a key twice": '{"target": "lungs", "target": "lungs"}',
    "a key twice, inside": '{"target": "lungs", "card": {"x": {"a": 1, "a": 1}}}',
    "a long text": '{"target": "' + "a" * 10**7 + '"}',
    "a long value": '{"target": "' + "a" * 10**6 + '"}',
    "a long key": '{"' + "a" * 10**6 + '": 1}',
    "a side of 10^6": '{"target": "lungs", "preprocess": {"size": [1000000, 1000000]}}',
    "a side of 10^9": '{"target": "lungs", "preprocess": {"size": [1000000000, 8]}}',
    "half a pixel": '{"target": "lungs", "preprocess": {"size": [64.5, 64]}}',
    "true pixels": '{"target": "lungs", "preprocess": {"size": [true, true]}}',
    "10^9 tiles": '{"target": "lungs", "preprocess": {"clahe_tiles": [1000000000, 8]}}',
    "10^9 members": '{"target": "lungs", "model": {"members": 1000000000}}',
    "another version": '{"target": "lungs", "version": [[1]]}',
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_too_much_is_refused_at_once_in_few_words(kind):
    begun = time.monotonic()
    with pytest.raises(SpecError) as caught:
        from_json(TOO_MUCH[kind], SegmenterSpec)
    assert len(str(caught.value)) < 1000
    assert time.monotonic() - begun < 5  # 0.1 s where nothing else runs


@given(st.text(alphabet='{}[]":,0123456789.-eE truefalsnNaIity', max_size=60))
def test_any_text_is_a_spec_or_an_error(text):
    for kind in (SegmenterSpec, TrainSpec, ModelSpec):
        with contextlib.suppress(SpecError):
            from_json(text, kind)


@given(st.recursive(st.integers() | st.floats() | st.text() | st.none(), st.lists))
def test_any_value_of_an_option_is_refused_or_goes_through_json(value):
    with contextlib.suppress(SpecError):
        spec = ModelSpec(options={"x": value})
        assert from_json(to_json(spec), ModelSpec) == spec


@pytest.mark.parametrize("value", [{1: 2}, {1, 2}, b"a", object(), 1j, float("nan"), 2**63])
def test_an_option_that_json_cannot_hold_is_refused(value):
    with pytest.raises(SpecError, match=r"expected strings, .* in ModelSpec\.options, found"):
        ModelSpec(options={"x": value})


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (TrainSpec, {"steps": True}, r"expected int for TrainSpec\.steps, found True"),
        (TrainSpec, {"steps": "3"}, "found '3'"),
        (TrainSpec, {"learning_rate": True}, "expected float .* found True"),
        (TrainSpec, {"loss": None}, "expected str .* found None"),
        (SegmenterSpec, {"target": "lungs", "postprocess": [["sides"]]}, r"found \['sides'\]"),
        (SegmenterSpec, {"target": "lungs", "postprocess": {"sides": {}}}, "expected .*found"),
        (SegmenterSpec, {"target": "lungz"}, "no target 'lungz': did you mean 'lungs'"),
        (SegmenterSpec, {"target": "lesions"}, "no target 'lesions': "),
        (PreprocessSpec, {"region": "heart"}, "'full', 'body', .*'lungs'.*found 'heart'"),
        (PreprocessSpec, {"region": ["full"]}, r"found \['full'\]"),
        (PreprocessSpec, {"size": (64,)}, r"found \(64,\)"),
        (PreprocessSpec, {"size": (64, 64, 64)}, "found"),
        (PreprocessSpec, {"size": (64.0, 64)}, "expected int .* found 64.0"),
        (PreprocessSpec, {"size": 64}, "found 64"),
        (PreprocessSpec, {"window": (float("-inf"), 0)}, "expected float .* found -inf"),
        (ModelSpec, {"options": [1]}, r"found \[1\]"),
        (SegmenterSpec, {"target": "lungs", "model": "unet"}, "expected ModelSpec .*'unet'"),
    ],
)
def test_values_of_the_wrong_type_are_refused(kind, values, message):
    with pytest.raises(SpecError, match=message):
        kind(**values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (PreprocessSpec, {"window": (0, 0)}),
        (PreprocessSpec, {"window": (0, float("nan"))}),
        (PreprocessSpec, {"size": (256, 7)}),
        (PreprocessSpec, {"margin_mm": -0.1}),
        (PreprocessSpec, {"clahe_clip_limit": -1}),
        (PreprocessSpec, {"clahe_tiles": (0, 8)}),
        (TrainSpec, {"steps": 0}),
        (TrainSpec, {"batch_size": 0}),
        (TrainSpec, {"steps_per_epoch": 0}),
        (TrainSpec, {"seed": -1}),
        (TrainSpec, {"augment": -1}),
        (TrainSpec, {"weight_decay": -1}),
        (TrainSpec, {"learning_rate": 0}),
        (TrainSpec, {"clip_norm": 0}),
        (TrainSpec, {"warmup": 1.1}),
        (TrainSpec, {"ema_decay": -0.1}),
        (TrainSpec, {"opacities": 2}),
        (TrainSpec, {"gas": -0.5}),
        (TrainSpec, {"steps": 10**10}),
        (TrainSpec, {"batch_size": 10**6}),
        (TrainSpec, {"cycles": 10**6}),
        (TrainSpec, {"seed": 2**63}),
        (TrainSpec, {"learning_rate": 1e300}),
        (PreprocessSpec, {"window": (-1e300, 1e300)}),
        (PreprocessSpec, {"margin_mm": 1e9}),
        (TrainSpec, {"coarse": 1.5}),
    ],
)
def test_values_out_of_range_are_refused(kind, values):
    with pytest.raises(SpecError, match="expected"):
        kind(**values)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_another_version_is_refused(version):
    with pytest.raises(SpecError, match=f"version 2, found {version}"):
        SegmenterSpec(target="lungs", version=version)


def test_a_newer_version_says_upgrade_rather_than_unknown_key():
    with pytest.raises(SpecError, match="upgrade"):
        from_json('{"target": "lungs", "invented_later": 1, "version": 3}', SegmenterSpec)


def test_presets_exist_for_both_targets_and_cannot_be_changed():
    assert {"lungs", "infection"} <= set(PRESETS)
    assert PRESETS["infection"].region == "lungs"
    assert PRESETS["lungs"].region != "lungs"  # nothing has found the lungs before
    with pytest.raises(TypeError):
        PRESETS["lungs"] = PreprocessSpec()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_go_through_json(name):
    assert from_json(to_json(PRESETS[name]), PreprocessSpec) == PRESETS[name]


def read(target="lungs", **postprocess):
    text = json.dumps({"target": target, "version": 1, "postprocess": postprocess})
    return from_json(text, SegmenterSpec)


@pytest.mark.parametrize("target", ["lungs", "infection"])
def test_a_spec_of_version_1_has_the_steps_that_were_code_then(target):
    spec = read(target, threshold=0.4, calibration=[2, 1])
    assert spec.version == 2
    assert spec.postprocess[:2] == (
        ("calibration", {"slope": 2.0, "offset": 1.0}),
        ("threshold", {"at": 0.4}),
    )
    assert from_json(to_json(spec), SegmenterSpec) == spec
    assert read(target, fill_holes=True).postprocess != read(target).postprocess


def test_steps_of_version_1_name_all_their_numbers():
    for target in ("lungs", "infection"):
        steps = read(target, fill_holes=True, rim_mm=3.0, min_component_ml=2.0).postprocess
        assert postprocess.complete(steps) == steps


def test_what_training_chose_by_itself_in_version_1_is_the_steps_of_the_task():
    for target, settings in (
        ("lungs", {"min_component_ml": 5.0, "fill_holes": True}),
        ("infection", {"min_component_ml": 0.1, "rim_mm": 5.0}),
    ):
        own = SegmenterSpec(target=target).postprocess
        assert postprocess.complete(own) == read(target, **settings).postprocess


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 1}', "expected a target of lungs, infection, found None"),
        ('{"version": 1, "target": ["x"]}', r"found \['x'\]"),
        ('{"version": 1, "target": "lungs", "postprocess": 5}', "expected .*found 5"),
        ('{"version": 1, "target": "lungs", "postprocess": {"rim": 5}}', "did you mean 'rim_mm'"),
        ('{"version": 1, "target": "lungs", "postprocess": {"fill_holes": 1}}', "bool .*found 1"),
        ('{"version": 1, "target": "lungs", "postprocess": {"threshold": 1}}', "between 0 and 1"),
        (
            '{"version": 1, "target": "lungs", "postprocess": {"calibration": [0, 1]}}',
            "slope above 0",
        ),
        (
            '{"version": 1, "target": "lungs", "postprocess": {"min_component_ml": -1}}',
            "from 0 to",
        ),
        ('{"version": true, "target": "lungs"}', "version 2, found True"),
    ],
)
def test_a_spec_that_is_none_of_version_1_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        from_json(text, SegmenterSpec)


def test_a_region_is_that_which_the_task_lies_inside():
    tasks.registry.register("spots_for_tests", tasks.Task(name="spots_for_tests", inside="lungs"))
    around = PreprocessSpec(region="infection")
    with pytest.raises(SpecError, match="region 'lungs' for a spots_for_tests model"):
        SegmenterSpec(target="spots_for_tests", preprocess=around)
    assert SegmenterSpec(target="spots_for_tests").needs == "lungs"


def test_one_number_of_the_steps_is_changed_and_the_others_stay():
    steps = (("threshold", {"at": 0.5}), ("within", {"rim_mm": 5.0, "most_share": 0.1}))
    changed = changed_steps(steps, "within", rim_mm=3.0)
    assert changed == (steps[0], ("within", {"rim_mm": 3.0, "most_share": 0.1}))
    assert changed_steps(steps, "calibration", slope=2.0)[0] == ("calibration", {"slope": 2.0})
