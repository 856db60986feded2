"""What the dataset card says of the steps of the builds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpbf_dataset.curation.histories import STEPS_FILE
from lpbf_dataset.report.markdown import escape, table, variable_table
from lpbf_dataset.report.text import number, unit
from lpbf_dataset.schema import RAGGED_DIMS, STEP_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from lpbf_dataset.curation.histories import Histories
    from lpbf_dataset.report.curation import Curation

_LISTED = 20
"""Missing steps that the card names."""

_NONE = """\
None: the store holds final states alone, those after the parts were cut from the plate. \
`lpbf-build --steps all` keeps the states after every step, where the sources have them."""

_READING = """\
```python
import lpbf_dataset as lpbf

ds = lpbf.open_dataset("{store}")
case = ds[ds.step_frame()["case_id"][0]]  # one that has a history
print(case.steps[0].kind, case.steps[0].points.shape)
series = case.series()  # all steps on one mesh; what is not yet built is masked
print(series.is_active.shape, series.fields["displacement"].shape)
```

`{steps}` lists every step: `pandas.read_parquet("{steps}")`.

Each step lies on the mesh that was there; steps that share a mesh share its row along `mesh`. The steps of \
a case start at `step_offset`, the rows of a step at `step_node_offset`, those of its mesh at \
`mesh_node_offset` and `mesh_cell_offset`; counts are named alike."""


def histories_text(curation: Curation, store: str) -> str:
    """Write the section.

    Parameters
    ----------
    curation : Curation
        What the store was made from.
    store : str
        Path or fsspec URL by which readers open the store.
    """
    histories = curation.histories
    if histories is None:
        return _NONE
    kinds = ((str(kind), *map(number, row)) for kind, row in histories.kinds.iterrows())
    columns = ((f"`{c.name}`", c.dtype, unit(c.units), c.long_name) for c in STEP_COLUMNS.values())
    parts = (
        _summary(histories),
        table(("step", "steps", "missing among them"), kinds),
        *filter(None, (histories.rounding,)),
        *_missing(histories.missing),
        _READING.format(store=store, steps=STEPS_FILE),
        variable_table(v for v in curation.variables if v.dim not in RAGGED_DIMS),
        table(("column of a step", "type", "unit", "meaning"), columns),
    )
    return "\n\n".join(parts)


def _summary(histories: Histories) -> str:
    lengths = histories.lengths
    text = (
        "Besides the final states, the store holds the state of the part, without the plate, after every "
        f"step of its build: {number(len(histories.steps))} steps of {number(len(lengths))} cases, "
        f"{number(lengths.mean())} a case on average and {number(lengths.max())} at most."
    )
    without = histories.cases - len(lengths)
    return f"{text} The final state alone is known of the other {number(without)}." if without else text


def _missing(steps: pd.DataFrame) -> Iterator[str]:
    """List the steps that are missing, the first ones if there are very many."""
    if steps.empty:
        return
    shown = steps.head(_LISTED)
    named = zip(shown["case_id"], shown["step"], shown["step_kind"], shown["step_fault"], strict=True)
    lines = [
        f"- `{escape(case_id)}`, step {step} ({kind}): {escape(fault)}"
        for case_id, step, kind, fault in named
    ]
    if more := len(steps) - len(shown):
        lines.append(f"- {number(more)} more, see `{STEPS_FILE}`")
    yield "Missing, as their files are damaged; the rest of these cases is whole:\n\n" + "\n".join(lines)
