#!/usr/bin/env python3
"""Inertia of k-means for each k, beside scikit-learn's best of ten restarts on the same matrix.

    python3 benches/compare/inertia.py models/invoices/reports
    python3 benches/compare/inertia.py models/invoices-spark/reports none

The script reads the features and inertias that `trainer` reported. The second argument is the scaling of the pipeline.
"""

import sys
from pathlib import Path

import environment

environment.require("numpy", "polars", "sklearn")

import numpy as np
import polars as pl
from sklearn.cluster import KMeans
from sklearn.preprocessing import RobustScaler


def main(reports: Path, scaling: str) -> int:
    scores = pl.read_parquet(reports / "scores.parquet")
    suffixes = ("_score", "_threshold", "_anomalous", "_cluster")
    features = [name for name in scores.columns[1:] if not name.endswith(suffixes)]
    # Centred and scaled in float64, then computed on in float32 as the trainer does.
    values = scores.select(features).to_numpy()
    scaled = {"robust": lambda: RobustScaler().fit_transform(values), "none": lambda: values - values.mean(axis=0)}
    x = scaled[scaling]().astype(np.float32)
    elbow = pl.read_parquet(reports / "elbow.parquet").filter(pl.col("detector") == "kmeans").sort("k")
    print(f"{x.shape[0]} rows, {x.shape[1]} features: {', '.join(features)}")
    print(f"{'k':>3} {'atalaya':>16} {'scikit-learn':>16} {'ratio':>8}")
    worst = 0.0
    for k, ours in elbow.select("k", "inertia").iter_rows():
        theirs = KMeans(k, n_init=10, random_state=0, max_iter=300, tol=1e-4).fit(x.astype(np.float64)).inertia_
        worst = max(worst, ours / theirs)
        print(f"{k:>3} {ours:>16,.1f} {theirs:>16,.1f} {ours / theirs:>8.4f}")
    print(f"largest ratio={worst:.4f}")
    return 0 if worst <= 1.01 else 1


if __name__ == "__main__":
    arguments = sys.argv[1:] + ["models/invoices/reports", "robust"][len(sys.argv) - 1 :]
    sys.exit(main(Path(arguments[0]), arguments[1]))
