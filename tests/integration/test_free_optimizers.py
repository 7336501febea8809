"""`save_session` and `restore_session` with optimizers that are no attributes of the model; stateless loops on JAX."""

import os
import subprocess
import sys
import textwrap

import pytest
from harness import environment

pytestmark = pytest.mark.slow
HEAD = """
    import keras, numpy as np
    import keras_session_ext as kse
    def build():
        keras.utils.set_random_seed(1)
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    def values(optimizer):
        return [np.array(v.value.detach() if hasattr(v.value, "detach") else v.value) for v in optimizer.variables]
    def same(one, other):
        return all(np.array_equal(a, b) for a, b in zip(one, other)) and len(one) == len(other)
    model = build()
    """
KERAS = """
    def step(model, optimizer):
        optimizer.apply([keras.ops.ones(v.shape) for v in model.trainable_variables], model.trainable_variables)
    optimizer = keras.optimizers.Adam(0.1)
    for _ in range(3):
        step(model, optimizer)
    print(kse.save_session(model, "a.h5", optimizers=optimizer))
    other, fresh = build(), keras.optimizers.Adam(0.1)
    report = kse.restore_session(other, "a.h5", optimizers=fresh)
    assert same(values(optimizer), values(fresh)) and report.kinds["loop"] == "restored", report
    step(model, optimizer)
    step(other, fresh)
    assert same(model.get_weights(), other.get_weights())
    report = kse.restore_session(build(), "a.h5")
    assert "pass optimizers=" in report.kinds["loop"], report
    for wrong in ({}, {"d": fresh, "g": keras.optimizers.SGD()}, {"g": fresh}):
        try:
            kse.restore_session(build(), "a.h5", optimizers=wrong)
        except kse.StateMismatch as error:
            assert "holds optimizer of argument `optimizers`" in str(error), error
        else:
            raise AssertionError(wrong)
    try:
        kse.save_session(model, "b.h5", optimizers=["adam"])
    except kse.ConfigError as error:
        assert "Expected optimizers of Keras or torch" in str(error), error
    print("DONE")
    """
TORCH = """
    import torch
    def step(model, optimizer):
        optimizer.zero_grad()
        model(np.ones((2, 4), "float32")).sum().backward()
        optimizer.step()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        step(model, optimizer)
    kse.save_session(model, "a.h5", optimizers={"adam": optimizer})
    other = build()
    fresh = torch.optim.Adam(other.parameters())
    kse.restore_session(other, "a.h5", optimizers={"adam": fresh})
    step(model, optimizer)
    step(other, fresh)
    assert same(model.get_weights(), other.get_weights())
    print("DONE")
    """
STATELESS = """
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build(model.trainable_variables)
    kse.save_session(model, "a.h5", optimizers=optimizer)
    def train():
        state = [v.value for v in model.trainable_variables], [], [v.value for v in optimizer.variables]
        kse.save_session(model, "a.h5", optimizers=optimizer)
        for _ in range(3):
            trainable, variables = optimizer.stateless_apply(state[2], [one * 0 + 1 for one in state[0]], state[0])
            state = trainable, [], variables
        try:
            kse.save_session(model, "b.h5")
        except kse.StateMismatch as error:
            assert "is at iteration 0, and the variable " in str(error) and "of iteration 3" in str(error), error
            assert "variable.assign(value)" in str(error)
        else:
            raise AssertionError("it was saved")
        for variables, values in ((model.trainable_variables, state[0]), (optimizer.variables, state[2])):
            for variable, value in zip(variables, values):
                variable.assign(value)
        kse.save_session(model, "b.h5", optimizers=optimizer)
        other, fresh = build(), keras.optimizers.Adam(0.1)
        kse.restore_session(other, "b.h5", optimizers=fresh)
        assert int(fresh.iterations.value) == 3 and same(other.get_weights(), [np.array(one) for one in state[0]])
    train()
    print("DONE")
    """


@pytest.mark.parametrize("text, engine", [(KERAS, "jax"), (KERAS, "tensorflow"), (KERAS, "torch"), (TORCH, "torch"),
                                          (STATELESS, "jax")])
def test_what_trains_from_outside_is_saved(text, engine, tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(HEAD) + textwrap.dedent(text))
    done = subprocess.run([sys.executable, "script.py"], cwd=str(tmp_path), env=environment(engine),
                          capture_output=True, text=True)
    assert done.returncode == 0 and "DONE" in done.stdout, done.stdout + done.stderr
    assert os.path.exists(str(tmp_path / "a.h5"))
