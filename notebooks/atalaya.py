"""What the notebooks share: where files lie, the scorer's verdicts, how detectors are judged, how figures look."""

import functools
import gzip
import html
import io
import json
import math
import os
import subprocess
import tempfile
import textwrap
import tomllib
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
RESOURCES = ROOT / "resources"

NORMAL, ANOMALOUS, ACCENT, FAINT = "#8d99a6", "#c1121f", "#1d6996", "#d9dee3"
PALETTE = ["#1d6996", "#e17c05", "#38a6a5", "#94346e", "#73af48", "#40434a", "#cc503e", "#8f7ccf", "#9c755f", "#edad08"]
SEQUENTIAL = mpl.colors.LinearSegmentedColormap.from_list("atalaya", ["#f4f6f8", "#1d6996", "#0b2a40"])


# Files ----------------------------------------------------------------------------------------------------------------


def reports(pipeline: str) -> Path:
    """The folder of the trainer's reports on a pipeline."""
    return ROOT / "models" / pipeline / "reports"


def pipeline_file(pipeline: str) -> dict:
    """The pipeline file: columns, rules, features and detectors are declared there and nowhere else."""
    return tomllib.loads((RESOURCES / "pipelines" / f"{pipeline}.toml").read_text())


def model(pipeline: str, detector: str) -> dict:
    """A detector's `model.json`."""
    return json.loads((ROOT / "models" / pipeline / detector / "model.json").read_text())


def readable(pipeline: str, feature: str, value: float) -> str:
    """A feature's value as people read it: the logarithm of the pipeline file is undone, a ratio below 1 is a fraction."""
    declared = pipeline_file(pipeline)["features"].get(feature, "")
    expression = declared["expression"] if isinstance(declared, dict) else declared
    if expression.startswith("log1p("):
        value = math.expm1(value)
    elif expression.startswith("log("):
        value = math.exp(value)
        return f"1/{1 / value:,.0f}" if value < 0.5 else f"{value:,.3g} times"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# What a label says of an entity that is not an anomaly; mostly it says nothing.
NORMAL_LABELS = ["", "0", "normal"]

# Samples: history that models are trained on, and what the scorer sees afterwards.
HISTORY = {
    "invoices": RESOURCES / "training.csv",
    "transactions": RESOURCES / "transactions" / "training.jsonl.gz",
}
PRODUCTION = {
    "invoices": RESOURCES / "production.csv",
    "transactions": RESOURCES / "transactions" / "production.jsonl.gz",
}


def payments(path: Path) -> pl.DataFrame:
    """A file of card payments: their amounts in the base currency too, their times as such."""
    rates = pipeline_file("transactions")["currency"]
    in_base = pl.col("currency").replace_strict(rates["rates"] | {rates["base"]: 1.0}, default=None)
    return pl.read_ndjson(gzip.decompress(path.read_bytes())).with_columns(
        pl.col("timestamp").str.to_datetime(time_zone="UTC"),
        (pl.col("amount") * in_base.fill_null(1.0)).alias("amount_eur"),
    )


def labels(pipeline: str) -> pl.DataFrame:
    """What the anomalies of the production sample are known to be: `key`, `label`. All others are normal."""
    if pipeline == "invoices":
        return pl.read_csv(RESOURCES / "production_labels.csv", infer_schema=False, new_columns=["key", "label"])
    return payments(PRODUCTION[pipeline]).select(key="transaction_id", label="label").drop_nulls()


# Verdicts -------------------------------------------------------------------------------------------------------------


def program(name: str) -> Path:
    """A program of Atalaya: in the folder `ATALAYA_BIN`, or else where `cargo build` puts it."""
    built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
    path = Path(os.environ.get("ATALAYA_BIN", built)).resolve() / name
    if not path.exists():
        raise FileNotFoundError(f"{path}: run `cargo build -p scorer`, or set ATALAYA_BIN to its folder")
    return path


def scored(pipeline: str, suffix: str) -> bytes:
    """What the scorer says of the production sample, as a file: `.parquet` for verdicts, `.jsonl` for all messages.

    It is made here unless the folder `ATALAYA_VERDICTS` holds one. Payments are judged in the light of what their user
    did before, so the scorer goes over the history first, as it would have done live.
    """
    if given := os.environ.get("ATALAYA_VERDICTS"):
        return (Path(given) / f"{pipeline}{suffix}").read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        source, output = PRODUCTION[pipeline], Path(folder) / f"verdicts{suffix}"
        if has_past(pipeline):
            source = Path(folder) / "all.jsonl"
            source.write_bytes(sample(pipeline))
        command = [program("scorer"), "score", source, "--pipeline", pipeline, "--output", output, "--device", "cpu"]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr}")
        return output.read_bytes()


def has_past(pipeline: str) -> bool:
    """Whether a record is judged in the light of earlier ones."""
    return "session_gap" not in pipeline_file(pipeline)["entity"]


def sample(pipeline: str) -> bytes:
    """The records that the scorer goes over."""
    files = [HISTORY[pipeline]] * has_past(pipeline) + [PRODUCTION[pipeline]]
    return b"".join(gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes() for file in files)


@functools.cache
def verdicts(pipeline: str) -> pl.DataFrame:
    """One row a verdict on the production sample: `key`, `detector`, `score`, `threshold`, features, contributions."""
    # A file of results has rows of other messages too.
    rows = pl.read_parquet(scored(pipeline, ".parquet")).filter(pl.col("kind") == "verdict")
    frame = rows.with_columns(
        pl.col("first_timestamp", "last_timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC")
    )
    return of_production(pipeline, frame)


def of_production(pipeline: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The rows of the production sample: the scorer may have gone over the history first."""
    if not has_past(pipeline):
        return frame
    return frame.filter(pl.col("key").is_in(payments(PRODUCTION[pipeline])["transaction_id"].implode()))


@functools.cache
def messages(pipeline: str) -> list[dict]:
    """Everything that the scorer publishes on the production sample: verdicts, erroneous records, cancellations."""
    return [json.loads(line) for line in scored(pipeline, ".jsonl").splitlines()]


def wide(pipeline: str) -> pl.DataFrame:
    """The verdicts in the form of the trainer's `scores.parquet`: one row an entity, with its label."""
    frame = verdicts(pipeline)
    table = frame.unique("key", keep="first", maintain_order=True).select("key", "first_timestamp")
    table = table.join(labels(pipeline), on="key", how="left", maintain_order="left")
    for detector in frame["detector"].unique(maintain_order=True):
        columns = {f"{detector}_{name}": name for name in ("score", "threshold", "anomalous", "p_value", "cluster")}
        own = frame.filter(pl.col("detector") == detector).select("key", **columns)
        table = table.join(own, on="key", how="left", maintain_order="left")
    return table


def detectors(scores: pl.DataFrame) -> list[str]:
    """The detectors that a table of scores has, in the order of its columns."""
    names = [name.removesuffix("_score") for name in scores.columns if name.endswith("_score")]
    return [name for name in names if f"{name}_threshold" in scores.columns]


def comparison_scores(pipeline: str) -> pl.DataFrame | None:
    """The test rows of `trainer compare` with every detector's score; none where it has not run, or had no labels.

    They say whether a row is an anomaly. Of which kind it is, the trainer's report on the same history knows.
    """
    path = reports(pipeline) / "comparison_scores.parquet"
    if not path.exists() or "label" not in pl.read_parquet_schema(path):
        return None
    frame = pl.read_parquet(path)
    if frame.schema["label"] == pl.Boolean:
        kind = pl.lit("anomaly")
        history = pl.read_parquet(reports(pipeline) / "scores.parquet")
        if "label" in history.columns and "key" in frame.columns:
            frame = frame.join(history.select("key", kind="label"), on="key", how="left", maintain_order="left")
            kind = pl.col("kind").fill_null("anomaly")
        frame = frame.with_columns(label=pl.when("label").then(kind))
    frame = frame.with_columns(label=pl.when(~pl.col("label").is_in(NORMAL_LABELS)).then("label"))
    return frame if 0 < frame["label"].count() < frame.height else None


def is_anomaly(scores: pl.DataFrame) -> np.ndarray:
    """Which rows are labelled as an anomaly."""
    return (scores["label"].is_not_null() & ~scores["label"].is_in(NORMAL_LABELS)).fill_null(False).to_numpy()


# Judging --------------------------------------------------------------------------------------------------------------


def curves(anomaly: np.ndarray, score: np.ndarray) -> dict[str, np.ndarray]:
    """The points of the ROC and the precision-recall curve, one a distinct score, from the highest."""
    order = np.argsort(-score, kind="stable")
    last_of_score = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]
    found = np.cumsum(anomaly[order])[last_of_score]
    flagged = last_of_score + 1
    normal = len(anomaly) - anomaly.sum()
    return {
        "false_positive_rate": np.r_[0, (flagged - found) / normal],
        "recall": np.r_[0, found / anomaly.sum()],
        "precision": np.r_[1, found / flagged],
    }


def roc_auc(anomaly: np.ndarray, score: np.ndarray) -> float:
    """The chance that an anomaly scores higher than a normal entity; a tie counts half (Mann and Whitney's U)."""
    n_anomalies, n_normal = int(anomaly.sum()), int((~anomaly).sum())
    rank_sum = stats.rankdata(score)[anomaly].sum()
    return float((rank_sum - n_anomalies * (n_anomalies + 1) / 2) / (n_anomalies * n_normal))


def average_precision(anomaly: np.ndarray, score: np.ndarray) -> float:
    """The area under the precision-recall curve as a sum of steps, not interpolated."""
    points = curves(anomaly, score)
    return float(np.sum(np.diff(points["recall"]) * points["precision"][1:]))


def interval(measure, anomaly: np.ndarray, score: np.ndarray, rounds: int = 200) -> tuple[float, float]:
    """A 95 % bootstrap interval of a measure; anomalies and normal entities are drawn apart, so that both are there."""
    random = np.random.default_rng(42)
    groups = [np.flatnonzero(anomaly), np.flatnonzero(~anomaly)]
    values = []
    for _ in range(rounds):
        rows = np.concatenate([random.choice(group, len(group)) for group in groups])
        values.append(measure(anomaly[rows], score[rows]))
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def judged(scores: pl.DataFrame, detector: str) -> tuple[np.ndarray, np.ndarray]:
    """Label and score of the entities that a detector judged."""
    own = scores.filter(pl.col(f"{detector}_score").is_not_null())
    return is_anomaly(own), own[f"{detector}_score"].to_numpy()


# Alerts ---------------------------------------------------------------------------------------------------------------

SEVERITIES = ["low", "medium", "high", "critical"]
SEVERITY_COLOURS = dict(zip(SEVERITIES, ["#c9d1d9", "#edad08", "#e17c05", ANOMALOUS], strict=True))

# What is the same for all detectors in a message that has the opinions of all of them.
OF_ENTITY = ["pipeline", "key", "customer_id", "first_timestamp", "fields", "source"]


def alerts(name: str, content: bytes) -> pl.DataFrame:
    """One row a verdict, from what `scorer score` wrote (.parquet, .csv or .jsonl) or from messages of a topic, one a line.

    Columns: `pipeline`, `key`, `detector`, `anomalous`, `severity`, `ratio`, `p_value`, `reason`, `customer_id`, `time`,
    `source`, and `field_...` for each field of the pipeline file.
    """
    if name.endswith(".parquet"):
        frame = pl.read_parquet(io.BytesIO(content)).filter(pl.col("kind") == "verdict")
    elif name.endswith(".csv"):
        frame = pl.read_csv(content, infer_schema=False).filter(pl.col("kind") == "verdict")
    else:
        verdicts = [verdict for line in content.splitlines() if line.strip() for verdict in opinions(json.loads(line))]
        frame = pl.DataFrame(verdicts, infer_schema_length=None)
    if frame.is_empty():
        raise ValueError(f"{name} has no verdicts: it takes what `scorer score --output` writes, or messages of a topic")
    if "pipeline" not in frame.columns:
        frame = frame.with_columns(pipeline=pl.col("id").str.split("/").list.first())
    return frame.select(
        "pipeline",
        "key",
        "detector",
        pl.col("anomalous").cast(pl.String).str.to_lowercase() == "true",
        pl.col("severity").cast(pl.String),
        pl.col("ratio", "p_value").cast(pl.Float64, strict=False),
        "reason",
        pl.col("customer_id").cast(pl.String) if "customer_id" in frame.columns else pl.lit(None).alias("customer_id"),
        pl.col("first_timestamp").str.to_datetime(time_zone="UTC").alias("time"),
        pl.col("source").cast(pl.String),
        pl.col("^field_.*$"),
    ).unique(["pipeline", "key", "time", "detector"], keep="first", maintain_order=True)


def sample_alerts(pipeline: str) -> pl.DataFrame:
    """The same of the production sample."""
    return of_production(pipeline, alerts(".parquet", scored(pipeline, ".parquet")))


def opinions(message: dict) -> list[dict]:
    """The verdicts in a message: one, or those of all detectors; none in a message about something else."""
    if "detectors" in message:
        shared = {name: message.get(name) for name in OF_ENTITY}
        verdicts = [shared | {"detector": name} | own for name, own in message["detectors"].items()]
    else:
        verdicts = [dict(message)] if "anomalous" in message else []
    names = ["severity", "ratio", "p_value", "customer_id", "source"]
    return [
        {name: verdict.get(name) for name in [*OF_ENTITY[:2], "detector", "anomalous", "reason", "first_timestamp", *names]}
        | {"source": json.dumps(verdict.get("source"))}
        | {f"field_{name}": value for name, value in (verdict.get("fields") or {}).items()}
        for verdict in verdicts
    ]


def raw_records(source: str, content: bytes | None = None) -> list[str]:
    """The records that a verdict is about: the lines of its file, or of this content of it. Of a topic, where they are."""
    place = json.loads(source)
    if "file" not in place:
        return [f"topic {place['topic']}, partition {place['partition']}, offsets {place['offsets']}"]
    path = ROOT / place["file"]
    if content is None and (path.suffix == ".gz" or not path.is_file()):
        return [f"{place['file']}, lines {place['lines']}"]
    lines = (path.read_bytes() if content is None else content).decode(errors="replace").splitlines()
    return [line for first, last in place["lines"] for line in lines[first - 1 : last]]


# Figures --------------------------------------------------------------------------------------------------------------


def style() -> None:
    """Sets how figures and tables look; call it once in each notebook."""
    mpl.rcParams.update(
        {
            "figure.dpi": 88,
            "figure.constrained_layout.use": True,
            "font.size": 10,
            "axes.titlesize": 10.5,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#5b6570",
            "axes.labelcolor": "#2f353b",
            "axes.grid": True,
            "grid.color": "#e6eaee",
            "axes.axisbelow": True,
            "axes.prop_cycle": mpl.cycler(color=PALETTE),
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "image.cmap": "viridis",
        }
    )
    pl.Config(
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=40,
        tbl_cols=20,
        tbl_width_chars=240,
        fmt_str_lengths=160,
        float_precision=3,
        thousands_separator=True,
    )
    if shell := get_ipython():
        shell.display_formatter.formatters["text/html"].for_type(pl.DataFrame, as_html)


def as_html(frame: pl.DataFrame) -> str:
    """A table whose head and cells stay on one line; numbers are on the right."""
    is_number = [kind.is_numeric() for kind in frame.dtypes]

    def cell(tag: str, text: str, right: bool) -> str:
        style = f"white-space: nowrap; text-align: {'right' if right else 'left'}"
        return f'<{tag} style="{style}">{html.escape(text)}</{tag}>'

    head = "".join(cell("th", name.replace("_", " "), right) for name, right in zip(frame.columns, is_number, strict=True))
    rows = [
        "<tr>" + "".join(cell("td", cell_text(value), right) for value, right in zip(row, is_number, strict=True)) + "</tr>"
        for row in frame.iter_rows()
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def cell_text(value) -> str:
    """A value of a table: numbers with as many digits as say something."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def span(values: Iterable[float], form: str) -> str:
    """From the smallest to the largest, or one number where both read the same."""
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def colour_of(names: list[str]) -> dict[str, str]:
    """One colour a name, in the order of the palette."""
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}


def headline(figure: Figure, text: str) -> None:
    """The figure's finding, above it."""
    # A letter takes about a tenth of an inch.
    text = textwrap.fill(text, int(10.5 * figure.get_figwidth()))
    figure.suptitle(text, x=0.01, ha="left", fontsize=12.5, fontweight="bold", color="#1f2933")


def grid(
    n_panels: int, n_columns: int, width: float = 4.0, height: float = 3.0, **options
) -> tuple[Figure, list[Axes]]:
    """Panels in rows of at most `n_columns`; places left over stay empty."""
    n_columns = min(n_columns, n_panels)
    n_rows = -(-n_panels // n_columns)
    figure, axes = plt.subplots(
        n_rows, n_columns, figsize=(width * n_columns, height * n_rows), squeeze=False, **options
    )
    for axis in axes.flat[n_panels:]:
        axis.remove()
    return figure, list(axes.flat[:n_panels])


def dates(axis: Axes) -> None:
    """Days along the bottom, a few of them with their names."""
    axis.xaxis.set_major_locator(AutoDateLocator(minticks=4, maxticks=9))
    axis.xaxis.set_major_formatter(ConciseDateFormatter(axis.xaxis.get_major_locator()))


def heatmap(
    axis: Axes, values: np.ndarray, rows: list[str], columns: list[str], texts: Iterable[str] | None = None, **options
):
    """Cells with their values written in; missing ones stay empty."""
    image = axis.imshow(values, aspect="auto", cmap=options.pop("cmap", SEQUENTIAL), **options)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    if texts is not None:
        for (row, column), text in zip(np.ndindex(values.shape), texts, strict=True):
            red, green, blue, _ = image.to_rgba(values[row, column])
            dark = np.isfinite(values[row, column]) and 0.3 * red + 0.6 * green + 0.1 * blue < 0.55
            axis.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "#1f2933")
    return image
