#!/usr/bin/env python3
"""k-means beside scikit-learn and faiss: the same rows, initial centroids, iterations and threads, in turn.

    python3 benches/compare/kmeans.py            all sizes; about a quarter of an hour on two cores
    python3 benches/compare/kmeans.py --quick    within 50 seconds if everything is built
    python3 benches/compare/kmeans.py --gpu      on a GPU, beside PyTorch, flash-kmeans and cuML if they are installed

A time is the time of a whole call, from the array in memory to centroids, labels and inertia, divided by the number of
iterations. The exit status is 1 if the programs do not find the same clusters.
"""

import argparse
import os
import sys
from time import monotonic

STARTED = monotonic()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few sizes, within 50 seconds")
    parser.add_argument("--gpu", action="store_true", help="on a GPU instead of the CPU")
    parser.add_argument("--device", default="auto", help="with --gpu: what atalaya computes on, such as gpu")
    parser.add_argument("--features", metavar="F", help="cargo features of the program, such as vulkan")
    parser.add_argument("--data", choices=["overlapping", "separated", "uniform"], default="overlapping")
    parser.add_argument("--iterations", type=int, default=20, metavar="N")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    # Read when the libraries are loaded: they set up as many threads as they will use.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import environment

    if options.gpu:
        environment.require("numpy")
        import on_gpu

        return on_gpu.compare(options)
    environment.require("faiss", "numpy", "sklearn", "threadpoolctl")
    import on_cpu

    return on_cpu.compare(options, STARTED)


if __name__ == "__main__":
    sys.exit(main())
