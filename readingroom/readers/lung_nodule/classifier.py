"""The classifier: boosted trees, randomised trees and a logistic regression, averaged in log-odds; and its ONNX form.

Three unlike learners on some dozens of nodules err in unlike places; their mean was steadier over the training folds
than any one. Only training imports this module: reading needs the exported ONNX and nothing of scikit-learn.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from readingroom.core.errors import BadInput

SQUASH = 4.0
TREE_FLOOR = 0.005
LOGIT_CAP = 8.0
PRODUCER = "readingroom lung-nodule"


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Fitted parts. ``middle``, ``width``: ``(f,)`` robust centre and spread for the logistic regression."""

    boosted: GradientBoostingClassifier
    random: ExtraTreesClassifier
    linear: LogisticRegression
    middle: np.ndarray
    width: np.ndarray

    def score(self, rows: np.ndarray) -> np.ndarray:
        """Return the raw score ``(n,)``, log-odds before calibration, as the ONNX model gives it."""
        rows = np.asarray(rows, np.float32)
        share = np.clip(self.random.predict_proba(rows)[:, 1], TREE_FLOOR, 1 - TREE_FLOOR)
        squashed = np.clip((rows - self.middle) / self.width, -SQUASH, SQUASH)
        parts = (
            self.boosted.decision_function(rows),
            np.log(share / (1 - share)),
            self.linear.decision_function(squashed),
        )
        return np.mean([np.clip(p, -LOGIT_CAP, LOGIT_CAP) for p in parts], axis=0)


def fit(rows: np.ndarray, truth: np.ndarray, weights: np.ndarray, seed: int) -> Ensemble:
    """Fit on ``rows`` ``(n, f)`` with ``truth`` ``(n,)`` bool. One thread: the result must not hang on their number."""
    rows = np.asarray(rows, np.float32)
    low, middle, high = (np.percentile(rows, q, axis=0).astype(np.float32) for q in (10, 50, 90))
    width = np.maximum((high - low) / 2, 1e-3).astype(np.float32)
    squashed = np.clip((rows - middle) / width, -SQUASH, SQUASH)
    boosted = GradientBoostingClassifier(
        n_estimators=220, learning_rate=0.06, max_depth=4, subsample=0.5, max_features=0.12, min_samples_leaf=15,
        init="zero", random_state=seed,
    )  # fmt: skip
    random = ExtraTreesClassifier(
        160, min_samples_leaf=4, max_features=0.25, max_leaf_nodes=220, n_jobs=1, random_state=seed
    )
    linear = LogisticRegression(C=0.01, max_iter=400)
    boosted.fit(rows, truth, sample_weight=weights)
    random.fit(rows, truth, sample_weight=weights)
    linear.fit(squashed, truth, sample_weight=weights)
    return Ensemble(boosted, random, linear, middle, width)


def to_onnx(model: Ensemble) -> bytes:
    """Return the ensemble as one ONNX model: input ``features`` ``(n, f)`` float32, output ``score`` ``(n, 1)``."""
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        raise BadInput("Training needs the package onnx.", "pip install 'readingroom[test]'") from None
    features = len(model.middle)

    def constant(name: str, value: Any) -> Any:
        return numpy_helper.from_array(np.asarray(value, np.float32), name)

    boosted = [(tree.tree_, model.boosted.learning_rate) for tree in model.boosted.estimators_[:, 0]]
    random = [(tree.tree_, 1.0 / len(model.random.estimators_)) for tree in model.random.estimators_]
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["boosted"], domain="ai.onnx.ml", n_targets=1,
            **_tree_attributes(boosted, lambda tree, node: tree.value[node, 0, 0]),
        ),
        helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["share_all"], domain="ai.onnx.ml", n_targets=1,
            **_tree_attributes(random, lambda tree, node: tree.value[node, 0, 1] / tree.value[node, 0].sum()),
        ),
        helper.make_node("Clip", ["share_all", "floor", "ceiling"], ["share"]),
        helper.make_node("Sub", ["one", "share"], ["rest"]),
        helper.make_node("Div", ["share", "rest"], ["odds"]),
        helper.make_node("Log", ["odds"], ["random"]),
        helper.make_node("Sub", ["features", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "width"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "squash_low", "squash_high"], ["squashed"]),
        helper.make_node("MatMul", ["squashed", "slopes"], ["product"]),
        helper.make_node("Add", ["product", "intercept"], ["linear"]),
        *(
            helper.make_node("Clip", [part, "cap_low", "cap_high"], [f"{part}_capped"])
            for part in ("boosted", "random", "linear")
        ),
        helper.make_node("Mean", ["boosted_capped", "random_capped", "linear_capped"], ["score"]),
    ]  # fmt: skip
    constants = [
        constant("floor", TREE_FLOOR), constant("ceiling", 1 - TREE_FLOOR), constant("one", 1.0),
        constant("middle", model.middle), constant("width", model.width),
        constant("squash_low", -SQUASH), constant("squash_high", SQUASH),
        constant("cap_low", -LOGIT_CAP), constant("cap_high", LOGIT_CAP),
        constant("slopes", model.linear.coef_.reshape(-1, 1)), constant("intercept", model.linear.intercept_),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "lung_nodule",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", features])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n", 1])],
        constants,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    # IR version 8 goes with opset 17 (ONNX 1.12): any onnxruntime of the last years runs it.
    whole = helper.make_model(graph, producer_name=PRODUCER, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(whole)
    data: bytes = whole.SerializeToString(deterministic=True)
    return data


def _tree_attributes(trees: list[tuple[Any, float]], leaf_value: Any) -> dict[str, Any]:
    """The attribute lists of TreeEnsembleRegressor (ONNX ai.onnx.ml) for sklearn trees, each with its weight."""
    out: dict[str, list[Any]] = {
        "nodes_treeids": [], "nodes_nodeids": [], "nodes_featureids": [], "nodes_values": [], "nodes_modes": [],
        "nodes_truenodeids": [], "nodes_falsenodeids": [], "target_treeids": [], "target_nodeids": [],
        "target_ids": [], "target_weights": [],
    }  # fmt: skip
    for number, (tree, weight) in enumerate(trees):
        for node in range(tree.node_count):
            leaf = tree.children_left[node] < 0
            out["nodes_treeids"].append(number)
            out["nodes_nodeids"].append(node)
            out["nodes_featureids"].append(0 if leaf else int(tree.feature[node]))
            out["nodes_values"].append(0.0 if leaf else _below(tree.threshold[node]))
            out["nodes_modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            out["nodes_truenodeids"].append(0 if leaf else int(tree.children_left[node]))
            out["nodes_falsenodeids"].append(0 if leaf else int(tree.children_right[node]))
            if leaf:
                out["target_treeids"].append(number)
                out["target_nodeids"].append(node)
                out["target_ids"].append(0)
                out["target_weights"].append(float(leaf_value(tree, node) * weight))
    return out


def _below(threshold: float) -> float:
    """The largest float32 not above ``threshold``: for float32 features ``<=`` then decides as in float64."""
    value = np.float32(threshold)
    if float(value) > threshold:
        value = np.nextafter(value, np.float32(-np.inf))
    return float(value)
