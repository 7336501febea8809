"""Progress bars around what the loops read, in every way."""
import numpy as np
import tqdm
from dies import result, trained
from small import build, weights, x, y
from tqdm import trange

model, losses, batches = build(), [], [list(range(start, start + 10)) for start in range(0, 60, 10)]
for epoch in trange(2, desc="epochs"):
    for step, batch in tqdm.tqdm(enumerate(batches), total=len(batches)):
        losses.append((step, float(model.train_on_batch(x[batch], y[batch]))))
        trained()
bar = tqdm.tqdm(batches * 2)
for step, batch in enumerate(bar, 1):
    losses.append((step, float(model.train_on_batch(x[batch], y[batch])), float(np.random.rand())))
    bar.set_postfix(loss=losses[-1])
    trained()
result(weights=weights(model), losses=losses)
