"""The geometric features of a mesh as programs without compiled kernels or search structures find them.

Edges, aspect ratios and faces come from Python loops over the cells, as in the published extractor;
distances from comparing each node with every triangle, one node at a time.
"""

from __future__ import annotations

import numpy as np

PAIRS = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
FACES = [(0, 4, 7, 3), (1, 2, 6, 5), (0, 1, 5, 4), (3, 7, 6, 2), (0, 3, 2, 1), (4, 5, 6, 7)]


def edges_and_graph(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the undirected edges from a set of sorted pairs, and the edges in both directions."""
    edges = set()
    for cell in cells:
        for a, b in PAIRS:
            edges.add(tuple(sorted((int(cell[a]), int(cell[b])))))
    graph = []
    for a, b in edges:
        graph.append((a, b))
        graph.append((b, a))
    return np.array(sorted(edges)), np.array(graph)


def aspect_ratios(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the longest over the shortest edge, cell by cell."""
    first, second = np.array(PAIRS).T
    ratios = []
    for cell in cells:
        corners = points[cell]
        lengths = np.linalg.norm(corners[second] - corners[first], axis=1)
        ratios.append(lengths.max() / lengths.min())
    return np.array(ratios)


def boundary_faces(cells: np.ndarray) -> np.ndarray:
    """Return the faces that occur once, also those between coarse and fine cells."""
    count: dict[tuple[int, ...], int] = {}
    faces: dict[tuple[int, ...], list[int]] = {}
    for cell in cells.tolist():
        for face in FACES:
            nodes = [cell[corner] for corner in face]
            key = tuple(sorted(nodes))
            count[key] = count.get(key, 0) + 1
            faces[key] = nodes
    return np.array([faces[key] for key, number in count.items() if number == 1])


def nearest(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return the distance of each point to the nearest of triangles (t, 3, 3)."""
    start, along = corners, np.roll(corners, -1, axis=1) - corners
    normal = np.cross(along[:, 0], along[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    distances = np.empty(len(points))
    for i, point in enumerate(points.astype(np.float64)):
        height = ((point - start[:, 0]) * normal).sum(axis=1)
        foot = (point - height[:, None] * normal)[:, None] - start
        inside = ((np.cross(along, foot) * normal[:, None]).sum(axis=2) >= 0).all(axis=1)
        offset = point - start
        t = np.clip((offset * along).sum(axis=2) / (along**2).sum(axis=2), 0, 1)
        edge = np.linalg.norm(offset - t[..., None] * along, axis=2).min()
        distances[i] = min(edge, np.abs(height[inside]).min(initial=np.inf))
    return distances


def axis_distances(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return how far triangles (t, 3, 3) lie from each point along -x, -y, -z, +x, +y, +z.

    Each ray is tested against every triangle (Moller and Trumbore, J. Graphics Tools 2, 1997).
    """
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    distances = np.empty((len(points), 6))
    for i, point in enumerate(points.astype(np.float64)):
        offset = point - corners[:, 0]
        across = np.cross(offset, first)
        for k, direction in enumerate(np.concatenate([-np.eye(3), np.eye(3)])):
            side = np.cross(direction, second)
            determinant = (side * first).sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                u = (offset * side).sum(axis=1) / determinant
                v = across @ direction / determinant
                t = (across * second).sum(axis=1) / determinant
                hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 1e-9)
            distances[i, k] = t[hit].min(initial=np.inf)
    return distances


def feature_size(centres: np.ndarray, balls: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the diameter of the largest of balls around each centre."""
    sizes = np.empty(len(centres))
    for i, centre in enumerate(centres):
        inside = ((balls - centre) ** 2).sum(axis=1) < radii**2
        sizes[i] = 2 * radii[inside].max()
    return sizes
