"""Kills the training of a DQN, a loop without fit, three times with SIGKILL, and shows that nothing was lost.

    python examples/loop_dqn.py

An agent learns on JAX to balance a pole: two networks, an optimizer, a replay buffer, an environment, and chance in
three places. It is trained once without interruption and once killed and started again. At the end what the two runs
hold is compared. Exit status 1 if anything differs.

`--train DIRECTORY` is the training itself: an ordinary loop with four lines changed.
"""

import collections
import hashlib
import math
import os
import random
import signal
import sys

import killed_and_whole

EPISODES, STEPS, BATCH = 45, 60, 32
KILLS = (130, 170, 150)  # steps that each process makes before it dies


class CartPole:
    """Balances a pole on a cart, by the equations of Barto, Sutton and Anderson (1983)."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.state = (0.0, 0.0, 0.0, 0.0)

    def reset(self):
        self.state = tuple(self.random.uniform(-0.05, 0.05) for _ in range(4))
        return self.state

    def step(self, action):
        place, speed, angle, turn = self.state
        sine, cosine = math.sin(angle), math.cos(angle)
        push = ((10.0 if action else -10.0) + 0.05 * turn ** 2 * sine) / 1.1
        bend = (9.8 * sine - cosine * push) / (0.5 * (4.0 / 3.0 - 0.1 * cosine ** 2 / 1.1))
        slide = push - 0.05 * bend * cosine / 1.1
        self.state = (place + 0.02 * speed, speed + 0.02 * slide, angle + 0.02 * turn, turn + 0.02 * bend)
        return self.state, 1.0, abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.21


def train(directory, dies_at):
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras
    import numpy as np
    from keras import layers

    import keras_session_ext as kse

    keras.utils.set_random_seed(0)  # only so that two runs begin alike; a resume needs no seed

    def network():
        return keras.Sequential([keras.Input((4,)), layers.Dense(32, activation="relu"), layers.Dense(2)])

    model, target = network(), network()
    target.set_weights(model.get_weights())
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    env, replay, epsilon = CartPole(seed=1), collections.deque(maxlen=2000), 1.0

    def loss_of(trainable, fixed, states, actions, wanted):
        values, _ = model.stateless_call(trainable, fixed, states)
        return ((values[np.arange(BATCH), actions] - wanted) ** 2).mean()

    gradient_of = jax.jit(jax.value_and_grad(loss_of))

    def learn():
        states, actions, rewards, others, over = map(np.array, zip(*random.sample(replay, BATCH)))
        wanted = rewards + 0.99 * np.max(target(others), axis=1) * ~over
        loss, gradients = gradient_of([v.value for v in model.trainable_variables], [], states, actions, wanted)
        optimizer.apply(gradients, model.trainable_variables)
        return float(loss)

    steps, curve = 0, []
    loop = kse.SessionLoop(directory, save=kse.EverySteps(50), model=model)  # new
    for _episode in loop.epochs(EPISODES):  # was: range(EPISODES)
        state, rewards = np.array(env.reset(), "float32"), 0.0
        for _step in loop.batches(STEPS):  # was: range(STEPS)
            explores = random.random() < epsilon
            action = random.randrange(2) if explores else int(np.argmax(model(state[None])))
            found, reward, over = env.step(action)
            found = np.array(found, "float32")
            replay.append((state, action, reward, found, over))
            state, rewards, steps, epsilon = found, rewards + reward, steps + 1, max(0.1, epsilon * 0.997)
            if len(replay) > 100:
                curve.append(learn())
            if steps % 100 == 0:
                target.set_weights(model.get_weights())
            if dies_at and steps - loop.resume_report.progress.step == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if over:
                break
        loop.log(rewards=rewards)  # new
    buffer = [np.array(column) for column in zip(*replay)]
    slots = [keras.ops.convert_to_numpy(one) for one in optimizer.variables]
    for name, value in (("model", model.get_weights()), ("target", target.get_weights()),
                        ("optimizer", slots), ("replay buffer", buffer),
                        ("environment", [np.array(env.state)]), ("epsilon, steps, curve", [
                            np.array([epsilon, steps]), np.array(curve)])):
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(one).tobytes() for one in value)).hexdigest()
        print("{}\t{}".format(name, digest))


if __name__ == "__main__":
    sys.exit(killed_and_whole.main(train, KILLS, __file__, __doc__.splitlines()[0]))
