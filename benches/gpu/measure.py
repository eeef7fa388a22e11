#!/usr/bin/env python3
"""k-means of one size: atalaya on the devices that are named, beside PyTorch and flash-kmeans if they are installed.

    python3 benches/gpu/measure.py --program kmeans-bench --devices gpu:0,cpu --size 1000000x8x20

Prints a JSON object a line as soon as it knows: of each contender, and `floor_ms`, the time of one read of the points.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))

from gpu_contenders import Atalaya, Contender, PyTorch, Rows, others, pytorch  # noqa: E402
from program import Program  # noqa: E402
from scratch import folder  # noqa: E402

BYTES = 4
PASSES = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True, metavar="KMEANS_BENCH")
    parser.add_argument("--devices", required=True, metavar="D,D")
    parser.add_argument("--size", required=True, metavar="NxDxK")
    parser.add_argument("--iterations", type=int, default=20, metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    options = parser.parse_args()
    n_samples, n_features, n_clusters = (int(number) for number in options.size.split("x"))
    with folder(n_samples * n_features * BYTES) as where:
        points = Rows(where / "points.f32", n_samples, n_features)
        maker = Program(options.program, options.threads)
        maker.ask("make", points.file, n_samples, n_features)
        maker.close()
        begin = first_rows(points, n_clusters)
        first, *rest = options.devices.split(",")
        measure_ours(options, first, points, begin)
        measure_others(options, points, begin)
        for device in rest:
            measure_ours(options, device, points, begin)
    return 0


def first_rows(points: Rows, n_clusters: int) -> Rows:
    """The initial centroids for all: rows come in no order."""
    file = points.file.with_name("start.f32")
    with points.file.open("rb") as values:
        file.write_bytes(values.read(n_clusters * points.n_features * BYTES))
    return Rows(file, n_clusters, points.n_features)


def measure_ours(options: argparse.Namespace, device: str, points: Rows, begin: Rows) -> None:
    try:
        program = Program(options.program, options.threads, device)
        contender = Atalaya(program, f"atalaya {device}")
        result = measure(contender, options, points, begin)
        passes = [contender.seconds_of_a_pass(begin) for _ in range(PASSES + 1)]
        program.close()
    except (SystemExit, OSError) as error:
        say(f"atalaya {device}", failed=str(error))
        return
    # The first pass brings the points there.
    say(contender.name, **result, device=contender.device, pass_ms=1e3 * median(passes[1:]))


def measure_others(options: argparse.Namespace, points: Rows, begin: Rows) -> None:
    torch = pytorch()
    if torch is None:
        return
    contenders = others(torch)
    while contenders:
        # What one has on the GPU goes before the next one comes.
        contender = contenders.pop(0)
        try:
            say(contender.name, **measure(contender, options, points, begin), device=torch.cuda.get_device_name())
            if isinstance(contender, PyTorch):
                print(json.dumps({"floor_ms": 1e3 * contender.seconds_to_read()}), flush=True)
        except Exception as error:  # noqa: BLE001: whatever a library fails with, the others are measured
            say(contender.name, failed=f"{type(error).__name__}: {error}"[:300])
        del contender
        torch.cuda.empty_cache()


def measure(contender: Contender, options: argparse.Namespace, points: Rows, begin: Rows) -> dict[str, float]:
    """Whole calls: the first, which compiles and sends, and the median of the others."""
    contender.load(points)
    runs = [contender.fit(begin, options.iterations) for _ in range(options.rounds + 1)]
    calls = [run.seconds for run in runs[1:]]
    return {
        "ms_an_iteration": 1e3 * median(calls) / options.iterations,
        "first_call_seconds": runs[0].seconds,
        "fastest_call_seconds": min(calls),
        "slowest_call_seconds": max(calls),
        "n_iter": runs[-1].n_iter,
        "inertia": runs[-1].inertia,
    }


def say(name: str, **what: object) -> None:
    print(json.dumps({"name": name, **what}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
