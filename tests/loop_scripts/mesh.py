"""A stateless loop over several devices of JAX, whose weights lie in shards."""

import jax
import jax.numpy as jnp
import numpy as np
from common import result, settings, trained
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import keras_session_ext as kse

cut = NamedSharding(Mesh(np.array(jax.devices()), ("devices",)), PartitionSpec("devices", None))
random = np.random.default_rng(0)
weights = jax.device_put(random.normal(size=(256, 8)).astype("float32"), cut)
data = list(random.normal(size=(6, 16, 256)).astype("float32"))


@jax.jit
def step(weights, x):
    return weights - 0.5 * jax.grad(lambda weights: (jnp.tanh(x @ weights) ** 2).mean())(weights)


loop = kse.SessionLoop(**settings())
for epoch in loop.epochs(2):
    for x in loop.batches(data):
        weights = step(weights, x)
        trained()
result(loop, weights=np.asarray(weights), devices=len(weights.sharding.device_set))
