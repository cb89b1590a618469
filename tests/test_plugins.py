import importlib
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lungmask_jax import cli, losses, models, tasks, weights
from lungmask_jax.cli import _probe
from lungmask_jax.errors import PluginError, SpecError, UnknownNameError, WeightsError
from lungmask_jax.registry import Registry
from lungmask_jax.spec import ModelSpec, SegmenterSpec, TrainSpec
from lungmask_jax.training import Samples, train

GROUP = "lungmask_jax.models"
KEY = jax.random.key(0)

NETWORK = """
import jax.numpy as jnp
from lungmask_jax.models import Model

def build(*, scale=1.0):
    return Model(
        init=lambda key: ({"w": jnp.float32(scale), "b": jnp.float32(0)}, {}),
        apply=lambda p, s, images, *, train=False, key=None: (images * p["w"] + p["b"], s),
    )
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a fake distribution with one module and some entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = []

    def install(name, entries, source="", group=GROUP):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{entry} = {value}" for entry, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
        importlib.invalidate_caches()
        modules.append(module)
        return module

    yield install
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def registry():
    return Registry(GROUP, {"join": "os.path:join"})


def test_without_anything_a_registry_is_empty():
    registry = Registry("a.group.that.nobody.uses", {})
    assert list(registry) == []
    assert len(registry) == 0
    with pytest.raises(UnknownNameError, match="known: none"):
        registry["x"]


def test_listing_and_asking_import_nothing(registry, install):
    module = install("lung-net", {"lung_net": "lung_net:build"}, "raise RuntimeError('imported')")
    assert list(registry) == ["join", "lung_net"]
    assert len(registry) == 2
    assert "lung_net" in registry
    assert "lung_nets" not in registry
    assert module not in sys.modules


def test_looking_up_imports_that_package_alone_and_once(registry, install):
    one = install("one-net", {"one": "one_net:build"}, "def build(): ...")
    other = install("other-net", {"other": "other_net:build"}, "def build(): ...")
    assert registry["one"] is registry["one"] is sys.modules[one].build
    assert other not in sys.modules


def test_a_builtin_cannot_be_shadowed(registry, install):
    module = install("thief", {"join": "thief:join"}, "join = None")
    assert registry["join"] is importlib.import_module("os.path").join
    assert list(registry) == ["join"]
    assert module not in sys.modules


def test_two_claimants_are_both_named(registry, install):
    install("first-net", {"net": "first_net:build"}, "build = 1")
    install("second-net", {"net": "second_net:build"}, "build = 2")
    assert list(registry) == ["join", "net"]
    with pytest.raises(PluginError, match=r"first-net \(first_net:build\).*second-net"):
        registry["net"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError.*a_module_that_is_not_there"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "AttributeError.*build"),
        ("build = (", "SyntaxError"),
        ("import sys; sys.exit('enough')", "SystemExit: enough"),
        ("class End(BaseException): ...\nraise End('over')", "End: over"),
        ("raise RecursionError", "RecursionError"),
        ("raise RuntimeError('a' * 10**6)", "RuntimeError: a{200,300}$"),
    ],
)
def test_a_broken_plugin_is_named_and_leaves_the_others_alone(registry, install, source, message):
    install("broken-net", {"broken": "broken_net:build"}, source)
    with pytest.raises(PluginError, match=rf"'broken' .* broken-net \(.*{message}") as caught:
        registry["broken"]
    assert caught.value.__cause__ is not None
    assert callable(registry["join"])


@pytest.mark.parametrize("value", ["5", "None", "'a text'"])
def test_a_name_for_something_else_than_a_function_is_named(registry, install, value):
    install("five-net", {"five": "five_net:build"}, f"build = {value}")
    with pytest.raises(PluginError, match=rf"a function for 'five' .*five-net.* found {value}"):
        registry["five"]


def test_ctrl_c_passes_and_says_where_it_was(registry, install):
    install("slow-net", {"slow": "slow_net:build"}, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt) as caught:
        registry["slow"]
    assert "slow-net" in " ".join(caught.value.__notes__)


def test_a_package_without_a_name_is_told_by_its_place(registry, install, tmp_path):
    install("no-name", {"net": "no_name:build"}, "def build(): ...")
    (tmp_path / "no_name-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\n")
    assert registry["net"]() is None
    assert str(tmp_path) in registry.owner("net")


def test_a_package_whose_entry_points_cannot_be_read_leaves_the_others_alone(
    registry, install, tmp_path
):
    install("good-net", {"good": "good_net:build"}, "def build(): ...")
    install("garbled", {"bad": "garbled:build"})
    (tmp_path / "garbled-1.0.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\nnonsense\n")
    assert list(registry) == ["good", "join"]
    assert callable(registry["good"])
    assert [problem for problem in registry.unusable_claims() if "garbled" in problem]


def test_a_name_that_shadows_a_builtin_is_told(registry, install):
    install("thief", {"join": "thief:join"})
    (problem,) = registry.unusable_claims()
    assert "thief claims 'join' in 'lungmask_jax.models'" in problem


def test_an_unknown_name_suggests_the_nearest(registry, install):
    install("lung-net", {"lung_net": "lung_net:build"})
    with pytest.raises(UnknownNameError, match=r"no 'lungnet' among the .*'lung_net'"):
        registry["lungnet"]
    assert registry.get("lungnet") is None


def test_entry_points_of_other_groups_do_not_count(registry, install):
    install("elsewhere", {"net": "elsewhere:build"}, group="lungmask_jax.weights")
    assert "net" not in registry


def test_a_name_registered_here_can_be_replaced_but_takes_no_other(registry, install):
    install("lung-net", {"lung_net": "lung_net:build"})
    registry.register("mine", len)
    registry.register("mine", sum)
    assert registry["mine"] is sum
    assert list(registry) == ["join", "lung_net", "mine"]
    for taken in ("join", "lung_net"):
        with pytest.raises(PluginError, match=f"'{taken}' is taken"):
            registry.register(taken, max)
    with pytest.raises(PluginError, match=r"expected a function for 'five' .* found 5"):
        registry.register("five", 5)


def test_an_architecture_of_a_plugin_is_created_and_trained(install):
    install("line-net", {"line": "line_net:build"}, NETWORK)
    assert {"line", "unet"} <= set(models.registry)
    model = models.create("line", scale=2.0)
    params, state = model.init(KEY)
    images = jnp.full((1, 8, 8, 1), 3.0)
    np.testing.assert_array_equal(model.apply(params, state, images)[0], jnp.full_like(images, 6))
    samples = Samples.of(np.ones((2, 8, 8, 1), np.float32), np.zeros((2, 8, 8)))
    spec = TrainSpec(steps=1, batch_size=2, warmup=0, augment=0)
    (epoch,) = train(model, samples, spec)
    assert float(epoch.train_state.params["b"]) < 0  # everything is background: logits fall


LOSS = """
def build(logits, targets, *, power=2):
    return (abs(logits - targets) ** power).mean(axis=(1, 2, 3))
"""

PATH = """
from pathlib import Path

def build():
    return Path(__file__).with_name("mine.npz")
"""


def test_a_loss_of_a_plugin_is_trained_with(install):
    install("line-loss", {"line": "line_loss:build"}, LOSS, group="lungmask_jax.losses")
    install("line-net-two", {"line_two": "line_net_two:build"}, NETWORK)
    assert "line" in losses.registry
    assert "line" not in models.registry
    samples = Samples.of(np.ones((2, 8, 8, 1), np.float32), np.ones((2, 8, 8)))
    options = {"loss": "line", "loss_options": {"power": 4}}
    spec = TrainSpec(steps=1, batch_size=2, warmup=0, augment=0, **options)
    (epoch,) = train(models.create("line_two", scale=3.0), samples, spec)
    assert epoch.loss == (3 - 1) ** 4


def test_weights_of_a_plugin_are_loaded_by_name(install, tmp_path):
    install("line-weights", {"mine": "line_weights:build"}, PATH, group="lungmask_jax.weights")
    spec = SegmenterSpec(target="lungs", model=ModelSpec(options={"channels": [2], "stem": 1}))
    weights.save(tmp_path / "mine.npz", spec, *weights.create_model(spec.model).init(KEY))
    assert "mine" in weights.registry
    assert weights.load("mine").spec.model == spec.model


FAULTS = {
    "None": "return None",
    "5": "return 5",
    "TypeError: no": "raise TypeError('no')",
    "SystemExit: 1": "raise SystemExit(1)",
    "ZeroDivisionError": "return 1 / 0",
}


@pytest.mark.parametrize("said", FAULTS)
def test_an_architecture_that_fails_is_named_with_its_options(install, said):
    name = f"odd{list(FAULTS).index(said)}"
    install(name, {name: f"{name}:build"}, f"def build(*, width=8):\n    {FAULTS[said]}")
    with pytest.raises(PluginError, match=rf"'{name}'.* {name}.* {said}") as caught:
        models.create(name, width=4)
    assert "Model" in str(caught.value) or "{'width': 4}" in str(caught.value)


def test_an_unknown_option_suggests_the_nearest(install):
    install("line-net", {"line": "line_net:build"}, NETWORK)
    with pytest.raises(SpecError, match=r"'scales': 2.*'line'.*did you mean 'scale'"):
        models.create("line", scales=2)


def test_an_init_that_fails_is_named_before_anything_is_made(install):
    source = "from lungmask_jax.models import Model\ndef build(): return Model(init=5, apply=5)"
    install("no-init", {"no_init": "no_init:build"}, source)
    with pytest.raises(
        PluginError, match=r"'no_init' .* makes no parameters, from no-init: TypeErr"
    ):
        weights.create_model(ModelSpec(name="no_init"))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "TypeError"),
        ("return 5", "TypeError"),
        ("raise OSError('no disk')", "OSError: no disk"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_weights_of_a_plugin_without_a_path_are_named(install, body, said):
    name = f"path{len(body)}"
    source = f"def f():\n    {body}"
    install(name, {name: f"{name}:f"}, source, group="lungmask_jax.weights")
    with pytest.raises(PluginError, match=f"'{name}' .* returns no path .* {name}: {said}"):
        weights.load(name)


def test_a_bundle_of_a_network_that_is_gone_names_file_network_and_package(install, tmp_path):
    module = install("line-net", {"line": "line_net:build"}, NETWORK)
    spec = SegmenterSpec(target="lungs", model=ModelSpec(name="line", options={"scale": 3.5}))
    path = tmp_path / "mine.npz"
    weights.save(path, spec, *weights.create_model(spec.model).init(KEY))
    assert weights.load(path).spec.model == spec.model
    (tmp_path / f"{module}-1.0.dist-info" / "entry_points.txt").unlink()
    importlib.invalidate_caches()
    other = ModelSpec(name="line", options={"scale": 4.5})  # the first is in memory
    with pytest.raises(UnknownNameError):
        weights.create_model(other)
    weights._bundle._created.cache_clear()
    with pytest.raises(WeightsError, match=r"'line' of .*mine\.npz is not .* 'line-net 1\.0'"):
        weights.load(path)


TASK = """
from lungmask_jax.tasks import Task

SCAR = Task(name="scar", postprocess=(("threshold", {}), ("thinned", {"by": 2})))

def thinned(mask, *, by=1):
    return mask
"""


def test_a_bundle_of_a_task_that_is_gone_names_file_task_and_package(install, tmp_path):
    module = install("scar-task", {"scar": "scar_task:SCAR"}, TASK, group="lungmask_jax.tasks")
    entries = tmp_path / f"{module}-1.0.dist-info" / "entry_points.txt"
    step = "[lungmask_jax.postprocess]\nthinned = scar_task:thinned\n"
    entries.write_text(entries.read_text() + step)
    assert "scar" in tasks.targets()
    spec = SegmenterSpec(target="scar", model=ModelSpec(options={"channels": [2], "stem": 1}))
    path = tmp_path / "mine.npz"
    weights.save(path, spec, *weights.create_model(spec.model).init(KEY))
    assert weights.load(path).spec.postprocess[1] == ("thinned", {"by": 2})
    entries.unlink()
    importlib.invalidate_caches()
    with pytest.raises(WeightsError, match=r"mine\.npz .* no target 'scar'.*'scar-task 1\.0'"):
        weights.load(path)


def test_options_that_an_architecture_does_not_take_are_refused():
    with pytest.raises(SpecError, match=r"'depth': 3.*'unet'.*depth"):
        models.create("unet", depth=3)


def test_an_unknown_architecture_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'unet'"):
        models.create("u_net")


def test_models_and_weights_are_listed_with_who_brings_them(install, capsys):
    install("lung-net", {"lung_net": "lung_net:build"}, NETWORK)
    assert cli.main(["models"]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "lung_net" in one]
    assert "lung-net" in line
    assert "scale=1.0" in line
    assert cli.main(["weights"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("lungs", "infection", "non-commercial"))


def test_the_doctor_names_what_is_broken_and_shows_the_rest(install, capsys):
    assert cli.main(["doctor"]) == 0
    healthy = capsys.readouterr().out
    assert f"jax {jax.__version__}" in healthy
    assert "can be loaded" in healthy
    install("sick-net", {"sick": "sick_net:build"}, "raise RuntimeError('no such [b]device[/b]')")
    assert cli.main(["doctor"]) == 1
    assert "'sick' in 'lungmask_jax.models'" in capsys.readouterr().out
    assert cli.main(["models"]) == 1
    printed = capsys.readouterr().out
    assert "no such [b]device[/b]" in printed
    assert "unet_3d" in printed


def test_a_package_that_hangs_is_given_up(install, monkeypatch):
    monkeypatch.setattr(_probe, "_PATIENCE_S", 3)
    install("hangs", {"hangs": "hangs:build"}, "import time\nwhile True: time.sleep(1)")
    with pytest.raises(PluginError, match=r"'hangs' .* hangs did not respond in 3 seconds"):
        _probe.cells("models", "hangs")


def test_the_doctor_goes_on_whatever_a_package_does(install, capsys):
    install("five", {"five": "five:build"}, "build = 5")
    install("thief", {"unet": "thief:build"})
    install("crash", {"crash": "crash:build"}, "import os; os._exit(3)")
    install("gone", {"gone": "a_module_that_is_gone:build"})
    install("none", {"none": "none:build"}, "def build(): return None")
    assert cli.main(["doctor"]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG")]
    for said in (
        "'five' .* found 5",
        "thief claims 'unet'",
        "'crash' .* ended the process",
        "'gone' .* No module named",
        "'none' .* found None",
    ):
        assert [line for line in wrong if re.search(said, line)], said
    assert len(wrong) == 5
    assert not {"five", "thief", "none"} & sys.modules.keys()


def test_a_name_says_who_brings_it(registry, install):
    install("lung-net", {"lung_net": "lung_net:build"}, NETWORK)
    registry.register("mine", len)
    owners = [registry.owner(name) for name in ("join", "lung_net", "mine")]
    assert owners == ["lungmask-jax", "lung-net", "this process"]
    with pytest.raises(UnknownNameError):
        registry.owner("nobody")
