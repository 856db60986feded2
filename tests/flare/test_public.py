"""The names that the package offers."""

import inspect

import flare


def test_public_names_are_sorted_documented_and_few() -> None:
    assert flare.__all__ == sorted(flare.__all__, key=lambda name: (not name.isupper(), name))
    assert len(flare.__all__) <= 20
    for name in flare.__all__:
        value = getattr(flare, name)
        assert inspect.getdoc(value), name


def test_spectrum_is_one_module_from_outside() -> None:
    assert flare.spectrum.__all__ == sorted(flare.spectrum.__all__)
    assert all(inspect.getdoc(getattr(flare.spectrum, name)) for name in flare.spectrum.__all__)


def test_every_mixer_is_public() -> None:
    public = {getattr(flare, name) for name in flare.__all__ if inspect.isclass(getattr(flare, name))}
    assert set(flare.MIXERS.values()) <= public
