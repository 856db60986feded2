from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baselines.bistride import CoarseGraph
from baselines.levels_file import LevelsError, load_levels, save_levels

if TYPE_CHECKING:
    from pathlib import Path


def graph(kept: list[int], edges: list[tuple[int, int]]) -> CoarseGraph:
    return CoarseGraph(np.array(kept, dtype=np.int32), np.array(edges, dtype=np.int32).reshape(-1, 2))


GRAPHS = [graph([0, 2, 5], [(0, 1), (1, 2)]), graph([1], [])]
NODES = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "case.npz"
    save_levels(path, NODES, GRAPHS)
    return path


def test_reads_what_it_wrote(path: Path) -> None:
    for loaded, saved in zip(load_levels(path, NODES), GRAPHS, strict=True):
        for name in ("kept", "edges"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
            assert getattr(loaded, name).dtype == np.int32


def test_is_a_plain_npz_file_alone_in_its_folder(path: Path) -> None:
    with np.load(path, allow_pickle=False) as arrays:
        assert set(arrays) == {"node_count", "kept_1", "edges_1", "kept_2", "edges_2"}
    assert list(path.parent.iterdir()) == [path]


def test_replaces_and_leaves_no_half_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(file, **_: np.ndarray) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        save_levels(path, NODES, GRAPHS[:1])
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    monkeypatch.undo()
    save_levels(path, NODES, GRAPHS[:1])
    assert len(load_levels(path, NODES)) == 1


def test_rejects_levels_of_another_mesh(path: Path) -> None:
    with pytest.raises(LevelsError, match=r"case\.npz: levels of a mesh of 6 nodes, not of one of 7; remove"):
        load_levels(path, NODES + 1)


def test_no_file_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_levels(tmp_path / "case.npz", NODES)


def arrays_of(*graphs: CoarseGraph, **others: object) -> dict[str, object]:
    arrays: dict[str, object] = {"node_count": np.int64(NODES)}
    for number, each in enumerate(graphs, start=1):
        arrays |= {f"kept_{number}": each.kept, f"edges_{number}": each.edges}
    return arrays | others


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"kept_1": GRAPHS[0].kept}, "does not say how many nodes"),
        (arrays_of(node_count=np.float64(6)), "does not say how many nodes"),
        (arrays_of(kept_1=GRAPHS[0].kept), "kept_1 of no level"),
        (arrays_of(*GRAPHS, other=np.zeros(3)), "other of no level"),
        (arrays_of(*GRAPHS, kept_2=GRAPHS[1].kept.astype(float)), "level 2 is not a graph"),
        (arrays_of(*GRAPHS, edges_1=np.zeros(3, dtype=np.int32)), "level 1 is not a graph"),
        (arrays_of(*GRAPHS, edges_1=np.zeros((3, 3), dtype=np.int32)), "level 1 is not a graph"),
        (arrays_of(graph([], [])), "level 1 is not a graph"),
        (arrays_of(graph([0, 6], [])), "level 1 is not a graph"),
        (arrays_of(graph([-1, 2], [])), "level 1 is not a graph"),
        (arrays_of(graph([2, 1], [])), "level 1 is not a graph"),
        (arrays_of(graph([0, 2], [(0, 2)])), "level 1 is not a graph"),
        (arrays_of(graph([0, 2], [(-1, 0)])), "level 1 is not a graph"),
        (arrays_of(graph([0, 2], [(1, 1)])), "level 1 is not a graph"),
        (arrays_of(GRAPHS[0], graph([0, 3], [])), "level 2 is not a graph"),
        (arrays_of(*GRAPHS, kept_1=np.array([print], dtype=object)), "allow_pickle=False"),
    ],
)
def test_rejects_what_is_not_levels(tmp_path: Path, arrays: dict, why: str) -> None:
    path = tmp_path / "case.npz"
    with path.open("wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(LevelsError, match=f"not a file of levels .*{why}.*; remove it to make it anew"):
        load_levels(path, NODES)


def test_rejects_what_could_unpack_to_more_than_it_is(path: Path) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, node_count=np.int64(NODES), kept_1=np.zeros(10**6, dtype=np.int32))
    with pytest.raises(LevelsError, match="it is compressed"):
        load_levels(path, NODES)


def test_rejects_an_array_that_says_it_is_huge(path: Path) -> None:
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (10**15,), }".replace(
        b"10**15", b"1" + b"0" * 15
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("kept_1.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(LevelsError, match="not a file of levels"):
        load_levels(path, NODES)


@pytest.mark.parametrize("data", [b"", b"not a zip", b"\x93NUMPY\x01\x00"])
def test_rejects_another_kind_of_file(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(LevelsError, match="not a file of levels"):
        load_levels(path, NODES)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_is_found_or_harmless(path: Path, data: st.DataObject) -> None:
    """Any byte changed, and the file cut anywhere."""
    save_levels(path, NODES, GRAPHS)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        graphs = load_levels(path, NODES)
    except LevelsError:
        return
    assert [len(each.kept) for each in graphs] == [3, 1]
