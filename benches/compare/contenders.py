"""The same k-means by each library, from an array in memory to centroids, each point's label, and the inertia."""

from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import faiss
import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from points import Points, Start
from program import Program


@dataclass
class Run:
    """One timed call."""

    seconds: float
    n_iter: int
    inertia: float


class Contender(Protocol):
    """One library."""

    name: str

    def load(self, points: Points) -> None:
        """Takes points to work on; not timed."""

    def fit(self, points: Points, start: Start, max_iter: int) -> Run:
        """A whole call: `max_iter` iterations from `start`, and a last assignment to the final centroids."""

    def assign(self, points: Points, start: Start) -> float:
        """Seconds to find the nearest centroid of each point."""


class Atalaya:
    """`kmeans::Points::new`, which checks the points, and `kmeans::fit_from`."""

    name = "atalaya"

    def __init__(self, program: Program) -> None:
        self.program = program

    def load(self, points: Points) -> None:
        self.program.ask("load", points.file, points.x.shape[1])

    def fit(self, points: Points, start: Start, max_iter: int) -> Run:
        return Run(**self.program.ask("fit", start.file, len(start.centroids), max_iter))

    def assign(self, points: Points, start: Start) -> float:
        # Adds up each cluster's points as well: the pass that scoring and a first iteration take.
        return self.program.ask("pass", start.file, len(start.centroids))["seconds"]


class ScikitLearn:
    """`sklearn.cluster.KMeans`."""

    name = "scikit-learn"

    def __init__(self, threads: int) -> None:
        threadpool_limits(threads)

    def load(self, points: Points) -> None:
        pass

    def fit(self, points: Points, start: Start, max_iter: int) -> Run:
        model = kmeans(start, max_iter)
        clock = perf_counter()
        model.fit(points.x)
        return Run(perf_counter() - clock, model.n_iter_, model.inertia_)

    def assign(self, points: Points, start: Start) -> float:
        model = kmeans(start, 1).fit(start.centroids)
        clock = perf_counter()
        model.predict(points.x)
        return perf_counter() - clock


def kmeans(start: Start, max_iter: int) -> KMeans:
    return KMeans(len(start.centroids), init=start.centroids, n_init=1, max_iter=max_iter, tol=0, algorithm="lloyd")


class Faiss:
    """`faiss.Kmeans`."""

    name = "faiss"

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def load(self, points: Points) -> None:
        pass

    def fit(self, points: Points, start: Start, max_iter: int) -> Run:
        faiss.omp_set_num_threads(self.threads)
        # With these bounds all points take part.
        bounds = {"max_points_per_centroid": len(points.x), "min_points_per_centroid": 1}
        model = faiss.Kmeans(points.x.shape[1], len(start.centroids), niter=max_iter, **bounds)
        clock = perf_counter()
        model.train(points.x, init_centroids=start.centroids)
        squared_distances, _ = model.assign(points.x)
        seconds = perf_counter() - clock
        return Run(seconds, len(model.obj), squared_distances.sum(dtype=np.float64))

    def assign(self, points: Points, start: Start) -> float:
        faiss.omp_set_num_threads(self.threads)
        index = faiss.IndexFlatL2(points.x.shape[1])
        index.add(start.centroids)
        clock = perf_counter()
        index.search(points.x, 1)
        return perf_counter() - clock
