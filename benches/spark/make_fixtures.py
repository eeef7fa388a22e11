#!/usr/bin/env python3
"""Lets real Spark train tiny models, save them, and say what it makes of some rows.

The tests of `trainer import spark` read what this writes into trainer/tests/fixtures/spark. It needs Java 17 and PySpark 3.5:

    python3 -m venv target/spark && target/spark/bin/pip install pyspark==3.5.* numpy
    target/spark/bin/python benches/spark/make_fixtures.py

For every model there is its folder, as Spark wrote it but for checksums and the random parts of file names; the file
threshold_<model>.txt, as a job writes it that calls `toString` of a Double; and an entry in predictions.json.
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ["PYSPARK_PYTHON"] = sys.executable

from pyspark.ml.clustering import BisectingKMeans as MlBisectingKMeans  # noqa: E402
from pyspark.ml.clustering import KMeans as MlKMeans  # noqa: E402
from pyspark.ml.linalg import Vectors as MlVectors  # noqa: E402
from pyspark.mllib.clustering import BisectingKMeans, KMeans, KMeansModel  # noqa: E402
from pyspark.mllib.common import _py2java  # noqa: E402
from pyspark.mllib.linalg import Vectors  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402

FOLDER = Path(__file__).resolve().parents[2] / "trainer/tests/fixtures/spark"
FEATURES = ["AvgUnitPrice", "MinUnitPrice", "MaxUnitPrice", "Time", "NumberItems"]
# So many of the largest distances are beyond the threshold, or at it.
TOP = 6


def invoices():
    """Rows as those of the pipeline `invoices-spark`: mean, lowest and highest price, hour, items."""
    rows = []
    for i in range(48):
        low = 0.19 + (i * 7 % 11) / 3
        high = low + (i * i % 13) * 0.7 + (0 if i % 16 else 91.3)
        items = 1 + (i * 37 % 101) * (1 if i % 6 else 23) + (0 if i % 24 else 9_001)
        rows.append([(2 * low + high) / 3, low, high, float(7 + i * 5 % 13), float(items)])
    return rows


def others():
    """Rows that no model was trained on, from near to far."""
    return [
        [0.3 + i % 9 * 2.1, 0.1 + i % 4, 0.5 + i % 9 * 4.3, float(6 + i % 15), i * i * 2.75 - 40.0]
        for i in range(72)
    ]


def tidy(folder):
    """Leaves what Spark reads of a model, under names that do not change."""
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(("_", ".")):
            path.unlink()
        elif path.suffix == ".parquet":
            path.rename(path.with_name(path.name[:10] + ".snappy.parquet"))


def main():
    builder = SparkSession.builder.master("local[1]").config("spark.driver.memory", "1g")
    builder = builder.config("spark.ui.enabled", "false").config("spark.sql.shuffle.partitions", "1")
    spark = builder.getOrCreate()
    sc = spark.sparkContext
    sc.setLogLevel("ERROR")
    jvm, jsc = sc._jvm, sc._jsc.sc()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)

    training, rows = invoices(), invoices() + others()
    rdd = sc.parallelize([Vectors.dense(row) for row in training], 1).cache()
    frame = spark.createDataFrame([(MlVectors.dense(row),) for row in training], ["features"])
    predictions = {"features": FEATURES, "rows": rows, "models": {}}

    def note(name, java_model):
        """What an MLlib model in the JVM says of every row, by the calls of the job."""
        centers = list(java_model.clusterCenters())

        def of(row):
            vector = _py2java(sc, Vectors.dense(row))
            label = java_model.predict(vector)
            return label, jvm.org.apache.spark.mllib.linalg.Vectors.sqdist(vector, centers[label])

        said = [of(row) for row in rows]
        threshold = sorted((distance for _, distance in said[: len(training)]), reverse=True)[TOP - 1]
        (FOLDER / f"threshold_{name}.txt").write_text(jvm.java.lang.Double.toString(threshold))
        predictions["models"][name] = {
            "labels": [label for label, _ in said],
            "squared_distances": [distance for _, distance in said],
            "threshold": threshold,
            "anomalous": [distance > threshold for _, distance in said],
        }

    def old_format(java_model, kind, version, path):
        """Saves a model in a format of an earlier Spark, by the code that is still there."""
        companion = jvm.java.lang.Class.forName(
            f"org.apache.spark.mllib.clustering.{kind}$SaveLoadV{version}_0$",
            True,
            jvm.java.lang.Thread.currentThread().getContextClassLoader(),
        )
        companion.getField("MODULE$").get(None).save(jsc, java_model, str(path))

    def java_centers(ml_model):
        """The centres of an ML model as MLlib's vectors in the JVM."""
        return jvm.java.util.ArrayList([_py2java(sc, Vectors.dense(center)) for center in ml_model.clusterCenters()])

    # MLlib: what `model.save(sc, path)` writes.
    kmeans = KMeans.train(rdd, 5, maxIterations=20, seed=3)
    kmeans.save(sc, str(FOLDER / "clustering"))
    java_kmeans = jvm.org.apache.spark.mllib.clustering.KMeansModel.load(jsc, str(FOLDER / "clustering"))
    note("clustering", java_kmeans)
    old_format(java_kmeans, "KMeansModel", 1, FOLDER / "clustering-v1")
    note("clustering-v1", java_kmeans)

    # PySpark lets go of the model in the JVM when its own object goes.
    bisecting_model = BisectingKMeans.train(rdd, 9, maxIterations=20, seed=3)
    bisecting = bisecting_model._java_model
    bisecting.save(jsc, str(FOLDER / "clustering_bisect"))
    note("clustering_bisect", bisecting)
    for version in [1, 2]:
        old_format(bisecting, "BisectingKMeansModel", version, FOLDER / f"clustering_bisect-v{version}")
        note(f"clustering_bisect-v{version}", bisecting)

    # Centres that are stored sparse, some without any value that is not 0.
    sparse = [{4: 12.5}, {}, {0: 3.0, 2: 8.25, 4: 4_500.0}, {1: 0.5, 3: 17.0}]
    sparse = KMeansModel([Vectors.sparse(5, center) for center in sparse])
    sparse.save(sc, str(FOLDER / "sparse"))
    note("sparse", jvm.org.apache.spark.mllib.clustering.KMeansModel.load(jsc, str(FOLDER / "sparse")))

    # Another number of features than the pipeline has.
    KMeansModel([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).save(sc, str(FOLDER / "three-features"))

    # ML: what `model.save(path)` writes.
    ml = MlKMeans(k=4, seed=5).fit(frame)
    ml.save(str(FOLDER / "ml-kmeans"))
    note("ml-kmeans", jvm.org.apache.spark.mllib.clustering.KMeansModel(java_centers(ml)))
    assert predictions["models"]["ml-kmeans"]["labels"] == [ml.predict(MlVectors.dense(row)) for row in rows]
    ml = MlBisectingKMeans(k=7, seed=5).fit(frame)
    ml.save(str(FOLDER / "ml-bisecting-kmeans"))
    within = str(FOLDER / "ml-bisecting-kmeans/data")
    note("ml-bisecting-kmeans", jvm.org.apache.spark.mllib.clustering.BisectingKMeansModel.load(jsc, within))
    assert predictions["models"]["ml-bisecting-kmeans"]["labels"] == [ml.predict(MlVectors.dense(row)) for row in rows]
    MlKMeans(k=2, seed=5, distanceMeasure="cosine").fit(frame).save(str(FOLDER / "ml-cosine"))

    spark.stop()
    tidy(FOLDER)
    (FOLDER / "predictions.json").write_text(json.dumps(predictions, indent=1) + "\n")


if __name__ == "__main__":
    main()
