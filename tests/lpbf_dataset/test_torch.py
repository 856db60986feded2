from __future__ import annotations

import numpy as np
import pytest

from lpbf_dataset import StoreError, open_dataset
from lpbf_dataset.schema import field_names
from lpbf_dataset.store.writer import StoreWriter

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

import pandas as pd  # noqa: E402
from torch.utils.data import DataLoader as TorchLoader  # noqa: E402
from torch_geometric.data import Batch, Data  # noqa: E402
from torch_geometric.loader import DataLoader  # noqa: E402

from lpbf_dataset.torch import MeshDataset, _Parcel, collate  # noqa: E402


@pytest.fixture(scope="module")
def cases(synthetic_case):
    return [synthetic_case(*size, seed=seed) for seed, size in enumerate([(1, 1, 1), (3, 2, 1), (2, 2, 2)])]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, cases):
    path = tmp_path_factory.mktemp("torch") / "store.zarr"
    with StoreWriter(path, field_names(include_optional=False)) as writer:
        for case in cases:
            writer.append(case)
        writer.finish({case.case_id: "train" for case in cases}, pd.DataFrame())
    return open_dataset(path)


def double_target(graph):
    graph.y = 2 * graph.y
    return graph


def test_default_graph(dataset, cases):
    graph, case = MeshDataset(dataset)[1], cases[1]
    np.testing.assert_array_equal(graph.pos, case.points)
    np.testing.assert_array_equal(graph.x, case.points)
    np.testing.assert_array_equal(graph.y, case.displacement[:, 2:])
    assert graph.case_id == case.case_id
    assert {graph.x.dtype, graph.y.dtype, graph.pos.dtype, graph.edge_attr.dtype} == {torch.float32}
    assert graph.edge_index.dtype == torch.int64
    assert graph.validate()
    assert graph.num_nodes == case.node_count


def test_edges_run_both_ways_with_relative_positions(dataset, cases):
    graph, case = MeshDataset(dataset)[1], cases[1]
    expected = set(map(tuple, case.edges.tolist()))
    assert set(map(tuple, graph.edge_index.T.tolist())) == expected | {(b, a) for a, b in expected}
    assert graph.edge_attr.shape == (2 * len(case.edges), 4)
    for (sender, receiver), edge in zip(graph.edge_index.T.tolist(), graph.edge_attr.numpy(), strict=True):
        offset = case.points[receiver] - case.points[sender]
        np.testing.assert_allclose(edge, [*offset, np.linalg.norm(offset)], rtol=1e-6)


def test_columns_in_the_order_asked_for(dataset, cases):
    graph = MeshDataset(
        dataset,
        inputs=("temperature", "points_z"),
        targets=("von_mises_stress", "displacement", "displacement_x"),
    )[2]
    case = cases[2]
    np.testing.assert_array_equal(graph.x, np.column_stack([case.temperature, case.points[:, 2]]))
    expected = np.column_stack([case.von_mises_stress, case.displacement, case.displacement[:, 0]])
    np.testing.assert_array_equal(graph.y, expected)


def test_no_targets(dataset, cases):
    assert MeshDataset(dataset, targets=())[0].y.shape == (cases[0].node_count, 0)


def test_transform(dataset, cases):
    graph = MeshDataset(dataset, transform=double_target)[0]
    np.testing.assert_array_equal(graph.y, 2 * cases[0].displacement[:, 2:])


def test_without_edges(dataset, cases):
    graph = MeshDataset(dataset, edges="none")[1]
    assert set(graph.keys()) == {"x", "y", "pos", "case_id"}
    np.testing.assert_array_equal(graph.pos, cases[1].points)


def test_unknown_and_missing_fields(dataset):
    with pytest.raises(ValueError, match="no field named 'displacment'"):
        MeshDataset(dataset, targets=("displacment",))
    with pytest.raises(ValueError, match="'edges' is not a nodal field"):
        MeshDataset(dataset, inputs=("edges",))
    with pytest.raises(StoreError, match=r"store\.zarr.*no variable 'cauchy_stress'"):
        MeshDataset(dataset, targets=("cauchy_stress_xx",))


def test_index_out_of_range_ends_iteration(dataset):
    assert len(list(MeshDataset(dataset))) == len(MeshDataset(dataset)) == 3


def test_batch(dataset, cases):
    (batch,) = DataLoader(MeshDataset(dataset), batch_size=3)
    assert batch.num_graphs == 3
    assert batch.case_id == [case.case_id for case in cases]
    assert batch.num_nodes == sum(case.node_count for case in cases)
    second = batch.get_example(1)
    np.testing.assert_array_equal(second.pos, cases[1].points)
    assert second.edge_index.max() == cases[1].node_count - 1


@pytest.mark.parametrize("context", ["spawn", "fork"])
def test_workers(dataset, cases, context):
    _ = dataset[0]
    loader = DataLoader(MeshDataset(dataset), batch_size=1, num_workers=1, multiprocessing_context=context)
    batches = list(loader)
    assert [batch.case_id for batch in batches] == [[case.case_id] for case in cases]
    for batch, case in zip(batches, cases, strict=True):
        np.testing.assert_array_equal(batch.y, case.displacement[:, 2:])


def assert_same_batch(batch, expected):
    assert set(batch.keys()) == set(expected.keys())
    assert batch.case_id == expected.case_id
    for name in ("x", "y", "pos", "edge_index", "edge_attr", "batch", "ptr"):
        np.testing.assert_array_equal(batch[name], expected[name])


@pytest.mark.parametrize("edges", ["directed", "undirected"])
def test_collate_here(dataset, edges):
    expected = Batch.from_data_list(list(MeshDataset(dataset)))
    assert_same_batch(collate(list(MeshDataset(dataset, edges=edges))), expected)


def test_a_collated_batch_comes_apart_again(dataset):
    batch = collate(list(MeshDataset(dataset, edges="undirected")))
    for apart, graph in zip(batch.to_data_list(), MeshDataset(dataset), strict=True):
        assert set(apart.keys()) == set(graph.keys())
        for name in ("pos", "edge_index", "edge_attr"):
            np.testing.assert_array_equal(apart[name], graph[name])


def test_collate_leaves_the_number_of_threads(dataset):
    before = torch.get_num_threads()
    collate(list(MeshDataset(dataset)))
    assert torch.get_num_threads() == before


def test_undirected_edges(dataset, cases):
    graph = MeshDataset(dataset, edges="undirected")[1]
    np.testing.assert_array_equal(graph.mesh_edge_index, cases[1].edges.T)
    assert not {"edge_index", "edge_attr"} & set(graph.keys())


def with_odd_tensors(graph):
    graph.flag = torch.tensor([True])
    graph.empty = torch.empty(0, 3)
    graph.strided = graph.pos[:, ::2]
    graph.count = torch.tensor(3, dtype=torch.int8)
    return graph


@pytest.mark.parametrize("edges", ["directed", "undirected"])
def test_collate_from_a_worker(dataset, edges):
    graphs = MeshDataset(dataset, transform=with_odd_tensors)
    sent = MeshDataset(dataset, transform=with_odd_tensors, edges=edges)
    loader = TorchLoader(
        sent, batch_size=2, collate_fn=collate, num_workers=1, multiprocessing_context="spawn"
    )
    first, second = loader
    assert_same_batch(first, Batch.from_data_list([graphs[0], graphs[1]]))
    assert_same_batch(second, Batch.from_data_list([graphs[2]]))
    assert second.flag.tolist() == [True]
    assert second.empty.shape == (0, 3)
    assert second.count.tolist() == [3]
    np.testing.assert_array_equal(second.strided, graphs[2].pos[:, ::2])


def test_collate_leaves_other_tensors_to_pickle():
    weight = torch.nn.Parameter(torch.ones(2, 1))
    function, arguments = _Parcel([Data(x=torch.zeros(2, 1), weight=weight)]).__reduce__()
    batch = function(*arguments)
    assert batch.num_nodes == 2
    np.testing.assert_array_equal(batch.weight.detach(), weight.detach())
