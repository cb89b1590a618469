import os
from pathlib import Path

import hypothesis
import jax
import optax
import pytest

from lungmask_jax import cli

hypothesis.settings.register_profile("lungmask_jax", deadline=None, max_examples=40)
hypothesis.settings.load_profile("lungmask_jax")

collect_ignore = ["references"]  # scripts that need other libraries; what they made is there

# little is computed here, and much compiled
QUICK = "--xla_backend_optimization_level=0"
DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


def pytest_configure():
    """XLA reads its flags at the first computation, in workers and other processes, too."""
    os.environ["XLA_FLAGS"] = f"{QUICK} {os.environ.get('XLA_FLAGS', '').removeprefix(QUICK)}"


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


@pytest.fixture(autouse=True)
def _no_cache_outside(monkeypatch):
    monkeypatch.setattr(cli, "_cache_compilations", lambda: None)


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
