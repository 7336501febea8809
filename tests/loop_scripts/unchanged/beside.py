"""The loop over the batches stands in a module beside the script."""
import numpy as np
from dies import result
from engine import Meter, train_one_epoch
from small import build, weights

model, meter, scores = build(), Meter(), []
for epoch in range(4):
    scores.append(train_one_epoch(model, meter, np.random.permutation(60)))
result(weights=weights(model), scores=scores, meter=[meter.count, meter.total])
