"""Croissant metadata: a description of the set that dataset search engines and loaders read.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from lpbf_dataset.report.card import CATALOG_FILE
from lpbf_dataset.report.published import BIBTEX
from lpbf_dataset.report.text import label_with_unit
from lpbf_dataset.schema import STATISTICS

if TYPE_CHECKING:
    from datetime import date

    from lpbf_dataset.report.curation import Curation

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

_COLUMNS = {
    "case_id": "unique name of the printed body, except for duplicates, which failed",
    "design_id": "name of the parent CAD model",
    "source": "what computed the case",
    "location": "where the case was found",
    "content_hash": "hash of the files that make up the case",
    "status": "kept, rejected or failed",
    "reason": "why the case is not in the store",
    "rule": "the rule that rejects the case",
    "value": "the value that the rule rejects",
    "failure": "why the case could not be used",
    "split": "train, val or test; empty for a case that is not kept",
}


def croissant_metadata(
    curation: Curation,
    *,
    catalog_sha256: str,
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
    catalog_sha256 : str
        Hash of ``catalog.parquet``, in hexadecimal digits.
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
        "description": (
            f"{len(curation.kept)} part-scale simulations of laser powder bed fusion: hexahedral meshes with "
            f"displacement, stress and temperature at the nodes. The {len(curation.catalog)} cases found, "
            "kept or not, are in the catalog."
        ),
        **{name: value for name, value in publication.items() if value},
        "license": str(attributes.get("licence", "not stated")),
        "citeAs": "\n\n".join(filter(None, (str(attributes.get("citation", "")), BIBTEX))),
        "isLiveDataset": False,
        "distribution": [_catalog_file(catalog_sha256), _store_files(store)],
        "recordSet": [_cases(curation.catalog)],
    }


def _catalog_file(sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": CATALOG_FILE,
        "name": CATALOG_FILE,
        "description": "one row per case found, kept or not",
        "contentUrl": CATALOG_FILE,
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
    return {
        "@type": "cr:RecordSet",
        "@id": "cases",
        "name": "cases",
        "description": "The catalog: every case found, with what became of it and its statistics.",
        "field": [_field(name, catalog[name]) for name in catalog.columns],
    }


def _field(name: str, column: pd.Series[Any]) -> dict[str, Any]:
    description = label_with_unit(name) if name in STATISTICS else _COLUMNS.get(name, name)
    return {
        "@type": "cr:Field",
        "@id": f"cases/{name}",
        "name": name,
        "description": description,
        "dataType": _data_type(column),
        "source": {"fileObject": {"@id": CATALOG_FILE}, "extract": {"column": name}},
    }


def _data_type(column: pd.Series[Any]) -> str:
    types = pd.api.types
    if types.is_bool_dtype(column):
        return "sc:Boolean"
    if types.is_integer_dtype(column):
        return "sc:Integer"
    return "sc:Float" if types.is_float_dtype(column) else "sc:Text"
