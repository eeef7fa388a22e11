"""The same k-means on a GPU by each library, from rows that are already there to centroids and each row's label."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Protocol

from program import Program

COPIES = 7
ROWS_A_PART = 1 << 24


@dataclass(frozen=True)
class Rows:
    """A file of float32 values `(n_rows, n_features)`, row by row."""

    file: Path
    n_rows: int
    n_features: int


@dataclass
class Run:
    """One timed call."""

    seconds: float
    n_iter: int
    inertia: float


class Contender(Protocol):
    """One library, on rows that are on its device."""

    name: str

    def load(self, points: Rows) -> None:
        """Puts the points on the device; not timed."""

    def fit(self, begin: Rows, max_iter: int) -> Run:
        """`max_iter` iterations from the centroids `begin`, and a last assignment to the final centroids."""


class Atalaya:
    """`kmeans::fit_from` on a device."""

    def __init__(self, program: Program, name: str) -> None:
        self.program = program
        self.name = name

    def load(self, points: Rows) -> None:
        self.device = self.program.ask("load", points.file, points.n_features)["device"]

    def fit(self, begin: Rows, max_iter: int) -> Run:
        return Run(**self.program.ask("refit", begin.file, begin.n_rows, max_iter))

    def seconds_of_a_pass(self, begin: Rows) -> float:
        """One pass that assigns all points and adds them up."""
        return self.program.ask("pass", begin.file, begin.n_rows)["seconds"]


class OnTorch:
    """What the libraries on top of PyTorch share; inertia is computed outside of the time."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def load(self, points: Rows) -> None:
        self.x = self.tensor(points)
        self.ones = self.torch.ones(len(self.x), device="cuda")

    def tensor(self, rows: Rows) -> Any:
        size = rows.n_rows * rows.n_features
        values = self.torch.from_file(str(rows.file), shared=False, size=size, dtype=self.torch.float32)
        return values.view(rows.n_rows, rows.n_features).cuda()

    def fit(self, begin: Rows, max_iter: int) -> Run:
        centroids = self.tensor(begin)
        self.torch.cuda.synchronize()
        clock = perf_counter()
        centroids, labels = self.clusters(centroids, max_iter)
        self.torch.cuda.synchronize()
        seconds = perf_counter() - clock
        return Run(seconds, max_iter, self.inertia(centroids, labels).item())

    def clusters(self, centroids: Any, max_iter: int) -> tuple[Any, Any]:
        """The final centroids `(n_clusters, n_features)` and labels `(n_samples)`."""
        raise NotImplementedError

    def inertia(self, centroids: Any, labels: Any) -> Any:
        # In parts, so that a copy of the rows need not fit beside them.
        parts = zip(self.x.split(ROWS_A_PART), labels.split(ROWS_A_PART))
        return sum((x - centroids[own.long()]).square().sum(dtype=self.torch.float64) for x, own in parts)


class PyTorch(OnTorch):
    """Lloyd's algorithm in the usual operations: addmm, argmin, index_add."""

    name = "pytorch"

    def clusters(self, centroids: Any, max_iter: int) -> tuple[Any, Any]:
        for _ in range(max_iter):
            centroids = self.means(centroids, self.labels(centroids))
        return centroids, self.labels(centroids)

    def labels(self, centroids: Any) -> Any:
        # |c|^2 - 2xc: the same order as the squared distances. (n_samples, n_clusters) -> (n_samples)
        distances = self.torch.addmm(centroids.square().sum(1), self.x, centroids.T, alpha=-2.0)
        return distances.argmin(1)

    def means(self, centroids: Any, labels: Any) -> Any:
        sums = self.torch.zeros_like(centroids).index_add_(0, labels, self.x)
        counts = self.torch.zeros(len(centroids), device="cuda").index_add_(0, labels, self.ones)
        return self.torch.where(counts[:, None] > 0, sums / counts[:, None], centroids)

    def seconds_to_read(self) -> float:
        """The lower limit: the bytes of x divided by the bandwidth of a copy, which reads and writes them."""
        target = self.torch.empty_like(self.x)
        return median(self.seconds_to_copy(target) for _ in range(COPIES)) / 2.0

    def seconds_to_copy(self, target: Any) -> float:
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        target.copy_(self.x)
        end.record()
        self.torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3


class FlashKMeans(OnTorch):
    """`flash_kmeans.batch_kmeans_Euclid`, which computes in TF32."""

    name = "flash-kmeans"

    def clusters(self, centroids: Any, max_iter: int) -> tuple[Any, Any]:
        from flash_kmeans import batch_kmeans_Euclid

        begin = centroids[None].clone()
        labels, centers = batch_kmeans_Euclid(
            self.x[None], len(centroids), max_iters=max_iter, tol=-1.0, init_centroids=begin
        )[:2]
        return centers[0], labels[0]


class CuML:
    """`cuml.cluster.KMeans`."""

    name = "cuml"

    def __init__(self) -> None:
        import cupy
        from cuml.cluster import KMeans

        self.cupy, self.KMeans = cupy, KMeans

    def load(self, points: Rows) -> None:
        self.x = self.array(points)

    def array(self, rows: Rows) -> Any:
        values = self.cupy.fromfile(str(rows.file), dtype=self.cupy.float32)
        return values.reshape(rows.n_rows, rows.n_features)

    def fit(self, begin: Rows, max_iter: int) -> Run:
        init = self.array(begin)
        model = self.KMeans(n_clusters=len(init), init=init, n_init=1, max_iter=max_iter, tol=0.0)
        self.cupy.cuda.Device().synchronize()
        clock = perf_counter()
        model.fit(self.x)
        self.cupy.cuda.Device().synchronize()
        return Run(perf_counter() - clock, int(model.n_iter_), float(model.inertia_))


def pytorch() -> Any:
    """PyTorch, if it is installed and has a GPU."""
    if not is_installed("torch"):
        return None
    import torch

    return torch if torch.cuda.is_available() else None


def others(torch: Any) -> list[Contender]:
    """The other libraries that are installed, PyTorch first."""
    found: list[Contender] = [PyTorch(torch)]
    if is_installed("flash_kmeans"):
        found.append(FlashKMeans(torch))
    if is_installed("cuml") and is_installed("cupy"):
        found.append(CuML())
    return found


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
