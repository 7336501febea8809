"""A loop as in Keras's example of deep Q-learning: episodes without end, an environment, counters, a replay buffer.

Without a state of its own the environment is told as what it is: not captured.
"""

import os

import keras
import numpy as np
from common import arrays, result, settings, trained

import keras_session_ext as kse

keras.utils.set_random_seed(42)


class Walk:
    """A point that is pushed to and fro."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.position, self.time = np.zeros(3), 0

    def reset(self):
        self.position, self.time = self.random.normal(size=3), 0
        return self.position.copy()

    def step(self, action):
        self.position = self.position * 0.9 + (0.3 if action else -0.3) + self.random.normal(size=3) * 0.1
        self.time += 1
        return self.position.copy(), -float(np.abs(self.position).sum()), self.time >= 12


if os.environ.get("OPAQUE"):
    class Walk(Walk):
        def __init__(self, seed):
            super().__init__(seed)
            self.handle = iter([seed])


env = Walk(42)
epsilon, gamma = 1.0, 0.99


def network():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2)])


model, model_target = network(), network()
optimizer = keras.optimizers.Adam(0.01)
optimizer.build(model.trainable_variables)
actions, states, next_states, rewards, dones, episode_rewards = [], [], [], [], [], []
frame_count = episode_count = running_reward = 0


def train(sample):
    """One step by hand, so that all engines can make it: the gradient of a linear last layer."""
    now, after = np.array([states[i] for i in sample], "float32"), np.array([next_states[i] for i in sample], "float32")
    hidden = keras.ops.convert_to_numpy(model.layers[0](now))
    wanted = np.array([rewards[i] for i in sample], "float32") + gamma * keras.ops.convert_to_numpy(
        model_target(after)).max(axis=1)
    given = keras.ops.convert_to_numpy(model(now))
    error = np.zeros_like(given)
    for row, i in enumerate(sample):
        error[row, actions[i]] = given[row, actions[i]] - wanted[row]
    zeros = [np.zeros(v.shape, "float32") for v in model.layers[0].trainable_variables]
    gradients = zeros + [hidden.T @ error / len(sample), error.mean(axis=0)]
    optimizer.apply([keras.ops.convert_to_tensor(one) for one in gradients], model.trainable_variables)


loop = kse.SessionLoop(**settings())
for _ in loop.epochs():
    state = env.reset()
    episode_reward = 0
    for _timestep in loop.batches(range(1, 60)):
        frame_count += 1
        if frame_count < 20 or epsilon > np.random.rand(1)[0]:
            action = np.random.choice(2)
        else:
            action = int(keras.ops.convert_to_numpy(model(state[None].astype("float32")))[0].argmax())
        epsilon = max(epsilon - 0.01, 0.1)
        next_state, reward, done = env.step(action)
        episode_reward += reward
        actions.append(action)
        states.append(state)
        next_states.append(next_state)
        rewards.append(reward)
        dones.append(done)
        state = next_state
        if frame_count % 4 == 0 and len(dones) > 8:
            train(np.random.choice(range(len(dones)), size=8))
        if frame_count % 10 == 0:
            model_target.set_weights(model.get_weights())
        if len(rewards) > 30:
            del rewards[:1], states[:1], next_states[:1], actions[:1], dones[:1]
        trained()
        if done:
            break
    episode_rewards.append(episode_reward)
    running_reward = float(np.mean(episode_rewards[-100:]))
    loop.log(running_reward=running_reward)
    episode_count += 1
    if episode_count >= 5:
        break
result(loop, weights=model.get_weights(), target=model_target.get_weights(), optimizer=arrays(optimizer.variables),
       episode_rewards=episode_rewards, states=states, epsilon=epsilon, frame_count=frame_count,
       running_reward=running_reward, env=[env.position, env.time, env.random.random()])
