#!/usr/bin/env python3
"""Writes expected.json: the figures that `evaluate` should find for the three tables beside it, from published implementations.

Shape, Trend and the logistic two-sample test are those of SDMetrics; the rest follows the papers in NumPy and SciPy. Nothing here
calls the Rust code.

    python3 -m venv venv && venv/bin/pip install numpy scipy pandas sdmetrics==0.32.0
    venv/bin/python tests/data/evaluate/make_expected.py
"""

import argparse
import itertools
import json
import pathlib
import warnings

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

warnings.filterwarnings("ignore")
NUMERICAL = ["income", "age", "ratio"]
CATEGORICAL = ["region", "sex", "owner"]
COLUMNS = NUMERICAL + CATEGORICAL


def read(path):
    table = pd.read_csv(path)[COLUMNS]
    for column in NUMERICAL:
        table[column] = table[column].astype(np.float32).astype(np.float64)
    return table


def shape_and_trend(real, synthetic):
    """SDMetrics, with every pair of columns and without subsampling."""
    from sdmetrics.reports.single_table._properties import ColumnPairTrends, ColumnShapes

    kind = lambda column: "categorical" if column in CATEGORICAL else "numerical"
    metadata = {"columns": {column: {"sdtype": kind(column)} for column in COLUMNS}}
    shapes, trends = ColumnShapes(), ColumnPairTrends()
    shapes.num_rows_subsample = trends.num_rows_subsample = None
    trends.real_correlation_threshold = trends.real_association_threshold = 0
    shape = float(shapes.get_score(real, synthetic, metadata))
    trend = float(trends.get_score(real, synthetic, metadata))
    errors = {row["Column"]: round(100 * (1 - row["Score"]), 3) for _, row in shapes.details.iterrows()}
    return shape, trend, errors


def trend_shared_bins(real, synthetic):
    """Trend with the bins of the real column for both tables; values beyond its range fall in the end bins."""
    correlation = [table[NUMERICAL].corr() for table in (real, synthetic)]
    binned = [table[CATEGORICAL].copy() for table in (real, synthetic)]
    for column in NUMERICAL:
        edges = np.histogram_bin_edges(real[column].to_numpy(), bins=10)
        edges = np.concatenate([[-np.inf], edges[1:-1], [np.inf]])
        for cut, table in zip(binned, (real, synthetic)):
            cut[column] = np.digitize(table[column], edges)
    scores = []
    for a, b in itertools.combinations(COLUMNS, 2):
        if a in NUMERICAL and b in NUMERICAL:
            scores.append(1 - abs(correlation[0].loc[a, b] - correlation[1].loc[a, b]) / 2)
        else:
            p, q = [table.groupby([a, b]).size() / len(table) for table in binned]
            keys = p.index.union(q.index)
            scores.append(1 - 0.5 * np.abs(p.reindex(keys, fill_value=0) - q.reindex(keys, fill_value=0)).sum())
    return float(np.mean(scores))


def two_sample_test(real, synthetic, repeats=3, seed=0):
    """SDMetrics' LogisticDetection, averaged over its random folds."""
    from sdmetrics.single_table import LogisticDetection

    metadata = {"columns": {column: {"sdtype": "numerical"} for column in COLUMNS}}
    scores = []
    for repeat in range(repeats):
        np.random.seed(seed + repeat)
        scores.append(LogisticDetection.compute(real, synthetic, metadata))
    return float(np.mean(scores))


def nearest_l1(queries, base, span):
    """The distance to the nearest row: numbers over the training range, two for each category that differs."""
    parts = lambda table: ((table[NUMERICAL].to_numpy(float) / span).astype(np.float32), table[CATEGORICAL].to_numpy(np.int8))
    (qn, qc), (bn, bc) = parts(queries), parts(base)
    return (cdist(qn, bn, "cityblock") + 2.0 * qc.shape[1] * cdist(qc, bc, "hamming")).min(1)


def nearest_records(train, test, synthetic):
    span = (train[NUMERICAL].max() - train[NUMERICAL].min()).to_numpy(float)
    to_train, to_test = nearest_l1(synthetic, train, span), nearest_l1(synthetic, test, span)
    return {
        "dcr_share": float((to_train < to_test).mean()),
        "dcr_share_expected": len(train) / (len(train) + len(test)),
        "dcr_median": float(np.median(to_train)),
        "dcr_median_of_test": float(np.median(nearest_l1(test, train, span))),
        "exact_train_copies_pct": 100 * float((to_train < 1e-6).mean()),
    }


def nearest_l2(queries, base, k):
    difference = queries[:, None, :] - base[None]
    distance = np.linalg.norm(difference, axis=2)
    order = np.argsort(distance, axis=1)[:, :k]
    return np.take_along_axis(distance, order, 1), order


def alpha_precision_and_beta_recall(real, synthetic):
    """The variant without an embedding of Alaa et al. (2022); as published, the last one-hot column is dropped."""
    low = real[NUMERICAL].min().to_numpy(float)
    span = real[NUMERICAL].max().to_numpy(float) - low
    def points(table):
        blocks = [(table[NUMERICAL].to_numpy(float) - low) / span]
        for column in CATEGORICAL:
            blocks.append((table[column].to_numpy()[:, None] == np.unique(real[column])).astype(float))
        return np.hstack(blocks)[:, :-1]
    x, z = points(real), points(synthetic)
    alphas = np.linspace(0, 1, 30)
    radii = np.quantile(np.linalg.norm(x - x.mean(0), axis=1), alphas)
    from_centre = np.linalg.norm(z - x.mean(0), axis=1)
    precision = np.array([(from_centre <= radius).mean() for radius in radii])
    single = [points.astype(np.float32) for points in (x, z)]
    to_real = nearest_l2(single[0], single[0], 2)[0][:, 1]
    distance, index = nearest_l2(single[0], single[1], 1)
    closest = np.linalg.norm(z[index[:, 0]] - z.mean(0), axis=1)
    ball = np.quantile(closest, alphas)
    recall = np.array([((distance[:, 0] <= to_real) & (closest <= radius)).mean() for radius in ball])
    area = lambda curve: float(1 - np.abs(alphas - curve).sum() / alphas.sum())
    return area(precision), area(recall)


def main():
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=here / "expected.json")
    arguments = parser.parse_args()
    train, test, synthetic = (read(here / f"{name}.csv") for name in ("train", "test", "synthetic"))
    shape, trend, errors = shape_and_trend(train, synthetic)
    precision, recall = alpha_precision_and_beta_recall(train, synthetic)
    figures = {"n_train": len(train), "n_test": len(test), "n_synthetic": len(synthetic), "shape": shape, "trend": trend,
               "trend_shared_bins": trend_shared_bins(train, synthetic), "c2st": two_sample_test(train, synthetic)}
    figures |= nearest_records(train, test, synthetic)
    figures |= {"alpha_precision": precision, "beta_recall": recall, "shape_error_by_column_pct": errors}
    arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
