"""A model of its own for each fold, in a function that returns from its loops."""
import numpy as np
from dies import result, trained
from small import build, weights, x, y


def train(model, rows, patience):
    best, waited = 1e9, 0
    for epoch in range(10):
        for start in range(0, len(rows), 10):
            loss = float(model.train_on_batch(x[rows[start:start + 10]], y[rows[start:start + 10]]))
            trained()
        waited = 0 if loss < best - 0.1 else waited + 1
        best = min(best, loss)
        if waited == patience:
            return best, epoch
    return best, 10


scores, kept = [], []
for fold in range(3):
    model = build()
    rows = np.concatenate([np.arange(0, fold * 20), np.arange(fold * 20 + 20, 60)])
    scores.append(train(model, np.random.permutation(rows), 2))
    kept += weights(model)
result(weights=kept, scores=scores)
