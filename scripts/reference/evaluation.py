"""
Measures of evaluations, by scikit-learn and pycocoevalcap, for test/data/measures.test.ts.

    pip install scikit-learn pycocoevalcap
    python scripts/reference/evaluation.py
"""

import json
import random
from pathlib import Path

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    top_k_accuracy_score,
)
from sklearn.neighbors import KNeighborsClassifier

rng = np.random.default_rng(7)
random.seed(7)


def classes():
    scores = np.round(rng.normal(size=(60, 8)), 4)
    labels = np.concatenate([np.arange(7), rng.integers(0, 7, 53)])  # class 7 never occurs
    scores[np.arange(60), labels] += 0.8
    best = scores.argmax(1)
    return {
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "top1": accuracy_score(labels, best),
        "top5": top_k_accuracy_score(labels, scores, k=5, labels=list(range(8))),
        "meanPerClass": balanced_accuracy_score(labels, best),
    }


def yes_no():
    right = rng.integers(0, 2, 40)
    said = np.where(rng.random(40) < 0.7, right, 1 - right)
    words = lambda of: ["yes" if one else "no" for one in of]
    return {
        "right": words(right),
        "said": words(said),
        "accuracy": accuracy_score(right, said),
        "precision": precision_score(right, said),
        "recall": recall_score(right, said),
        "f1": f1_score(right, said),
        "yes": float(np.mean(said)),
    }


def captions():
    words = "a the red blue cat dog sits runs on under table grass near big small tree".split()
    sentence = lambda: " ".join(random.choices(words, k=random.randint(3, 12)))
    samples = []
    for _ in range(12):
        references = [sentence() for _ in range(random.randint(1, 5))]
        candidate = references[0].split()
        for _ in range(random.randint(0, 4)):
            candidate[random.randrange(len(candidate))] = random.choice(words)
        samples.append({"candidate": " ".join(candidate[: random.randint(2, 12)]), "references": references})
    gts = {i: s["references"] for i, s in enumerate(samples)}
    res = {i: [s["candidate"]] for i, s in enumerate(samples)}
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    cider, _ = Cider().compute_score(gts, res)
    return {"samples": samples, "bleu": bleu, "cider": float(cider)}


def probe(k=3):
    width, count = 5, 45
    labels = rng.integers(0, k, count)
    x = np.round(rng.normal(size=(count, width)) + 1.2 * np.eye(k, width)[labels], 4)
    fit = LogisticRegression(C=0.5, tol=1e-10, max_iter=10000).fit(x, labels)
    test = np.round(rng.normal(size=(6, width)), 4)
    return {
        "features": x.tolist(),
        "labels": labels.tolist(),
        "c": 0.5,
        "test": test.tolist(),
        "probabilities": fit.predict_proba(test).tolist(),
    }


def neighbours():
    width, k, t = 4, 5, 0.07
    known = np.round(rng.normal(size=(30, width)), 4)
    labels = rng.integers(0, 3, 30)
    queries = np.round(rng.normal(size=(8, width)), 4)
    vote = lambda distances: np.exp((1 - distances) / t)
    fit = KNeighborsClassifier(n_neighbors=k, metric="cosine", weights=vote).fit(known, labels)
    return {
        "known": known.tolist(),
        "labels": labels.tolist(),
        "queries": queries.tolist(),
        "k": k,
        "temperature": t,
        "probabilities": fit.predict_proba(queries).tolist(),
    }


out = {"classes": classes(), "yesNo": yes_no(), "captions": captions(), "probe": probe(), "neighbours": neighbours()}
out["binaryProbe"] = probe(2)
path = Path(__file__).parents[2] / "test/fixtures/evaluation.json"
path.write_text(json.dumps(out, indent=1) + "\n")
print(path, path.stat().st_size)
