"""What tensors and modules of torch carry beside their values; with a CASE, what cannot be kept of them."""

import copy
import os

import keras
import torch
from common import result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(7)


class Net(torch.nn.Module):
    """Counts in a buffer that is not saved, and in an attribute."""

    def __init__(self):
        super().__init__()
        self.inner, self.drop, self.out = torch.nn.Linear(3, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 1)
        self.register_buffer("seen", torch.zeros(1), persistent=False)
        self.calls = 0

    def forward(self, inputs):
        self.seen += 1
        self.calls += 1
        return self.out(self.drop(torch.relu(self.inner(inputs)))) * (1 + self.calls % 3)


def hidden():
    """A parameter that nothing but its optimizer leads to."""
    return torch.optim.SGD([torch.ones(2, requires_grad=True)], 0.1)


net = Net()
optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
alone, loose = hidden(), torch.ones(2, requires_grad=True)
buffer = torch.zeros(4)
head, best, total, case = buffer[:2], None, torch.zeros(()), os.environ.get("CASE")
x = torch.rand(40, 3)

loop = kse.SessionLoop(**settings())
for epoch in loop.epochs(4):
    for number in loop.batches(range(5)):
        loss = (net(x[number::5]) ** 2).mean()
        loss.backward()
        (loose * loose).sum().backward()
        head += float(loss)
        buffer[3] += 1
        if (epoch * 5 + number) % 3 == 2:  # gradients add up over three steps
            optimizer.step()
            optimizer.zero_grad()
        weight = alone.param_groups[0]["params"][0]
        weight.grad = buffer[:2].clone()
        alone.step()
        if case == "history":
            total = total + (loose * loose).sum()
        if case == "replaced" and epoch == 0:
            optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
        if case == "shared" and best is None:
            best = net.state_dict()
        if case is None and number == 3:
            best = copy.deepcopy(net.state_dict())
        trained()
    net.train(epoch % 2 == 1)
    net.inner.weight.requires_grad_(epoch % 2 == 1)
    net.drop.p = 0.1 * epoch
result(loop, net=dict(net.state_dict()), seen=net.seen, calls=net.calls, buffer=buffer, head=head, loose=loose.grad,
       alone=alone.param_groups[0]["params"][0], best=dict(best or {}), total=total, modes=[
           one.training for one in net.modules()], takes=[one.requires_grad for one in net.parameters()])
