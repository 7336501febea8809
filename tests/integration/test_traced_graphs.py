"""Looking for variables that nobody listed takes one pass over a traced function, however deep the model is."""

import json
import subprocess
import sys

import pytest
from harness import environment

SCRIPT = """
import json, numpy as np, keras
from keras_session_ext import backend
from keras_session_ext.backend.engines import traced_graphs

visited = []
inputs = traced_graphs._Writes.inputs
traced_graphs._Writes.inputs = lambda self, nodes: visited.append(len(nodes)) or inputs(self, nodes)

def measure(depth):
    model = keras.Sequential([keras.Input((4,))] + [keras.layers.Dense(4) for _ in range(depth)])
    model.compile("adam", "mse", jit_compile=False)
    x = np.zeros((4, 4), "float32")
    model.fit(x, x, batch_size=2, verbose=0)
    visited.clear()
    assert backend.choose(model).why_not_exact(model) == []
    graphs = [graph.as_graph_def() for graph in traced_graphs.graphs_of(model.train_function)]
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
