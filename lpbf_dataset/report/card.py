"""The dataset card: a README.md for the Hugging Face Hub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from lpbf_dataset.report.card_histories import histories_text
from lpbf_dataset.report.curation import known
from lpbf_dataset.report.markdown import escape, table, variable_table
from lpbf_dataset.report.published import BIBTEX
from lpbf_dataset.report.text import label, number, percent, unit
from lpbf_dataset.schema import RAGGED_DIMS, STATISTICS

if TYPE_CHECKING:
    from lpbf_dataset.report.curation import Curation

CATALOG_FILE = "catalog.parquet"
"""Name of the table of all cases, beside the store."""

_TITLE = "Part-scale laser powder bed fusion simulations"
# https://huggingface.co/docs/hub/repositories-licenses, those that data is published under.
_HUB_LICENCES = re.compile(
    r"mit|apache-2\.0|bsd-3-clause|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-4\.0|odc-by|odbl|pddl|cdla-permissive-2\.0"
)
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))


def dataset_card(curation: Curation, store: str = "lpbf.zarr") -> str:
    """Write the card of a store.

    Parameters
    ----------
    curation : Curation
        What the store was made from, with its attributes.
    store : str
        Path or fsspec URL by which readers open the store.

    Returns
    -------
    str
        Markdown with YAML front matter; the same curation gives the same text.
    """
    front = yaml.safe_dump(_metadata(curation), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---\n\n# {_TITLE}",
        _summary(curation),
        "## Load it\n\n" + _LOADING.format(store=store, catalog=CATALOG_FILE),
        "## Variables\n\n" + _variables(curation),
        "## Histories of the builds\n\n" + histories_text(curation, store),
        "## Statistics of the cases\n\n" + _statistics(curation),
        "## Splits\n\n" + _splits(curation),
        "## How the cases were chosen\n\n" + _selection(curation),
        "## Provenance and terms\n\n" + _provenance(curation),
        "## Limits\n\n" + _limits(curation),
        f"## Citation\n\nThe task, the published selection and FLARE:\n\n```bibtex\n{BIBTEX}```",
    ]
    return "\n\n".join(parts) + "\n"


_LOADING = """\
```python
import lpbf_dataset as lpbf

ds = lpbf.open_dataset("{store}")
case = ds.train[0]  # or ds["<case id>"]
print(case.case_id, case.points.shape, case.displacement.shape)
```

Any Zarr reader works too:

```python
import xarray as xr

print(xr.open_zarr("{store}"))
```

`{catalog}` lists every case found, kept or not, and why: `pandas.read_parquet("{catalog}")`."""


def _metadata(curation: Curation) -> dict[str, Any]:
    kept = len(curation.kept)
    return {
        "pretty_name": _TITLE,
        **_licence(str(curation.attributes.get("licence", ""))),
        "task_categories": ["graph-ml"],
        "size_categories": [next((size for limit, size in _SIZES if kept < limit), "n>1M")],
        "tags": ["additive-manufacturing", "lpbf", "finite-elements", "mesh", "surrogate-model", "zarr"],
        "configs": [{"config_name": "catalog", "data_files": CATALOG_FILE}],
    }


def _licence(licence: str) -> dict[str, str]:
    """Licence as the Hub spells it: an identifier, or "other" with a name."""
    if _HUB_LICENCES.fullmatch(licence.lower()):
        return {"license": licence.lower()}
    if not (name := re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")):
        return {"license": "unknown"}
    return {"license": "other", "license_name": name}


def _summary(curation: Curation) -> str:
    kept = curation.kept
    return (
        f"{number(len(kept))} simulated prints of {number(kept['design_id'].nunique())} designs: for each, "
        "the hexahedral mesh of the part and, at its nodes, how far it has warped and how it is stressed "
        "after it was printed by laser powder bed fusion, cooled down and cut from the plate. Made for "
        "surrogate models that predict the distortion from the shape. Lengths are in mm, z is the build "
        "direction, and z = 0 is the top of the plate."
    )


def _variables(curation: Curation) -> str:
    final = [variable for variable in curation.variables if variable.dim in RAGGED_DIMS]
    return (
        "Meshes differ in size, so the nodes, cells and edges of all cases stand one after another "
        "(contiguous ragged arrays of the CF conventions): those of a case start at `node_offset` and are "
        f"`node_count` many, and so on.\n\n{variable_table(final)}"
    )


def _statistics(curation: Curation) -> str:
    rows = []
    for name in curation.statistics:
        values = known(curation.kept, name)
        summary = (values.min(), values.median(), values.mean(), values.max())
        rows.append((f"`case_{name}`", label(name), unit(STATISTICS[name].units), *map(number, summary)))
    return table(("variable", "meaning", "unit", "minimum", "median", "mean", "maximum"), rows)


def _splits(curation: Curation) -> str:
    kept = len(curation.kept)
    rows = (
        (name, number(cases), percent(cases / max(kept, 1)))
        for name, cases in curation.split_counts().items()
    )
    build = curation.attributes.get("build", {})
    method = {
        "design": "Whole designs were drawn, so that no split holds a sibling of a part in another.",
        "random": "Single cases were drawn: bodies of one design may be in different splits.",
        "official": "The split follows a list: that of the publisher of the parts, or another one given.",
    }.get(str(build.get("split")), "")
    warnings = [] if curation.leakage is None else [f"- {escape(w)}" for w in curation.leakage.warnings()]
    return "\n\n".join(filter(None, (method, table(("split", "cases", "share"), rows), "\n".join(warnings))))


def _selection(curation: Curation) -> str:
    rows = ((f"`{stage.label}`", number(stage.left), number(stage.lost)) for stage in curation.funnel())
    text = table(("stage", "cases left", "lost here"), rows)
    failures = curation.catalog.loc[curation.catalog["status"] == "failed", "failure"]
    if failures.empty:
        return text
    counts = failures.value_counts().sort_index()
    listed = ", ".join(f"{escape(str(name))} ({number(count)})" for name, count in counts.items())
    return f"{text}\n\nCases that could not be used: {listed}."


def _provenance(curation: Curation) -> str:
    attributes = curation.attributes
    producer = attributes.get("producer", {})
    lines = [f"- Built by {producer.get('name', 'lpbf-toolkit')} {producer.get('version', '')}".rstrip()]
    lines += [
        f"- {title}: {escape(str(attributes[name]))}"
        for name, title in (
            ("licence", "Licence of the source data"),
            ("citation", "Cite for the source data"),
        )
        if name in attributes
    ]
    lines += [
        f"- Source `{escape(name)}`, SHA-256 of the hashes of its cases: `{escape(value)}`"
        for name, value in attributes.get("source_hashes", {}).items()
    ]
    return "\n".join(lines) + "\n\nThe full configuration of the build is in the attributes of the store."


def _limits(curation: Curation) -> str:
    kept = curation.kept
    sources = ", ".join(
        f"{escape(str(name))} ({number(count)})"
        for name, count in kept["source"].value_counts().sort_index().items()
    )
    return "\n".join(
        (
            f"- Every field is simulated, not measured. Simulated by: {sources}.",
            "- Part-scale simulation prescribes strains for groups of layers; it resolves neither melt pool, "
            "microstructure, porosity nor surface roughness.",
            "- A model trained on this set knows no material and no process but those of its simulations.",
            "- What the rules above cut off is missing from the test split too, so errors on such parts may "
            "be larger than those measured here.",
        )
    )
