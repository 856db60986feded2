from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from lpbf_dataset.report import Curation, dataset_card
from lpbf_dataset.schema import STATISTICS, VARIABLES
from lpbf_dataset.store.writer import StoreWriter


def front_matter(card: str) -> dict:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


def with_licence(curation: Curation, licence: str) -> Curation:
    return replace(curation, attributes={**curation.attributes, "licence": licence})


def test_the_hub_parses_its_metadata(curation):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.DatasetCard(dataset_card(curation))
    assert card.data.license == "other"
    assert card.data.license_name == "fusion-360-gallery-dataset-license-non-commercial-research"
    assert card.data.size_categories == ["n<1K"]
    assert card.data.configs == [{"config_name": "catalog", "data_files": "catalog.parquet"}]
    assert card.data.task_categories == ["graph-ml"]
    assert card.text.lstrip().startswith("# ")


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", {"license": "mit"}),
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("Our own: terms\n---", {"license": "other", "license_name": "our-own-terms"}),
        ("", {"license": "unknown"}),
    ],
)
def test_licences(curation, licence, expected):
    found = front_matter(dataset_card(with_licence(curation, licence)))
    assert {key: value for key, value in found.items() if key.startswith("license")} == expected


@pytest.mark.parametrize(("kept", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (12_345, "10K<n<100K")])
def test_size_category(kept, size):
    catalog = pd.DataFrame(
        {
            "status": ["kept"] * kept,
            "rule": "",
            "design_id": "d",
            "source": "s",
            "split": "train",
            "failure": "",
        }
    )
    assert front_matter(dataset_card(Curation(catalog)))["size_categories"] == [size]


def test_lists_what_the_store_holds(curation):
    card = dataset_card(curation)
    for name, variable in VARIABLES.items():
        assert (f"| `{name}` |" in card) is not variable.optional
    for name in STATISTICS:
        assert f"| `case_{name}` |" in card
    stored = {**curation.attributes["normalization"], "cauchy_stress": {}}
    with_all = replace(curation, attributes={**curation.attributes, "normalization": stored})
    assert "| `cauchy_stress` | (nodes, 6) | float32 | MPa |" in dataset_card(with_all)


def test_tables_are_whole(curation):
    """Every row of a table has as many cells as its head, whatever text is in it."""
    for block in re.findall(r"(?:^\|.*\n)+", dataset_card(curation), flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_text_of_others_is_no_markup(curation):
    card = dataset_card(curation)
    assert "<script>" not in card
    assert r"\<script\>" in card


def test_cites_flare(curation):
    card = dataset_card(curation)
    assert "2508.12594" in card
    for author in ("Puri", "Joglekar", "Bandreddi", "Ferguson", "Chen", "Zhang", "Kara"):
        assert f"{author}, " in card


def test_the_same_twice(curation):
    assert dataset_card(curation) == dataset_card(curation)


def test_its_examples_run(curation, synthetic_case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    case = synthetic_case(2, 2, 2)
    with StoreWriter("lpbf.zarr", fields=("displacement", "von_mises_stress", "temperature")) as writer:
        writer.append(case)
        writer.finish({case.case_id: "train"}, pd.DataFrame({"case_id": [case.case_id]}))
    blocks = re.findall(r"```python\n(.*?)```", dataset_card(curation), flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "card", "exec"), {})  # noqa: S102
    assert "(27, 3)" in capsys.readouterr().out


def test_counts_are_those_of_the_catalog(curation):
    card = dataset_card(curation)
    rejected = curation.catalog["status"].value_counts()["rejected"]
    losses = [int(text) for text in re.findall(r"^\| `\w+ <= .*\| (\d+) \|$", card, flags=re.MULTILINE)]
    assert sum(losses) == rejected
    assert np.isfinite(losses).all()
