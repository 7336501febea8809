"""A loop as in Keras's guide for torch: torch's own optimizer and schedule, or Keras's; a DataLoader."""

import os

import keras
import numpy as np
import torch
from common import arrays, digits, result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(7)
x, y = digits()
data = torch.utils.data.TensorDataset(torch.from_numpy(x[:320]), torch.from_numpy(y[:320]))
generator = torch.Generator().manual_seed(5) if os.environ.get("GENERATOR") else None
loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True, num_workers=int(os.environ.get("WORKERS", 0)),
                                     generator=generator)
model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(24, activation="relu"), keras.layers.Dropout(0.3),
                          keras.layers.Dense(10)])
native = not os.environ.get("KERAS_OPTIMIZER")
if native:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
else:
    optimizer = keras.optimizers.Adam(1e-2)
loss_fn = torch.nn.CrossEntropyLoss()

loop = kse.SessionLoop(**settings())
losses = []
for epoch in loop.epochs(3):
    running = 0.0
    if generator is not None:
        losses.append([float(inputs.sum()) for inputs, _ in loader])  # read by a plain loop, too
    for step, (inputs, targets) in loop.enumerate(loader):
        loss = loss_fn(model(inputs, training=True), targets)
        model.zero_grad()
        loss.backward()
        if native:
            optimizer.step()
        else:
            with torch.no_grad():
                optimizer.apply([v.value.grad for v in model.trainable_weights], model.trainable_weights)
        running += float(loss)
        trained()
    if native:
        scheduler.step()
    losses.append(running)
result(loop, weights=[np.array(w) for w in model.get_weights()], losses=losses,
       optimizer=optimizer.state_dict() if native else arrays(optimizer.variables))
