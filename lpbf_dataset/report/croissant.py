"""Croissant metadata: a description of the set that dataset search engines and loaders read.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from lpbf_dataset.curation.histories import STEPS_FILE
from lpbf_dataset.report.card import CATALOG_FILE
from lpbf_dataset.report.published import BIBTEX
from lpbf_dataset.report.text import label_with_unit, with_unit
from lpbf_dataset.schema import STATISTICS, STEP_COLUMNS
from lpbf_dataset.store.layout import history_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from lpbf_dataset.curation.histories import Histories
    from lpbf_dataset.report.curation import Curation
    from lpbf_dataset.schema import Variable

_TERMS = (
    "citeAs",
    "column",
    "equivalentProperty",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
)
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}
"""The context of the specification in full, as validators warn of any other."""

_TABLES = {
    CATALOG_FILE: "one row per case found, kept or not",
    STEPS_FILE: "one row per step of the builds in the store",
}
_CATALOG_COLUMNS = {
    "case_id": "unique name of the printed body, except for duplicates, which failed",
    "design_id": "name of the parent CAD model",
    "source": "what computed the case",
    "location": "where the case was found",
    "content_hash": "hash of the files that make up the case",
    "status": "kept, rejected or failed",
    "reason": "why the case is not in the store, or which of its steps are missing",
    "rule": "the rule that rejects the case",
    "value": "the value that the rule rejects",
    "failure": "why the case could not be used",
    "split": "train, val or test; empty for a case that is not kept",
}

_STEP_COLUMNS = {
    "case_id": "the case, as in the catalog",
    "step": "position in the history of the case, from 0",
    **{name: column.attributes["long_name"] for name, column in history_columns().items()},
}


def croissant_metadata(
    curation: Curation,
    *,
    sha256: Mapping[str, str],
    store: str = ".",
    url: str = "",
    version: str = "",
    published: date | None = None,
    creator: str = "",
) -> dict[str, Any]:
    """Describe a set by Croissant 1.0.

    Parameters
    ----------
    curation : Curation
        What the set was made from, with the attributes of its store.
    sha256 : mapping of str to str
        Hash of ``catalog.parquet`` and, if the store holds histories, of ``steps.parquet``, by name, in
        hexadecimal digits.
    store : str
        Folder of the store, relative to the description.
    url : str, optional
        Page of the set.
    version : str, optional
        Version of the set, MAJOR.MINOR.PATCH.
    published : date, optional
        Day of publication.
    creator : str, optional
        Who publishes it.

    Returns
    -------
    dict
        JSON-LD, to be written to ``croissant.json`` beside the catalog.  What is not given is left out:
        a set that was never published has no page and no date.
    """
    attributes = curation.attributes
    publication = {
        "url": url,
        "version": version,
        "datePublished": published.isoformat() if published else "",
        "creator": {"@type": "sc:Organization", "name": creator} if creator else "",
    }
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "lpbf",
        "description": _description(curation),
        **{name: value for name, value in publication.items() if value},
        "license": str(attributes.get("licence", "not stated")),
        "citeAs": "\n\n".join(filter(None, (str(attributes.get("citation", "")), BIBTEX))),
        "isLiveDataset": False,
        "distribution": [
            *(_table_file(name, digest) for name, digest in sha256.items()),
            _store_files(store),
        ],
        "recordSet": [_cases(curation.catalog), *_steps(curation.histories), _variables(curation.variables)],
    }


def _description(curation: Curation) -> str:
    histories = curation.histories
    states = "the final states alone" if histories is None else f"the states over the build ({histories})"
    return (
        f"{len(curation.kept)} part-scale simulations of laser powder bed fusion: hexahedral meshes with "
        f"displacement, stress and temperature at the nodes; {states}. The {len(curation.catalog)} cases "
        "found, kept or not, are in the catalog."
    )


def _table_file(name: str, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": _TABLES[name],
        "contentUrl": name,
        "encodingFormat": "application/x-parquet",
        "sha256": sha256,
    }


def _store_files(store: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "store",
        "name": "store",
        "description": "Zarr (format 3) group of contiguous ragged arrays; open it with a Zarr reader",
        "encodingFormat": "application/vnd.zarr",
        "includes": f"{store}/**",
    }


def _cases(catalog: pd.DataFrame) -> dict[str, Any]:
    def description(name: str) -> str:
        return label_with_unit(name) if name in STATISTICS else _CATALOG_COLUMNS.get(name, name)

    return {
        "@type": "cr:RecordSet",
        "@id": "cases",
        "name": "cases",
        "description": "The catalog: every case found, with what became of it and its statistics.",
        "field": [
            _column("cases", CATALOG_FILE, catalog[name], description(name)) for name in catalog.columns
        ],
    }


def _steps(histories: Histories | None) -> Iterator[dict[str, Any]]:
    if histories is None:
        return
    steps, units = histories.steps, {name: column.units for name, column in STEP_COLUMNS.items()}
    fields = [
        _column("steps", STEPS_FILE, steps[name], with_unit(_STEP_COLUMNS[name], units.get(name, "1")))
        for name in steps.columns
    ]
    yield {
        "@type": "cr:RecordSet",
        "@id": "steps",
        "name": "steps",
        "description": (
            "The steps of the builds, those that are missing included. Of the variables along step_node, "
            "those of a step are the step_node_count rows from step_node_offset on."
        ),
        "field": fields,
    }


def _variables(variables: Sequence[Variable]) -> dict[str, Any]:
    """Arrays of the store; their values are for Zarr readers, as Croissant 1.0 knows no such arrays."""
    columns = {
        "name": "name of the array",
        "dims": "its dimensions, with the lengths of those behind the first",
        "dtype": "type of its values, as NumPy calls it",
        "units": "unit, as UDUNITS spells it",
        "long_name": "what it is",
    }
    return {
        "@type": "cr:RecordSet",
        "@id": "variables",
        "name": "variables",
        "description": "The ragged arrays of the store.",
        "field": [_field("variables", name, "sc:Text", columns[name]) for name in columns],
        "data": [
            {
                "variables/name": variable.name,
                "variables/dims": ", ".join([variable.dim, *map(str, variable.row_shape)]),
                "variables/dtype": variable.dtype,
                "variables/units": variable.units,
                "variables/long_name": variable.long_name,
            }
            for variable in variables
        ],
    }


def _column(record_set: str, file: str, column: pd.Series[Any], description: str) -> dict[str, Any]:
    name = str(column.name)
    source = {"fileObject": {"@id": file}, "extract": {"column": name}}
    return {**_field(record_set, name, _data_type(column), description), "source": source}


def _field(record_set: str, name: str, data_type: str, description: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{name}",
        "name": name,
        "description": description,
        "dataType": data_type,
    }


def _data_type(column: pd.Series[Any]) -> str:
    types = pd.api.types
    if types.is_bool_dtype(column):
        return "sc:Boolean"
    if types.is_integer_dtype(column):
        return "sc:Integer"
    return "sc:Float" if types.is_float_dtype(column) else "sc:Text"
