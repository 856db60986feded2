from __future__ import annotations

import pytest

from lpbf_dataset.curation.terms import FUSION_360, PROCEDURAL, UNKNOWN, source_terms
from lpbf_dataset.parts import generate_parts


@pytest.mark.parametrize(
    ("designs", "terms"),
    [
        (["21477_babb9c34", "20163_3742f394"], FUSION_360),
        (["bracket_000123"], PROCEDURAL),
        (["bracket_000123", "21477_babb9c34"], FUSION_360),
        (["21477_babb9c34", "my_part"], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_the_strictest_known_terms_apply(designs, terms):
    assert source_terms(designs) == terms


def test_bundled_parts_are_recognised():
    assert source_terms(part.design_id for part in generate_parts(8)) == PROCEDURAL
