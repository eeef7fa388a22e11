#!/usr/bin/env python3
"""How long the trainer takes for k = 1 to 20 with ten restarts, both detectors, on real invoices.

    python3 benches/compare/sweep.py --input training.csv
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from environment import ROOT
from program import TRAINER, build

STEPS = ("fit kmeans", "fit bisecting-kmeans")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", default=[str(ROOT / "../shared/data/online_retail/training.csv")])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=7, metavar="N")
    options = parser.parse_args()
    inputs = [str(Path(name).resolve()) for name in options.input]
    absent = [name for name in inputs if not Path(name).exists()]
    if absent:
        sys.exit(f"error: {', '.join(absent)}: no such file; name one with --input")
    trainer = build(TRAINER)
    with tempfile.TemporaryDirectory() as models:
        reports = [train(trainer, inputs, Path(models), options.device) for _ in range(options.runs)]
    show(reports)
    return 0


def train(trainer: Path, inputs: list[str], models: Path, device: str) -> dict:
    """Trains again; returns what the trainer reported."""
    command = [str(trainer), "--input", *inputs, "--models", str(models), "--device", device, "--quiet"]
    subprocess.run(command, cwd=ROOT, check=True)
    return json.loads((models / "invoices/reports/training.json").read_text())


def show(reports: list[dict]) -> None:
    seconds = [[report["seconds"][step] for step in STEPS] for report in reports]
    first = reports[0]
    print(f"{first['entities_trained_on']:,} invoices; {first['device']}; median of {len(reports)} runs (from, to)")
    for step, times in zip(STEPS, zip(*seconds)):
        print_times(step, list(times))
    print_times("both", [sum(times) for times in seconds])


def print_times(what: str, times: list[float]) -> None:
    print(f"{what:>20}: {median(times):.3f} s ({min(times):.3f}, {max(times):.3f})")


if __name__ == "__main__":
    sys.exit(main())
