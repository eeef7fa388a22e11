"""The comparison on the CPU."""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import TypeVar

import faiss
import numpy
import sklearn

from contenders import Atalaya, Contender, Faiss, Run, ScikitLearn
from points import Points, Start, generate, start
from program import KMEANS_BENCH, Program, build
from scratch import folder

T = TypeVar("T")

# Rows, features, clusters; the last line tells of this one.
Size = tuple[int, int, int]
HEADLINE: Size = (1_000_000, 8, 20)
ALL: list[Size] = [(n, d, k) for n in (100_000, 1_000_000, 10_000_000) for d in (5, 8, 30) for k in (5, 20, 100)]
QUICK: list[Size] = [
    HEADLINE,
    (1_000_000, 8, 5),
    (100_000, 5, 5),
    (100_000, 8, 20),
    (100_000, 30, 100),
    (1_000_000, 30, 20),
    (1_000_000, 5, 20),
]
PASSES: list[Size] = [(1_000, 8, 20), (100_000, 8, 20), HEADLINE]

# Seconds after the start at which the sizes of a quick run have to be done; the passes take a few more.
QUICK_SECONDS = 40.0
# What they get in any case, should installing or building have taken long.
LEAST_SECONDS = 20.0
# Seconds that one size may take when it has had its least number of rounds.
SECONDS_A_SIZE = {True: 3.0, False: 15.0}
SECONDS_OF_HEADLINE = 8.0
LEAST_ROUNDS, MOST_ROUNDS = 3, 9
LEAST_ROUNDS_OF_HEADLINE = 5
# Between two calls, so that no library's waiting threads keep a core from the next one.
PAUSE = 0.01
INERTIA_WITHIN = 1e-3


@dataclass
class Row:
    """A line of a table: the milliseconds of each contender, in order."""

    size: Size
    milliseconds: list[float]
    rounds: int
    difference: float | None = None


class Budget:
    """The time that is left."""

    def __init__(self, end: float, seconds_a_size: float) -> None:
        self.end = end
        self.seconds_a_size = seconds_a_size
        # As fast as it went so far; nothing is known before the first size, which is measured in any case.
        self.seconds_a_unit = 0.0

    def allows(self, size: Size) -> bool:
        """Whether the minimum number of rounds, one warm-up round and making the rows will probably fit."""
        expected = self.seconds_a_unit * work(size) * (LEAST_ROUNDS + 1.5)
        return monotonic() + expected < self.end

    def rounds(self, size: Size, seconds: float) -> int:
        """The number of rounds to measure if one takes `seconds`."""
        self.seconds_a_unit = min(self.seconds_a_unit or float("inf"), seconds / work(size))
        wanted, least = (SECONDS_OF_HEADLINE, LEAST_ROUNDS_OF_HEADLINE)
        if size != HEADLINE:
            wanted, least = (self.seconds_a_size, LEAST_ROUNDS)
        time = min(wanted, self.end - monotonic())
        return max(least, min(MOST_ROUNDS, int(time / max(seconds, 1e-6))))


def work(size: Size) -> float:
    """Rough cost of a round: reading and distances."""
    n_samples, n_features, n_clusters = size
    return n_samples * (n_features * n_clusters + 50.0)


def compare(options: argparse.Namespace, started: float) -> int:
    """Prints the tables; returns 0 if all contenders agree."""
    program = Program(build(KMEANS_BENCH, options.features), options.threads)
    contenders: list[Contender] = [Atalaya(program), ScikitLearn(options.threads), Faiss(options.threads)]
    introduce(options)
    end = max(started + QUICK_SECONDS, monotonic() + LEAST_SECONDS) if options.quick else float("inf")
    budget = Budget(end, SECONDS_A_SIZE[options.quick])
    fits = list(fit_table(contenders, options, budget))
    pass_table(contenders, options.data)
    program.close()
    headline = next(row for row in fits if row.size == HEADLINE)
    times = " ".join(f"{c.name}={ms:.2f} ms" for c, ms in zip(contenders, headline.milliseconds))
    print(f"\n{name(HEADLINE)}: {times} ratio={headline.milliseconds[1] / headline.milliseconds[0]:.2f}")
    return 0


def introduce(options: argparse.Namespace) -> None:
    print(f"scikit-learn {sklearn.__version__}, faiss {faiss.__version__} ({faiss.get_compile_options().strip()}),", end=" ")
    print(f"numpy {numpy.__version__}; {processor()}, {options.threads} threads; {options.data} rows")


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def fit_table(contenders: list[Contender], options: argparse.Namespace, budget: Budget) -> Iterator[Row]:
    """Measures the sizes and prints each result at once."""
    print_heading(f"k-means, {options.iterations} iterations, ms an iteration, whole call included", contenders)
    for (n_samples, n_features), sizes in groupby(QUICK if options.quick else ALL, key=lambda size: size[:2]):
        with folder(n_samples * n_features * 4) as where:
            points = None
            for size in sizes:
                if not budget.allows(size):
                    print(f"{name(size):>15}   left out for want of time")
                    continue
                points = points or generate(options.data, n_samples, n_features, where)
                row = measure(contenders, size, points, options.iterations, budget)
                print_row(row)
                yield row


def measure(contenders: list[Contender], size: Size, points: Points, iterations: int, budget: Budget) -> Row:
    """Measures rounds of one call each, after a warm-up round."""
    begin = start(points, size[2])
    for contender in contenders:
        contender.load(points)
    clock = monotonic()
    warm_up = [contender.fit(points, begin, iterations) for contender in contenders]
    seconds = monotonic() - clock
    # Where nothing moves any more a library may end early: then all are measured over that many iterations.
    iterations = min(run.n_iter for run in warm_up)
    rounds = [
        in_turn(contenders, lambda contender: contender.fit(points, begin, iterations))
        for _ in range(budget.rounds(size, seconds))
    ]
    check(contenders, size, rounds, iterations)
    times = [1e3 * median(run.seconds for run in runs) / iterations for runs in zip(*rounds)]
    return Row(size, times, len(rounds), difference(rounds[-1]))


def in_turn(contenders: list[Contender], call: Callable[[Contender], T]) -> list[T]:
    results = []
    for contender in contenders:
        sleep(PAUSE)
        results.append(call(contender))
    return results


def check(contenders: list[Contender], size: Size, rounds: list[list[Run]], iterations: int) -> None:
    """Ends the program if the contenders did not find the same."""
    for runs in rounds:
        said = ", ".join(f"{c.name}: {r.n_iter} iterations to {r.inertia:.6g}" for c, r in zip(contenders, runs))
        if any(run.n_iter != iterations for run in runs):
            sys.exit(f"error: {name(size)}: not everyone ran {iterations} iterations ({said})")
        if not difference(runs) <= INERTIA_WITHIN:
            sys.exit(f"error: {name(size)}: different inertia ({said})")


def difference(runs: list[Run]) -> float:
    """The largest relative difference of inertia."""
    inertias = [run.inertia for run in runs]
    return (max(inertias) - min(inertias)) / max(min(inertias), 1e-300)


def pass_table(contenders: list[Contender], data: str) -> None:
    """One pass over points that are on the device, as in scoring and in a first iteration."""
    print_heading("one pass (atalaya assigns and adds up, the others assign), ms", contenders)
    for size in PASSES:
        n_samples, n_features, n_clusters = size
        with folder(n_samples * n_features * 4) as where:
            points = generate(data, n_samples, n_features, where)
            print_row(measure_passes(contenders, size, points, start(points, n_clusters)))


def measure_passes(contenders: list[Contender], size: Size, points: Points, begin: Start) -> Row:
    for contender in contenders:
        contender.load(points)
    rounds = [in_turn(contenders, lambda contender: contender.assign(points, begin)) for _ in range(MOST_ROUNDS + 1)]
    # The first round warms up.
    return Row(size, [1e3 * median(seconds) for seconds in zip(*rounds[1:])], MOST_ROUNDS)


def print_heading(title: str, contenders: list[Contender]) -> None:
    print(f"\n{title}")
    names = "".join(f"{contender.name:>15}" for contender in contenders)
    ratios = "".join(f"{'/ ' + contender.name:>15}" for contender in contenders[1:])
    print(f"{'n x d x k':>15}{names}{ratios}{'rounds':>8}")


def print_row(row: Row) -> None:
    times = "".join(f"{ms:>15.3f}" for ms in row.milliseconds)
    ratios = "".join(f"{ms / row.milliseconds[0]:>15.2f}" for ms in row.milliseconds[1:])
    inertia = "" if row.difference is None else f"  inertia within {row.difference:.0e}"
    print(f"{name(row.size):>15}{times}{ratios}{row.rounds:>8}{inertia}", flush=True)


def name(size: Size) -> str:
    return " x ".join(short(number) for number in size)


def short(number: int) -> str:
    """1000000 as 1M."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit and number % unit == 0:
            return f"{number // unit}{letter}"
    return str(number)
