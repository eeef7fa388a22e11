#!/usr/bin/env python3
"""Detection of anomalous transactions: ROC AUC and average precision of each detector, over all and by scenario.

    python3 benches/compare/detection.py               the Fraud Detection Handbook's transactions
    python3 benches/compare/detection.py --simulated   transactions of `scorer simulate`

The trainer trains a pipeline on the first part, the scorer scores both parts, and the second part is evaluated. Labels
serve only for the evaluation. The table also has the raw amount as a score, and scikit-learn's IsolationForest on the
features of the detectors.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import environment

environment.require("numpy", "polars", "sklearn")

import numpy as np
import polars as pl
from program import PROGRAMS, build_all
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, precision_score, recall_score, roc_auc_score

HANDBOOK = environment.ROOT / "../shared/data/transactions"
SEED = 42


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulated", action="store_true", help="transactions of `scorer simulate`")
    parser.add_argument("--count", type=int, default=360_000, metavar="N", help="of simulated transactions")
    options = parser.parse_args()
    programs = build_all(PROGRAMS)
    with tempfile.TemporaryDirectory() as folder:
        if options.simulated:
            history, live = simulated(programs["scorer"], Path(folder), options.count)
            evaluate(programs, Path(folder), "transactions", history, live, "transaction_id", "amount", "label", [None])
        else:
            history, live = HANDBOOK / "training.csv", HANDBOOK / "production.csv"
            if not (history.exists() and live.exists()):
                sys.exit(f"error: {HANDBOOK.resolve()}: training.csv and production.csv are not there")
            columns = ("TRANSACTION_ID", "TX_AMOUNT", "TX_FRAUD_SCENARIO")
            evaluate(programs, Path(folder), "fraud-handbook", history, live, *columns, ["0"])
    return 0


def simulated(scorer: Path, folder: Path, count: int) -> tuple[Path, Path]:
    """One stream, cut in its middle."""
    whole, history, live = folder / "all.jsonl", folder / "history.jsonl", folder / "live.jsonl"
    population = ["--users", "2000", "--merchants", "600"]
    command = [scorer, "simulate", "transactions", *population, "--count", count, "--seed", SEED, "--output", whole]
    subprocess.run(list(map(str, command)), check=True, stderr=subprocess.DEVNULL)
    lines = whole.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join(lines[: count // 2]))
    live.write_bytes(b"".join(lines[count // 2 :]))
    return history, live


def evaluate(
    programs: dict[str, Path],
    folder: Path,
    pipeline: str,
    history: Path,
    live: Path,
    key: str,
    amount: str,
    label: str,
    normal: list[str | None],
) -> None:
    train = [programs["trainer"], "--pipeline", pipeline, "--input", history, "--models", folder, "--device", "cpu"]
    subprocess.run([*map(str, train), "--quiet"], cwd=environment.ROOT, check=True)
    # The past of what is live is the history, so the scorer goes over both.
    both, verdicts = folder / f"both{live.suffix}", folder / "verdicts.parquet"
    head, rest = live.read_bytes().split(b"\n", 1) if live.suffix == ".csv" else (b"", live.read_bytes())
    both.write_bytes(history.read_bytes().rstrip(b"\n") + b"\n" + rest)
    score = [programs["scorer"], "score", both, "--pipeline", pipeline, "--models", folder, "--output", verdicts]
    subprocess.run([*map(str, score), "--device", "cpu"], cwd=environment.ROOT, check=True, stderr=subprocess.DEVNULL)

    read = pl.read_csv if live.suffix == ".csv" else pl.read_ndjson
    options = {"schema_overrides": {key: pl.String, label: pl.String}} if live.suffix == ".csv" else {"infer_schema_length": None}
    truth = read(live, **options).select(pl.col(key), pl.col(amount), pl.col(label))
    scenario = np.array([value if value not in normal else "" for value in truth[label].to_list()])
    features = None
    columns = {"amount": (truth[amount].to_numpy(), None)}
    found = pl.read_parquet(verdicts)
    for (detector,), rows in sorted(found.group_by("detector", maintain_order=True)):
        names = [name.removesuffix("_contribution") for name in rows.columns if name.endswith("_contribution")]
        # A detector that compares the records of a window tells of each when the window is over.
        in_order = truth.select(pl.col(key).alias("key")).join(rows, on="key", how="left", maintain_order="left")
        if len(in_order) != len(truth) or in_order["score"].null_count():
            sys.exit("error: the scorer did not judge every transaction once; compare on a clean file")
        columns[detector] = (in_order["score"].to_numpy(), in_order["anomalous"].to_numpy())
        # Columns of other detectors' features are empty here, and what windows say is no feature.
        names = [name for name in names if rows[name].null_count() == 0]
        if rows["cluster"].null_count() == 0:
            past = rows.join(truth.select(pl.col(key).alias("key")), on="key", how="anti")
            features = (past.select(names).to_numpy(), in_order.select(names).to_numpy(), names)
    forest = IsolationForest(random_state=SEED).fit(features[0])
    columns["IsolationForest"] = (-forest.score_samples(features[1]), None)
    show(pipeline, len(found.filter(pl.col("detector") == detector)) - len(truth), scenario, features[2], columns)


def show(pipeline: str, n_history: int, scenario: np.ndarray, names: list[str], columns: dict) -> None:
    scenarios = sorted(set(scenario) - {""})
    anomalous = scenario != ""
    print(f"{pipeline}: trained on {n_history:,}, evaluated on {len(scenario):,}, of which {anomalous.sum():,} are anomalous")
    print(f"features: {', '.join(names)}\n")
    print(f"{'ROC AUC / average precision':>28} {'all':>15}" + "".join(f"{name[:20]:>22}" for name in scenarios))
    for name, (scores, _) in columns.items():
        cells = [quality(anomalous, scores)]
        for one in scenarios:
            rows = (scenario == "") | (scenario == one)
            cells.append(quality(scenario[rows] == one, scores[rows]))
        print(f"{name:>28} {cells[0]:>15}" + "".join(f"{cell:>22}" for cell in cells[1:]))
    print(f"\n{'at the threshold':>28} {'precision':>15}" + "".join(f"{'recall ' + name[:14]:>22}" for name in scenarios))
    for name, (_, flagged) in columns.items():
        if flagged is not None:
            recalls = [f"{recall_score(scenario[scenario == one] == one, flagged[scenario == one]):.3f}" for one in scenarios]
            precision = f"{precision_score(anomalous, flagged):.3f}"
            print(f"{name:>28} {precision:>15}" + "".join(f"{cell:>22}" for cell in recalls))


def quality(labels: np.ndarray, scores: np.ndarray) -> str:
    return f"{roc_auc_score(labels, scores):.3f} / {average_precision_score(labels, scores):.3f}"


if __name__ == "__main__":
    sys.exit(main())
