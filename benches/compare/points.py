"""Rows to cluster, in memory and in a file that another process reads."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

SEED = 42
COMPONENTS = 20
ROWS_A_CHUNK = 1_000_000
# How far apart two clusters' centres are, in standard deviations of a cluster, whatever the number of features.
DISTANCES = {"overlapping": 3.0, "separated": 12.0}
KINDS = (*DISTANCES, "uniform")


@dataclass
class Points:
    """The same values twice: `x`, `(n_samples, n_features)`, float32, and the bytes of `x` in `file`."""

    x: np.ndarray
    file: Path


@dataclass
class Start:
    """Initial centroids `(n_clusters, n_features)`: rows of the points, drawn at random."""

    centroids: np.ndarray
    file: Path


def generate(kind: str, n_samples: int, n_features: int, where: Path) -> Points:
    """Points of a kind; clusters have a standard deviation of 1."""
    rng = np.random.default_rng(SEED)
    x = np.empty((n_samples, n_features), dtype=np.float32)
    centers = rng.standard_normal((COMPONENTS, n_features), dtype=np.float32)
    centers *= DISTANCES.get(kind, 0.0) / np.sqrt(2.0 * n_features)
    for begin in range(0, n_samples, ROWS_A_CHUNK):
        part = x[begin : begin + ROWS_A_CHUNK]
        if kind == "uniform":
            rng.random(dtype=np.float32, out=part)
        else:
            rng.standard_normal(dtype=np.float32, out=part)
            part += centers[rng.integers(COMPONENTS, size=len(part))]
    file = where / "points.f32"
    x.tofile(file)
    return Points(x, file)


def start(points: Points, n_clusters: int) -> Start:
    """The initial centroids for every program."""
    chosen = np.random.default_rng(SEED).choice(len(points.x), n_clusters, replace=False)
    centroids = np.ascontiguousarray(points.x[chosen])
    file = points.file.with_name(f"start-{n_clusters}.f32")
    centroids.tofile(file)
    return Start(centroids, file)
