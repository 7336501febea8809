"""Plain Keras opens a checkpoint in a process where this package cannot be imported."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from harness import environment

import keras_session_ext as kse

pytestmark = pytest.mark.slow

TRAIN = """
import sys, numpy as np, keras, keras_session_ext as kse
sys.path.insert(0, sys.argv[3])
import architectures
for kind in sys.argv[2].split(","):
    model, arguments = architectures.MODELS[kind]()
    checkpoint = kse.SessionCheckpoint(sys.argv[1] + "/" + kind, verbose=0)
    model.fit(**arguments, epochs=1, verbose=0, callbacks=[checkpoint])
    x = arguments["x"]
    x = x[:30] if not isinstance(x, list) else [one[:30] for one in x]
    np.savez(sys.argv[1] + "/" + kind + ".npz", *keras.tree.flatten(model.predict(x, verbose=0, batch_size=30)))
"""

LOAD = """
import sys, numpy as np, json
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "keras_session_ext":
            raise ImportError("not here")
sys.meta_path.insert(0, Refuse())
import keras
sys.path.insert(0, sys.argv[3])
import architectures
sys.modules.pop("sources", None)
for kind, path in zip(sys.argv[2].split(","), sys.argv[4:]):
    built, arguments = architectures.MODELS[kind]()
    x = arguments["x"]
    x = x[:30] if not isinstance(x, list) else [one[:30] for one in x]
    expected = np.load(sys.argv[1] + "/" + kind + ".npz")
    def check(model):
        got = keras.tree.flatten(model.predict(x, verbose=0, batch_size=30))
        assert expected.files and all(np.array_equal(one, expected[name]) for one, name in zip(got, expected.files))
    if kind != "subclassed":
        check(keras.models.load_model(path, compile=False))
        check(keras.models.load_model(path))
    built.predict(x, verbose=0, batch_size=30)
    built.load_weights(path)
    check(built)
    print("same to the bit:", kind)
assert "keras_session_ext" not in sys.modules
"""


@pytest.mark.parametrize("engine, kinds", [
    ("tensorflow", ["sequential"]), ("torch", ["sequential"]), ("jax", ["functional", "subclassed", "bfloat16"]),
])
def test_load_model_and_load_weights(engine, kinds, tmp_path):
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
    arguments = [str(tmp_path), ",".join(kinds), here]
    run = [sys.executable, "-c"]
    made = subprocess.run([*run, textwrap.dedent(TRAIN), *arguments], env=environment(engine),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert made.returncode == 0, made.stdout.decode()
    newest = [kse.list_checkpoints(tmp_path / kind)[0] for kind in kinds]
    loaded = subprocess.run([*run, textwrap.dedent(LOAD), *arguments, *(info.path for info in newest)],
                            env=environment(engine), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert loaded.returncode == 0, loaded.stdout.decode()
    for kind, info in zip(kinds, newest):
        assert "same to the bit: " + kind in loaded.stdout.decode()
        assert kse.verify_checkpoint(info.path).id == info.id, "reading changed the file"
        assert json.dumps(info.metrics)


LIGHT = """
import sys, keras, numpy as np, keras_session_ext as kse
x = np.zeros((64, 4), "float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
model.fit(x, x[:, :1], verbose=0, callbacks=[kse.SessionCheckpoint("run", verbose=0), kse.SessionLogger("run/tb")])
model.evaluate(x, x[:, :1], verbose=0)
assert "tensorflow" not in sys.modules, "it takes seconds, and nobody asked for it"
assert keras.src.utils.module_utils.tensorflow._available is None, "Keras finds it as ever"
"""


def test_no_engine_is_imported_that_the_script_does_not_use(tmp_path):
    subprocess.run([sys.executable, "-c", LIGHT], cwd=str(tmp_path), env=environment("jax"), check=True)
