"""The comparison on a GPU, with rows that are already there: PyTorch, cuML, and the time to read the rows once."""

import argparse
import importlib.util
import sys
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from points import Points, Start, folder, generate, start
from program import KMEANS_BENCH, Program, build

SIZES = [(n, 8, 20) for n in (1_000_000, 10_000_000, 100_000_000)]
QUICK_SIZES = SIZES[:2]
ROUNDS = 5
INERTIA_WITHIN = 1e-3


@dataclass
class Run:
    """One timed call."""

    seconds: float
    n_iter: int
    inertia: float


class Contender(Protocol):
    """One library, on rows that are on its device."""

    name: str

    def load(self, points: Points) -> None:
        """Puts the points on the device; not timed."""

    def fit(self, begin: Start, max_iter: int) -> Run:
        """`max_iter` iterations from `begin`, and a last assignment to the final centroids."""


class Atalaya:
    """`kmeans::fit_from` on a device."""

    def __init__(self, program: Program, name: str) -> None:
        self.program = program
        self.name = name

    def load(self, points: Points) -> None:
        answer = self.program.ask("load", points.file, points.x.shape[1])
        self.device = answer["device"]

    def fit(self, begin: Start, max_iter: int) -> Run:
        return Run(**self.program.ask("refit", begin.file, len(begin.centroids), max_iter))


class PyTorch:
    """Lloyd's algorithm in the usual operations: addmm, argmin, index_add."""

    name = "pytorch"

    def __init__(self, torch: Any) -> None:
        self.torch = torch

    def load(self, points: Points) -> None:
        self.x = self.torch.from_numpy(points.x).cuda()
        self.ones = self.torch.ones(len(self.x), device="cuda")

    def fit(self, begin: Start, max_iter: int) -> Run:
        centroids = self.torch.from_numpy(begin.centroids).cuda()
        self.torch.cuda.synchronize()
        clock = perf_counter()
        for _ in range(max_iter):
            centroids = self.means(centroids, self.labels(centroids))
        labels = self.labels(centroids)
        inertia = self.inertia(centroids, labels).item()
        return Run(perf_counter() - clock, max_iter, inertia)

    def labels(self, centroids: Any) -> Any:
        # |c|^2 - 2xc: the same order as the squared distances. (n_samples, n_clusters) -> (n_samples)
        distances = self.torch.addmm(centroids.square().sum(1), self.x, centroids.T, alpha=-2.0)
        return distances.argmin(1)

    def means(self, centroids: Any, labels: Any) -> Any:
        sums = self.torch.zeros_like(centroids).index_add_(0, labels, self.x)
        counts = self.torch.zeros(len(centroids), device="cuda").index_add_(0, labels, self.ones)
        return self.torch.where(counts[:, None] > 0, sums / counts[:, None], centroids)

    def inertia(self, centroids: Any, labels: Any) -> Any:
        # In parts, so that a copy of the rows need not fit beside them.
        parts = zip(self.x.split(1 << 24), labels.split(1 << 24))
        return sum((x - centroids[own]).square().sum(dtype=self.torch.float64) for x, own in parts)

    def seconds_to_read(self) -> float:
        """The lower limit: the bytes of x divided by the bandwidth of a copy, which reads and writes them."""
        target = self.torch.empty_like(self.x)
        return median(self.seconds_to_copy(target) for _ in range(ROUNDS)) / 2.0

    def seconds_to_copy(self, target: Any) -> float:
        begin, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        target.copy_(self.x)
        end.record()
        self.torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3


class CuML:
    """`cuml.cluster.KMeans`."""

    name = "cuml"

    def __init__(self) -> None:
        import cupy
        from cuml.cluster import KMeans

        self.cupy, self.KMeans = cupy, KMeans

    def load(self, points: Points) -> None:
        self.x = self.cupy.asarray(points.x)

    def fit(self, begin: Start, max_iter: int) -> Run:
        init = self.cupy.asarray(begin.centroids)
        model = self.KMeans(n_clusters=len(init), init=init, n_init=1, max_iter=max_iter, tol=0.0)
        self.cupy.cuda.Device().synchronize()
        clock = perf_counter()
        model.fit(self.x)
        self.cupy.cuda.Device().synchronize()
        return Run(perf_counter() - clock, int(model.n_iter_), float(model.inertia_))


def compare(options: argparse.Namespace) -> int:
    """Prints the table; returns 0 if all contenders agree, or if there is no GPU."""
    torch = pytorch()
    if torch is None:
        print("no GPU that PyTorch can use: nothing to compare")
        return 0
    executable = build(KMEANS_BENCH, options.features)
    ours = Atalaya(Program(executable, options.threads, options.device), f"on {options.device}")
    cpu = Atalaya(Program(executable, options.threads, "cpu"), "on cpu")
    contenders: list[Contender] = [ours, cpu, PyTorch(torch)]
    if importlib.util.find_spec("cuml") and importlib.util.find_spec("cupy"):
        contenders.append(CuML())
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; {options.threads} threads; {options.data} rows")
    print(f"\nk-means, {options.iterations} iterations, ms an iteration, rows on the device")
    names = "".join(f"{contender.name:>15}" for contender in contenders)
    print(f"{'n x d x k':>18}{names}{'floor':>12}{'of floor':>10}{'/ pytorch':>11}{'/ cpu':>8}")
    for size in QUICK_SIZES if options.quick else SIZES:
        compare_size(contenders, size, options)
    print(f"device: {ours.device}")
    return 0


def pytorch() -> Any:
    """PyTorch, if it is installed and has a GPU."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch if torch.cuda.is_available() else None


def compare_size(contenders: list[Contender], size: tuple[int, int, int], options: argparse.Namespace) -> None:
    n_samples, n_features, n_clusters = size
    with folder(n_samples * n_features * 4) as where:
        points = generate(options.data, n_samples, n_features, where)
        begin = start(points, n_clusters)
        for contender in contenders:
            contender.load(points)
        rounds = [[contender.fit(begin, options.iterations) for contender in contenders] for _ in range(ROUNDS + 1)]
        floor = 1e3 * next(c.seconds_to_read() for c in contenders if isinstance(c, PyTorch))
    check(contenders, size, rounds)
    # The first round warms up.
    times = [1e3 * median(run.seconds for run in runs) / options.iterations for runs in zip(*rounds[1:])]
    shares = f"{floor / times[0]:>10.0%}{times[2] / times[0]:>11.2f}{times[1] / times[0]:>8.1f}"
    label = " x ".join(f"{number:,}" for number in size)
    print(f"{label:>18}" + "".join(f"{ms:>15.3f}" for ms in times) + f"{floor:>12.3f}{shares}", flush=True)


def check(contenders: list[Contender], size: tuple[int, int, int], rounds: list[list[Run]]) -> None:
    """Ends the program if the contenders did not find the same."""
    for runs in rounds:
        said = ", ".join(f"{c.name}: {r.n_iter} iterations to {r.inertia:.6g}" for c, r in zip(contenders, runs))
        inertias = [run.inertia for run in runs]
        if len({run.n_iter for run in runs}) > 1 or not max(inertias) <= min(inertias) * (1 + INERTIA_WITHIN):
            sys.exit(f"error: {size}: not the same ({said})")
