"""One loop over a generator without end, that draws as it goes; it is left by `break`."""
import numpy as np
from dies import result, trained
from small import build, weights, x, y


def batches():
    while True:
        chosen = np.random.choice(60, 10)
        yield x[chosen], y[chosen]


model, losses = build(), []
for step, (inputs, targets) in enumerate(batches()):
    losses.append(float(model.train_on_batch(inputs, targets)))
    trained()
    if step == 19:
        break
result(weights=weights(model), losses=losses, after=np.random.rand())
