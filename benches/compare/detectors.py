#!/usr/bin/env python3
"""Every detector on labelled tables, beside PyOD's on the same rows in the same run.

    python3 benches/compare/detectors.py                                all tables of ../shared/data/adbench
    python3 benches/compare/detectors.py --tables DIR --only thyroid,wine --detectors knn,lof

Each table is a Parquet file with a column `label`, 1 for anomalies. `trainer compare --all-rows` fits and scores all rows.
PyOD does the same with its defaults, on rows with mean 0 and standard deviation 1, with one thread per core. Its scores
are the scores of the training rows, as in published benchmarks. Labels serve only for the measures.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import environment

environment.require("numba", "numpy", "polars", "pyod", "sklearn")

import numpy as np
import polars as pl
from program import PROGRAMS, build_all
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

TABLES = environment.ROOT / "../shared/data/adbench"
SEED = 42

# Rows beyond which PyOD's detector takes minutes, and is left out.
MOST_ROWS = {"OCSVM": 20_000, "AutoEncoder": 20_000}

Measures = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, default=TABLES, metavar="DIR", help="a folder of Parquet files")
    parser.add_argument("--only", metavar="NAMES", help="these tables, with commas between")
    parser.add_argument("--detectors", metavar="NAMES", help="these detectors, with commas between")
    parser.add_argument("--without-pyod", action="store_true", help="ours alone")
    options = parser.parse_args()
    tables = sorted(options.tables.glob("*.parquet"), key=lambda path: path.stem.lower())
    if options.only:
        tables = [path for path in tables if path.stem in options.only.split(",")]
    if not tables:
        sys.exit(f"error: there is no such table in {options.tables.resolve()}: use --tables DIR")
    trainer = build_all(PROGRAMS)["trainer"]
    counterparts = {} if options.without_pyod else pyod_detectors()
    results: dict[str, list[tuple[Measures | None, Measures | None]]] = {}
    for path in tables:
        rows, labels = read(path)
        print(f"\n{path.stem}: {len(rows):,} rows, {rows.shape[1]} features, {labels.sum():,} anomalies")
        print(header())
        theirs: dict[str, Measures | None] = {}
        for ours in compare(trainer, path, options.detectors):
            name = ours["detector"]
            counterpart = counterpart_of(name)
            if counterpart in counterparts and counterpart not in theirs:
                theirs[counterpart] = measure(counterpart, counterparts[counterpart], rows, labels)
            pair = (None if ours["skipped"] else ours, theirs.get(counterpart))
            results.setdefault(name, []).append(pair)
            print(line(name, counterpart if pair[1] else "-", *pair))
            if ours["skipped"]:
                print(f"    {ours['skipped']}")
    show_means(results, len(tables))
    return 0


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Standardised rows, and whether each row is an anomaly."""
    table = pl.read_parquet(path)
    rows = table.drop("label").to_numpy().astype(np.float64)
    return StandardScaler().fit_transform(rows), table["label"].to_numpy().astype(bool)


def compare(trainer: Path, path: Path, detectors: str | None) -> list[dict[str, Any]]:
    """What `trainer compare` found, one object per detector."""
    with tempfile.TemporaryDirectory() as folder:
        command = [trainer, "compare", "--input", path, "--label", "label", "--all-rows", "--output", folder]
        command += ["--seed", SEED, "--device", "cpu", "--quiet", *(["--detectors", detectors] if detectors else [])]
        subprocess.run(list(map(str, command)), check=True)
        found = json.loads((Path(folder) / "comparison.json").read_text())
    for one in found:
        one["score_seconds"] = one["score_seconds"] or 0.0
    return sorted(found, key=lambda one: one["detector"])


def counterpart_of(name: str) -> str:
    """PyOD's detector of the same algorithm."""
    names = {
        "autoencoder": "AutoEncoder",
        "ecod": "ECOD",
        "hbos": "HBOS",
        "isolation-forest": "IForest",
        "kmeans": "CBLOF",
        "kmeans-corrected": "CBLOF",
        "knn": "KNN",
        "lof": "LOF",
        "mcd": "MCD",
        "one-class-svm": "OCSVM",
        "pca": "PCA",
    }
    return names.get(name, "-")


def pyod_detectors() -> dict[str, Callable[[], Any]]:
    """PyOD's detectors with their defaults. The autoencoder needs torch; without it scikit-learn's network stands in."""
    from pyod.models.cblof import CBLOF
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN
    from pyod.models.lof import LOF
    from pyod.models.mcd import MCD
    from pyod.models.ocsvm import OCSVM
    from pyod.models.pca import PCA

    detectors: dict[str, Callable[[], Any]] = {
        "CBLOF": lambda: CBLOF(random_state=SEED),
        "ECOD": ECOD,
        "HBOS": HBOS,
        "IForest": lambda: IForest(random_state=SEED, n_jobs=-1),
        "KNN": lambda: KNN(n_jobs=-1),
        "LOF": lambda: LOF(n_jobs=-1),
        "MCD": lambda: MCD(random_state=SEED),
        "OCSVM": OCSVM,
        "PCA": lambda: PCA(random_state=SEED),
    }
    if importlib.util.find_spec("torch"):
        from pyod.models.auto_encoder import AutoEncoder

        detectors["AutoEncoder"] = lambda: AutoEncoder(random_state=SEED, verbose=0)
    else:
        print("PyOD's AutoEncoder needs torch, which is not installed: MLPRegressor stands in", file=sys.stderr)
        detectors["AutoEncoder"] = NetworkOfScikitLearn
    # Imports and compilation on the first use are nobody's fit.
    few = np.random.default_rng(SEED).normal(size=(300, 5))
    for name, make in detectors.items():
        measure(name, make, few, np.arange(300) < 10)
    return detectors


class NetworkOfScikitLearn:
    """scikit-learn's network trained to reproduce its input, with the layers, batches and epochs of PyOD's AutoEncoder."""

    def fit(self, rows: np.ndarray) -> "NetworkOfScikitLearn":
        layers, batch = (64, 32, 64), min(32, len(rows))
        network = MLPRegressor(hidden_layer_sizes=layers, batch_size=batch, max_iter=10, random_state=SEED)
        self.network = network.fit(rows, rows)
        self.decision_scores_ = self.decision_function(rows)
        return self

    def decision_function(self, rows: np.ndarray) -> np.ndarray:
        return np.square(rows - self.network.predict(rows)).mean(axis=1)


def measure(name: str, make: Callable[[], Any], rows: np.ndarray, labels: np.ndarray) -> Measures | None:
    """The measures of PyOD's detector on the rows; None if it is too slow or fails."""
    if len(rows) > MOST_ROWS.get(name, len(rows)):
        print(f"    PyOD's {name} is left out: {len(rows):,} rows would take it minutes")
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            detector = make().fit(rows)
            fitted = time.perf_counter()
            detector.decision_function(rows)
            scored = time.perf_counter()
    except Exception as error:  # noqa: BLE001: whatever it is, the others go on
        print(f"    PyOD's {name} failed: {error}")
        return None
    scores = detector.decision_scores_
    if not np.isfinite(scores).all():
        print(f"    PyOD's {name} failed: not all of its scores are finite")
        return None
    return {
        "roc_auc": float(roc_auc_score(labels, scores)),
        "average_precision": float(average_precision_score(labels, scores)),
        "fit_seconds": fitted - start,
        "score_seconds": scored - fitted,
    }


COLUMNS = [
    ("ROC AUC", "roc_auc", ".3f"),
    ("avg prec", "average_precision", ".3f"),
    ("fit s", "fit_seconds", ".3f"),
    ("score s", "score_seconds", ".3f"),
]


def header() -> str:
    columns = "".join(f"{name:>10}{'PyOD':>9}" for name, _, _ in COLUMNS)
    return f"{'detector':<28}{'PyOD':<12}{columns}"


def line(name: str, counterpart: str, ours: Measures | None, theirs: Measures | None) -> str:
    def cell(measures: Measures | None, key: str, form: str) -> str:
        return "-" if measures is None else format(measures[key], form)

    cells = (f"{cell(ours, key, form):>10}{cell(theirs, key, form):>9}" for _, key, form in COLUMNS)
    return f"{name:<28}{counterpart:<12}{''.join(cells)}"


def show_means(results: dict[str, list[tuple[Measures | None, Measures | None]]], n_tables: int) -> None:
    """Shows our means over all tables, and the means of both over the tables that PyOD's detector could score."""
    print(f"\nmean of {n_tables} tables; beside PyOD's, of the tables that both did")
    print(header())
    for name, pairs in sorted(results.items()):
        ours = [pair[0] for pair in pairs if pair[0]]
        both = [pair for pair in pairs if pair[0] and pair[1]]
        if ours:
            suffix = f" ({len(ours)})" if len(ours) < n_tables else ""
            print(line(name + suffix, "-", mean(ours), None))
        if both:
            print(line(f"  on {len(both)} tables", counterpart_of(name), mean([b[0] for b in both]), mean([b[1] for b in both])))


def mean(all_measures: list[Any]) -> Measures:
    return {key: float(np.mean([measures[key] for measures in all_measures])) for _, key, _ in COLUMNS}


if __name__ == "__main__":
    sys.exit(main())
