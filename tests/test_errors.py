import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax import errors
from lungmask_jax.errors import LungmaskError, nearest, shown

KINDS = {
    errors.ScanError: ValueError,
    errors.ShapeError: ValueError,
    errors.SpecError: ValueError,
    errors.WeightsError: ValueError,
    errors.UnknownNameError: KeyError,
    errors.MissingPackageError: ImportError,
    errors.PluginError: ImportError,
    errors.ConformanceError: AssertionError,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_ours_and_the_builtin_one_expects(kind):
    with pytest.raises(LungmaskError, match="expected this") as caught:
        raise kind("expected this, found that")
    assert isinstance(caught.value, KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_shown_as_it_was_written(kind):
    assert str(kind("no 'x': did you mean 'y'?")) == "no 'x': did you mean 'y'?"
    assert str(kind()) == ""


def test_the_tree_in_the_docstring_names_every_class():
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert defined == {kind.__name__ for kind in KINDS} | {"LungmaskError", "ScanWarning"}
    for name in defined:
        assert name in errors.__doc__


def test_a_file_that_is_not_open_to_you_is_named():
    error = PermissionError(13, "Permission denied", "a.nii")
    assert errors.reason(error) == (
        "a.nii is not open to you (Permission denied): check its permissions"
    )


def test_a_mended_scan_is_a_warning_and_no_error():
    assert issubclass(errors.ScanWarning, UserWarning)
    assert not issubclass(errors.ScanWarning, LungmaskError)


def test_nearest_of_nothing_says_so():
    assert nearest("unet", []) == "known: none"


def test_nearest_prefers_the_closest_name():
    assert nearest("unet3", ["unet", "units", "linear"]) == "did you mean 'unet'?"


def test_nearest_lists_all_names_when_none_is_close():
    assert nearest("qqq", iter(["unet", "linear"])) == "known: 'linear', 'unet'"


@given(st.text(min_size=1), st.sets(st.text(min_size=1), min_size=1))
def test_nearest_suggests_only_what_is_known(name, known):
    said = nearest(name, known)
    if said.startswith("did you mean"):
        assert said in {f"did you mean {choice!r}?" for choice in known}
    else:
        assert all(repr(choice) in said for choice in known)


def test_nearest_of_a_long_name_is_quick():
    assert nearest("unet" + "x" * 10**7, ["unet", "linear"]).startswith("known")


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


HUGE = {
    "digits": lambda: 10**5000,
    "digits in a list": lambda: [10**5000],
    "text": lambda: "a" * 10**7,
    "list": lambda: [0] * 10**6,
    "table": lambda: dict.fromkeys(range(10**5)),
    "levels": lambda: nested(10**4),
}


@pytest.mark.parametrize("kind", HUGE)
def test_whatever_is_shown_is_short(kind):
    assert len(shown(HUGE[kind]())) < 1000


@pytest.mark.parametrize("value", [0, -1.5, "text", None, [1, 2], (3, 4), {"a": [1]}])
def test_what_is_short_is_shown_as_it_is(value):
    assert shown(value) == repr(value)
