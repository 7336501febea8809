"""A `while` with a condition, with an `else`, and batches drawn by next()."""
import numpy as np
from dies import result, trained
from small import build, weights, x, y

model, total, losses = build(), 0, []
batches = iter([np.random.permutation(60) for _ in range(9)])
while total < 21:
    order = next(batches)
    for start in range(0, 60, 10):
        batch = order[start:start + 10]
        losses.append(float(model.train_on_batch(x[batch], y[batch])))
        total += 1
        trained()
else:
    losses.append("over")
result(weights=weights(model), losses=losses, total=total)
