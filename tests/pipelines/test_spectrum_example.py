"""The example on spectra runs on a trained model."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "spectrum_of_a_run.py"


def test_ranks_are_printed_and_pictures_written(finished, tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    main([str(finished), str(tmp_path / "pictures"), "--case", "a"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "case a: 20 nodes, 4 latent tokens a head"
    block, *ranks = printed[2].split()
    assert block == "1"
    assert all(1.0 <= float(rank) <= 4.0 for rank in ranks)
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"spectra.png", "effective_rank.png", "routing.png"}
