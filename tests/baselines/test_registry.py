import dataclasses

import pytest
from torch import nn

from baselines.entry import ModelEntry
from baselines.registry import BASELINES, find_model


def test_finds_by_name_in_any_case() -> None:
    assert find_model("pointnet", BASELINES) is BASELINES["pointnet"]
    assert find_model("PointNet", BASELINES) is BASELINES["pointnet"]


def test_finds_what_was_merged_in() -> None:
    entry = ModelEntry("flare", object, lambda _: nn.Identity(), None, "", "")
    assert find_model("flare", {**BASELINES, "flare": entry}) is entry


def test_suggests_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="no model named 'pointent'; did you mean 'pointnet'"):
        find_model("pointent", BASELINES)


def test_lists_all_where_nothing_is_near() -> None:
    with pytest.raises(ValueError, match=r"no model named 'xyz'; there are .*pointnet"):
        find_model("xyz", BASELINES)


@pytest.mark.parametrize("entry", BASELINES.values(), ids=BASELINES)
def test_entry_is_complete(entry: ModelEntry[object]) -> None:
    assert entry.name == entry.name.lower()
    assert dataclasses.is_dataclass(entry.config_type)
    model = entry.build(entry.config_type(in_channels=3, out_channels=1))
    if entry.published_parameters is not None:
        assert sum(p.numel() for p in model.parameters()) == entry.published_parameters
    assert "arXiv" in entry.citation or "doi" in entry.citation.lower()
    assert entry.licence
