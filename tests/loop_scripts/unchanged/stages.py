"""A fit, and two loops one after the other, the first of them left by `break`."""
import numpy as np
from dies import result, trained
from small import build, weights, x, y

model, losses = build(), []
history = model.fit(x, y, epochs=2, batch_size=10, verbose=0).history["loss"]
for epoch in range(100):
    for start in range(0, 60, 10):
        losses.append(float(model.train_on_batch(x[start:start + 10], y[start:start + 10])))
        trained()
    if epoch == 1:
        break
for _ in range(9):
    chosen = np.random.choice(60, 10)
    losses.append(float(model.train_on_batch(x[chosen], y[chosen])))
    trained()
result(weights=weights(model), losses=losses, history=[round(one, 5) for one in history])
