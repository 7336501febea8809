"""What is traced, and what is looked for in what was traced."""

import json
import subprocess
import sys

import pytest
from harness import environment

SCRIPT = """
import json, numpy as np, keras
from keras_session_ext import backend
from keras_session_ext.backend.engines import tf_function_graphs

visited = []
inputs = tf_function_graphs._Writes.inputs
tf_function_graphs._Writes.inputs = lambda self, nodes: visited.append(len(nodes)) or inputs(self, nodes)

def measure(depth):
    model = keras.Sequential([keras.Input((4,))] + [keras.layers.Dense(4) for _ in range(depth)])
    model.compile("adam", "mse", jit_compile=False)
    x = np.zeros((4, 4), "float32")
    model.fit(x, x, batch_size=2, verbose=0)
    visited.clear()
    assert backend.choose(model).why_not_exact(model) == []
    graphs = [graph.as_graph_def() for graph in tf_function_graphs.graphs_of(model.train_function)]
    there = sum(len(graph.node) + sum(len(one.node_def) for one in graph.library.function) for graph in graphs)
    return sum(visited), there

print(json.dumps([measure(5), measure(20)]))
"""


@pytest.mark.slow
def test_every_node_is_looked_at_once():
    made = subprocess.run([sys.executable, "-c", SCRIPT], env=environment("tensorflow"), stdout=subprocess.PIPE,
                          check=True)
    for visited, there in json.loads(made.stdout.decode().splitlines()[-1]):
        assert there / 4 < visited <= there


FITS = """
import numpy as np, keras, keras_session_ext as kse, tensorflow as tf
traced = []
function = tf.function
tf.function = lambda *arguments, **options: traced.append(arguments) or function(*arguments, **options)
x = np.ones((64, 6), "float32")
for number in range(8):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    model.compile("adam", "mse", run_eagerly=True)
    model.fit(x, x[:, :1], batch_size=8, verbose=0, callbacks=[
        kse.SessionCheckpoint("run-{}".format(number), save=kse.EverySteps(3), verbose=0)])
assert len(kse.list_checkpoints("run-7")) > 1
print("traced", len(traced))
"""


@pytest.mark.slow
def test_a_save_traces_nothing(tmp_path):
    """Tracing a read of 2,000 tensors takes seconds, and TensorFlow warned of it after a few fits in one process."""
    made = subprocess.run([sys.executable, "-c", FITS], env=environment("tensorflow"), cwd=str(tmp_path),
                          capture_output=True, check=True)
    assert b"retracing" not in made.stderr + made.stdout and made.stdout.split()[-1] == b"0", made.stderr
