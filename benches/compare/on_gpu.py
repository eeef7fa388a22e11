"""The comparison on a GPU, with rows that are already there: other libraries, and the time to read the rows once."""

import argparse
import sys
from statistics import median

from gpu_contenders import Atalaya, Contender, PyTorch, Rows, Run, others, pytorch
from points import generate, start
from program import KMEANS_BENCH, Program, build
from scratch import folder

SIZES = [(n, 8, 20) for n in (1_000_000, 10_000_000, 100_000_000)]
QUICK_SIZES = SIZES[:2]
ROUNDS = 5
INERTIA_WITHIN = 1e-3


def compare(options: argparse.Namespace) -> int:
    """Prints the table; returns 0 if all contenders agree, or if there is no GPU."""
    torch = pytorch()
    if torch is None:
        print("no GPU that PyTorch can use: nothing to compare")
        return 0
    executable = build(KMEANS_BENCH, options.features)
    ours = Atalaya(Program(executable, options.threads, options.device), f"on {options.device}")
    cpu = Atalaya(Program(executable, options.threads, "cpu"), "on cpu")
    contenders: list[Contender] = [ours, cpu, *others(torch)]
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}; {options.threads} threads; {options.data} rows")
    print(f"\nk-means, {options.iterations} iterations, ms an iteration, rows on the device")
    names = "".join(f"{contender.name:>15}" for contender in contenders)
    print(f"{'n x d x k':>18}{names}{'floor':>12}{'of floor':>10}{'/ pytorch':>11}{'/ cpu':>8}")
    for size in QUICK_SIZES if options.quick else SIZES:
        compare_size(contenders, size, options)
    print(f"device: {ours.device}")
    return 0


def compare_size(contenders: list[Contender], size: tuple[int, int, int], options: argparse.Namespace) -> None:
    n_samples, n_features, n_clusters = size
    with folder(n_samples * n_features * 4) as where:
        points = generate(options.data, n_samples, n_features, where)
        rows = Rows(points.file, n_samples, n_features)
        begin = Rows(start(points, n_clusters).file, n_clusters, n_features)
        for contender in contenders:
            contender.load(rows)
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
