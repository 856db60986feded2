"""What the card and the report say of the steps of the builds."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

import lpbf_dataset as lpbf
from lpbf_dataset.report import dataset_card
from lpbf_dataset.report.building import histories_section
from lpbf_dataset.schema import STEP_COLUMNS
from tests.builds import GrowingBar, write_builds


def section_of(card):
    return card.partition("## Histories of the builds")[2].partition("\n## ")[0]


def test_final_states_alone(curation):
    assert "None: the store holds final states alone" in section_of(dataset_card(curation))
    assert "final states alone" in histories_section(None).html()


@pytest.fixture(scope="module")
def text(with_histories):
    return section_of(dataset_card(with_histories))


class TestCard:
    def test_counts(self, text):
        assert "12 steps of 2 cases, 6 a case on average and 6 at most" in text
        assert "The final state alone is known of the other 1." in text
        assert "| deposited | 4 | 1 |" in text
        assert "| removed | 2 | 0 |" in text

    def test_missing_steps_are_named(self, text):
        assert r"step 1 (dwelt): truncated\_file: a\|b\*\<script\>.ens ends early" in text
        assert text.count("ends early") == 2

    def test_variables_and_their_dims(self, text):
        assert "| `history_displacement` | (step_nodes, 3) | float32 | mm |" in text
        assert "| `history_cells` | (mesh_cells, 8) | int32 |" in text
        assert "history_temperature" not in text
        for name in STEP_COLUMNS:
            assert f"| `{name}` |" in text

    def test_very_many_missing_steps_are_counted(self, with_histories):
        histories = with_histories.histories
        steps = pd.concat(10 * [histories.missing], ignore_index=True)
        many = replace(
            with_histories, histories=replace(histories, steps=pd.concat([histories.steps, steps]))
        )
        text = section_of(dataset_card(many))
        assert text.count("ends early") == 20
        assert "- 2 more, see `steps.parquet`" in text


def test_report(with_histories):
    page = histories_section(with_histories.histories).html()
    assert "The states after 12 steps, of 2 of 3 cases: 6 a case on average, 6 at most." in page
    assert "Missing steps: 2" in page
    assert "&lt;script&gt;.ens ends early" in page
    assert "<script>" not in page


def test_in_a_line(with_histories):
    assert str(with_histories.histories) == (
        "12 steps of 2 of 3 cases (mean 6, most 6 a case): 4 deposited, 4 dwelt, 2 cooled, 2 removed; "
        "2 missing, of case | with `pipes` & *stars* $x_1$"
    )


def test_the_example_of_the_card_runs(with_histories, tmp_path, capsys):
    store = write_builds(tmp_path / "s.zarr", GrowingBar("v", with_steps=False), GrowingBar("x", layers=2))
    (block,) = re.findall(
        r"```python\n(.*?)```", section_of(dataset_card(with_histories, str(store))), flags=re.DOTALL
    )
    exec(compile(block, "card", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out == "deposited (16, 3)\n(6, 24) (6, 24, 3)\n"
    frame = lpbf.open_dataset(store).step_frame()
    assert frame["step_node_count"].tolist() == [16, 16, 24, 24, 24, 24]


def test_rounding_is_told(with_histories):
    rounded = replace(with_histories.histories, bits=7)
    told = "rounded to 7 of 23 bits, relative error at most 2^-8 (about 0.0039)"
    assert told in section_of(dataset_card(replace(with_histories, histories=rounded)))
    assert told in histories_section(rounded).html()
    assert str(rounded).endswith(told)
    assert "rounded" not in section_of(dataset_card(with_histories))
