"""A loop that is left by `return` from the function it stands in, and another one behind it."""
import numpy as np
from dies import result, trained
from small import build, weights, x, y


def train(model, losses, most):
    best = 1e9
    for epoch in range(most):
        for start in range(0, 60, 10):
            losses.append(float(model.train_on_batch(x[start:start + 10], y[start:start + 10])))
            trained()
        best = min(best, losses[-1])
        if epoch == 1:
            return epoch, best
    return most, None


def main():
    model, losses = build(), []
    told = [train(model, losses, 50), float(np.random.rand())]
    for chosen in np.random.permutation(60).reshape(6, 10):
        losses.append(float(model.train_on_batch(x[chosen], y[chosen])))
        trained()
    told.append(train(model, losses, 1))
    result(weights=weights(model), losses=losses, told=told)


main()
