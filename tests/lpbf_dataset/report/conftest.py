"""A made-up curation of hundreds of cases, some with names that try to break out of the page."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from lpbf_dataset.curation.histories import Histories
from lpbf_dataset.report import Curation
from lpbf_dataset.schema import STATISTICS

NASTY_NAMES = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "</td></tr></table><b>out</b>",
    "case | with `pipes` & *stars* $x_1$",
    "---\nlicense: stolen\n---",
    "Größe_Ω_形状_🧪",
    "not text \udcff",
    "",
)


@dataclass(frozen=True)
class MadeUpRule:
    statistic: str
    maximum: float
    minimum: float = -np.inf

    def __str__(self) -> str:
        return f"{self.statistic} <= {self.maximum:g}"


RULES = (
    MadeUpRule("nodes", 50_000),
    MadeUpRule("max_aspect_ratio", 3.0),
    MadeUpRule("max_displacement_z", 1.0),
    MadeUpRule("max_von_mises_stress", 2000.0),
)


@dataclass(frozen=True)
class MadeUpLeakage:
    evaluated: int
    siblings: pd.DataFrame
    duplicates: pd.DataFrame
    threshold: float = 0.02
    sibling_share: float = 0.25
    duplicate_share: float = 0.01

    def warnings(self) -> list[str]:
        return [f"{len(self.siblings)} pairs of siblings, such as {self.siblings.iloc[0, 0]!r}"]


def make_catalog(cases: int, seed: int = 0) -> pd.DataFrame:
    """Return a catalog whose statistics resemble those of the published set."""
    random = np.random.default_rng(seed)
    nodes = np.exp(random.normal(9.8, 1.0, cases)).astype(np.int64) + 100
    height = np.minimum(60.0, 0.6 * np.ceil(random.gamma(2.5, 20.0, cases)))
    lift = random.lognormal(-1.5, 0.9, cases)
    names = [*NASTY_NAMES, *(f"{20_000 + i}_{i:08x}_{i % 4}" for i in range(cases))]
    table = pd.DataFrame(
        {
            # Of objects, as Arrow's text holds no lone surrogates.
            "case_id": pd.Series(names[:cases], dtype=object),
            "design_id": [f"{20_000 + i // 3}_{i // 3:08x}" for i in range(cases)],
            "source": "netfabb",
            "location": "raw/archive.zip",
            "content_hash": [f"{i:064x}" for i in range(cases)],
            "status": "kept",
            "reason": "",
            "rule": "",
            "failure": "",
            "split": random.choice(["train", "val", "test"], cases, p=[0.8, 0.1, 0.1]),
            "value": np.nan,
            "nodes": nodes,
            "cells": (nodes * 0.53).astype(np.int64),
            "directed_edges": nodes * 5,
            "edges_per_node": random.normal(5.0, 0.2, cases),
            "mean_aspect_ratio": random.normal(1.64, 0.1, cases),
            "max_aspect_ratio": random.normal(2.2, 0.5, cases),
            "max_z": height,
            "max_displacement": lift * 1.1,
            "max_displacement_z": lift,
            "min_displacement_z": -0.3 * lift,
            "max_von_mises_stress": random.normal(950.0, 350.0, cases).clip(100.0),
            "volume": random.lognormal(8.0, 1.2, cases),
            "surface_area": np.where(random.random(cases) < 0.1, np.nan, random.lognormal(8.0, 0.8, cases)),
            "genus": random.integers(-1, 9, cases),
            "watertight": random.integers(-1, 2, cases),
            "wall_thickness": random.lognormal(0.3, 0.5, cases),
        }
    )
    table = table.assign(**{n: np.nan for n in STATISTICS if n not in table})
    for rule in reversed(RULES):
        beyond = table[rule.statistic] > rule.maximum
        table.loc[beyond, "status"] = "rejected"
        table.loc[beyond, "rule"] = str(rule)
        table.loc[beyond, "value"] = table.loc[beyond, rule.statistic]
        table.loc[beyond, "reason"] = [
            f"{rule.statistic} is {v:g}, above {rule.maximum:g}" for v in table["value"][beyond]
        ]
    failed = np.arange(cases) % 7 == 3
    table.loc[failed, "status"] = "failed"
    table.loc[failed, "rule"] = ""
    table.loc[failed, "failure"] = random.choice(
        ["truncated_file", "no_case_file", "<b>odd</b>"], failed.sum()
    )
    table.loc[failed, "reason"] = [f"SandBox/{c}/results: cut short" for c in table.loc[failed, "case_id"]]
    for name, statistic in STATISTICS.items():
        table.loc[failed, name] = np.nan if statistic.dtype == "float64" else -1
    table.loc[table["status"] != "kept", "split"] = ""
    return table.astype({name: statistic.dtype for name, statistic in STATISTICS.items()})


def make_curation(cases: int = 400) -> Curation:
    """Return a whole curation of a made-up catalog."""
    catalog = make_catalog(cases)
    kept = catalog[catalog["status"] == "kept"]
    pairs = pd.DataFrame(
        {
            "case_id": kept["case_id"].iloc[:8].to_numpy(),
            "split": "test",
            "other": kept["case_id"].iloc[8:16].to_numpy(),
            "other_split": "train",
        }
    )
    factors = (0.5, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)
    sensitivity = pd.DataFrame(
        [
            (str(rule), f, rule.maximum * f, len(kept) + round(40 * (f - 1)), round(40 * (f - 1)))
            for rule in RULES
            for f in factors
        ],
        columns=["rule", "factor", "bound", "kept", "difference"],
    )
    comparison = pd.DataFrame(
        [
            (method, split, cases, 20_000.5, 29.4, 0.98, share, share / 10)
            for method, share in (("design", 0.0), ("random", 0.31))
            for split, cases in (("train", 200), ("val", 25), ("test", 25))
        ],
        columns=["method", "split", "cases", "mean_nodes", "mean_max_z", "max_displacement",
                 "sibling_share", "duplicate_share"],
    )  # fmt: skip
    attributes = {
        "layout": "lpbf-dataset",
        "layout_version": 1,
        "producer": {"name": "lpbf-toolkit", "version": "0.1.0"},
        "build": {"split": "design", "seed": 0, "rules": [str(rule) for rule in RULES]},
        "licence": "Fusion 360 Gallery Dataset License (non-commercial research)",
        "citation": "Lambourne et al., BRepNet, CVPR 2021 <script>alert(3)</script>",
        "source_hashes": {"netfabb": "ab" * 32},
        "normalization": {"points": {}, "displacement": {}, "von_mises_stress": {}, "temperature": {}},
    }
    return Curation(
        catalog,
        RULES,
        sensitivity,
        MadeUpLeakage(
            50,
            pairs.assign(design_id="20000_00000000"),
            pairs.assign(distance=0.0123),
        ),
        comparison,
        attributes,
    )


@pytest.fixture(scope="session")
def curation() -> Curation:
    """Return a curation of 400 cases, all statuses and nasty names among them."""
    return make_curation()


def make_histories() -> Histories:
    """Return the steps of two of three cases; of the second, with a nasty name, some are missing."""
    kinds = ["deposited", "dwelt", "deposited", "dwelt", "cooled", "removed"]
    faults = ["", "truncated_file: a|b*<script>.ens ends early"]
    steps = pd.DataFrame(
        {
            "case_id": np.repeat(["first", NASTY_NAMES[3]], len(kinds)),
            "step": 2 * list(range(len(kinds))),
            "step_node_count": 100,
            "step_node_offset": 100 * np.arange(2 * len(kinds)),
            "step_kind": 2 * kinds,
            "step_time": 2 * [10.0 * step for step in range(len(kinds))],
            "step_height": np.float32(1.0),
            "step_group": 1,
            "step_number": 1,
            "step_mesh": 0,
            "step_fault": [faults[step in (7, 8)] for step in range(2 * len(kinds))],
        }
    )
    return Histories(steps, 3, ("displacement",))


@pytest.fixture(scope="session")
def with_histories(curation: Curation) -> Curation:
    """Return `curation` of a store that holds the steps of the builds."""
    return replace(curation, histories=make_histories())
