"""Made-up cases on octree meshes, and the machine they are timed on, for benchmarks of the dataset."""

from __future__ import annotations

import hashlib
import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from geometry import perforated_block

from lpbf_dataset.schema import field_names
from lpbf_dataset.sources.base import Step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

FIELDS = field_names(include_optional=False)

SIZES = 5
"""Different meshes among the cases of a source."""

_octree_block = lru_cache(perforated_block)


@dataclass(frozen=True)
class SyntheticCase:
    """A perforated block with smooth fields that have noise in their last digits.

    The mesh is that of one of few widths, scaled by the seed, so that reading a case costs about what
    reading a file does and not what making a mesh does.

    Parameters
    ----------
    seed : int
        Tells one case from another.
    width : int
        Fine cells along each edge of the block.
    """

    seed: int
    width: int
    source: str = "synthetic"

    @property
    def case_id(self) -> str:
        """Two bodies to a design."""
        return f"{self.design_id}_{self.seed % 2}"

    @property
    def design_id(self) -> str:
        """Named like those of the Fusion 360 Gallery."""
        return f"{self.seed // 2:05d}_{self.seed // 2:08x}"

    @property
    def location(self) -> str:
        """Nowhere."""
        return f"memory/{self.seed}"

    def content_hash(self) -> str:
        """Hash of what the case is made from."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def field_names(self) -> tuple[str, ...]:
        """Name the fields that are not optional."""
        return FIELDS

    def steps(self, fields: Collection[str] | None = None) -> list[Step]:
        """Return the final step."""
        return [self.final_step(fields)]

    def final_step(self, fields: Collection[str] | None = None) -> Step:  # noqa: ARG002
        """Make points and fields from the seed."""
        random = np.random.default_rng(self.seed)
        lattice, cells = _octree_block(self.width)
        points = (lattice * random.uniform(0.8, 1.25, 3)).astype(np.float32)
        return Step(
            number=1,
            kind="removed",
            time=1.0,
            points=points,
            cells=cells.copy(),
            fields=smooth_fields(points, random),
        )

    def surface(self) -> None:
        """Return None: there is no STL."""
        return


@dataclass(frozen=True)
class SyntheticSource:
    """So many cases of a few sizes about a mean.

    Parameters
    ----------
    count : int
        Number of cases.
    nodes : int
        About the mean number of nodes.
    """

    count: int
    nodes: int

    def cases(self) -> Iterator[SyntheticCase]:
        """Yield the cases."""
        sizes = self.nodes * np.linspace(0.6, 1.4, SIZES)
        # The holes and the merging of inner cells, of which there is none for odd widths, take a seventh.
        widths = [2 * max(1, round(((size / 0.86) ** (1 / 3) - 1) / 2)) for size in sizes]
        return (SyntheticCase(seed, widths[seed % SIZES]) for seed in range(self.count))


def smooth_fields(
    points: NDArray[np.floating], random: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Make fields on nodes, (n, 3), that vary smoothly, with noise of 1e-4 in them."""
    wave = np.sin(points @ random.normal(scale=0.1, size=(3, 5)))
    wave *= 1 + 1e-4 * random.normal(size=wave.shape)
    values = {
        "displacement": 0.3 * wave[:, :3],
        "von_mises_stress": 900 + 600 * wave[:, 3],
        "temperature": 25 + wave[:, 4],
    }
    return {name: np.ascontiguousarray(array, np.float32) for name, array in values.items()}


def machine() -> str:
    """Return one line on the machine, and how busy it is with something else."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    model = models[0].partition(": ")[2] if models else platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, load {os.getloadavg()[0]:.1f}, {platform.system()}"
