"""What cannot be wrapped; each is told with its line, and runs as it is."""
import asyncio
import threading

import numpy as np
import torch
from dies import result, trained
from small import build, weights, x, y

model, losses, loader = build(), [], torch.utils.data.DataLoader(torch.arange(6), batch_size=2)


def step(start):
    losses.append(float(model.train_on_batch(x[start:start + 10], y[start:start + 10])))
    trained()


for number, items in zip(range(9), loader):  # told: zip
    for item in items:
        step(int(item))
for start in range(0, 20, 10):  # told: else
    step(start)
else:
    losses.append("all")


class Setup:
    for start in range(2):  # told: the body of a class
        step(start)


made = [step(start) for start in range(2)]  # told: an expression


async def numbers():
    for number in range(2):
        yield number


async def awaited():
    async for number in numbers():  # told: async for
        step(number)


asyncio.run(awaited())
for epoch in range(2):
    batches = iter(np.arange(6))  # told: iter within a loop
    for _ in range(2):
        step(int(next(batches)))
thread = threading.Thread(target=lambda: [step(start) for start in range(3)])  # told: an expression, too
thread.start()
thread.join()
result(weights=weights(model), losses=losses)
