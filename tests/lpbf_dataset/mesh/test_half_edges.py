import numpy as np
import pytest
import trimesh

from lpbf_dataset.mesh.half_edges import twins


def twins_twin(faces):
    """Every pair of half-edges compared."""
    edges = [(int(face[k]), int(face[(k + 1) % 3])) for face in faces for k in range(3)]
    alike = [[j for j, other in enumerate(edges) if set(other) == set(edge)] for edge in edges]
    return [
        next((j for j in group if edges[j] == edge[::-1]), -1) if len(group) == 2 else -1
        for edge, group in zip(edges, alike, strict=True)
    ]


@pytest.mark.parametrize(
    "faces",
    [
        trimesh.creation.box().faces,
        trimesh.creation.icosphere(1).faces[3:],
        np.array([(0, 1, 2), (0, 1, 3), (0, 1, 4)]),
        np.array([(0, 1, 2), (0, 1, 3)]),
        np.array([(0, 1, 2), (2, 1, 0)]),
        np.zeros((0, 3), dtype=int),
    ],
    ids=["closed", "open", "three at an edge", "wound against each other", "two sides", "none"],
)
def test_twins_are_those_of_the_slow_twin(faces):
    np.testing.assert_array_equal(twins(faces), twins_twin(faces))
