"""Which loops of a script are wrapped, what they become, and what is told of the others."""

import ast
import textwrap

import pytest

from keras_session_ext.launch.loops.rewrite_loops import rewrite


def lines(text, **beside):
    """(lines of the loops that are wrapped, those that are told)."""
    places = []
    trees = {name: ast.parse(textwrap.dedent(one)) for name, one in beside.items()}
    made = rewrite(textwrap.dedent(text), "a.py", places, lambda name, level: trees.get(name))
    compile(made.tree, "a.py", "exec")
    return sorted(place.line for place in places), [line for line, _ in made.told]


@pytest.mark.parametrize("text, wrapped", [
    ("for x in data:\n    optimizer.step()", [1]),
    ("for x in data:\n    env.step(x)\n    frame.apply(print)", []),
    ("adam = keras.optimizers.Adam()\nfor x in data:\n    adam.apply(x)", [2]),
    ("for x in data:\n    metric.update_state(x)\nfor x in data:\n    loss.backward()", [3]),
    ("for x in data:\n    np.gradient(x)", []),
    ("from sklearn.svm import SVC\nclf = SVC()\nfor x in data:\n    clf.fit(x)\n    model.fit(x)", [3]),
    ("from sklearn.svm import SVC\nclf = SVC()\nfor x in data:\n    clf.fit(x)", []),
    ("grad_fn = jax.value_and_grad(loss)\nfor x in data:\n    grad_fn(x)\nfor x in data:\n    loss(x)", [2]),
    ("def step(x):\n    opt.apply_gradients(x)\ndef both(x):\n    step(x)\nfast = tf.function(both)\n"
     "for x in data:\n    fast(x)\nfor x in data:\n    print(x)", [6]),
    ("def make():\n    def step(x):\n        loss.backward()\n    return step\nstep = make()\nfor x in data:\n"
     "    step(x)", [6]),
    ("def step(x):\n    loss.backward()\ndef run(f, data):\n    for x in data:\n        f(x)\nrun(step, data)", [4]),
    ("class A:\n    def step(self):\n        loss.backward()\nclass Env:\n    def step(self):\n        pass\n"
     "a, env = A(), Env()\nenv = Env()\na = A()\nfor x in data:\n    env.step()\nfor x in data:\n    a.step()", [12]),
    ("class A:\n    def step(self):\n        loss.backward()\n    def all(self):\n        for x in self.data:\n"
     "            self.step()\n", [5]),
    ("class A:\n    def __call__(self):\n        loss.backward()\na = A()\nwhile go():\n    a()", [5]),
    ("@jax.jit\ndef many(x):\n    for i in range(9):\n        x -= jax.grad(loss)(x)\n    return x\n"
     "for x in data:\n    many(x)", [6]),
    ("for x in data:\n    for y in x:\n        for z in y:\n            loss.backward()\n    for y in x:\n        m(y)",
     [1, 2, 3]),
    ("def steps():\n    for x in data:\n        loss.backward()\n        yield x\n"
     "for x in steps():\n    print(x)", [2]),
    ("from keras_session_ext import SessionLoop\nloop = SessionLoop('a')\nfor x in loop.epochs(3):\n"
     "    loss.backward()", []),
    ("def other():\n    for x in data:\n        print(x)\nfor x in data:\n    other()\n    loss.backward()", [4]),
])
def test_which_loops_are_wrapped(text, wrapped):
    assert lines(text) == (wrapped, [])


def test_a_module_beside_trains():
    text = "import engine\nfrom engine import epoch as one\nfor x in data:\n    engine.epoch(x)"
    assert lines(text, engine="def epoch(x):\n    loss.backward()") == ([3], [])
    assert lines(text, engine="def epoch(x):\n    print(x)") == ([], [])


@pytest.mark.parametrize("text, wrapped, told", [
    ("for x in data:\n    loss.backward()\nelse:\n    print()", [], [1]),
    ("class A:\n    for x in data:\n        loss.backward()", [], [2]),
    ("a = [model.train_on_batch(x) for x in data]", [], [1]),
    ("async def f():\n    async for x in data:\n        loss.backward()", [], [2]),
    ("while go():\n    loss.backward()\nelse:\n    print()", [1], []),
    ("for a in b:\n    while go():\n        loss.backward()\n    else:\n        break", [1], [2]),
    ("for a in b:\n    it = iter(data)\n    for i in b:\n        next(it)\n        loss.backward()", [1, 3], [2]),
])
def test_what_cannot_be_wrapped_is_told(text, wrapped, told):
    assert lines(text) == (wrapped, told)


@pytest.mark.parametrize("source, becomes", [
    ("enumerate(data)", "level(0, data, 0)"), ("enumerate(data, 1)", "level(0, data, 1)"),
    ("enumerate(data, start=1)", "level(0, data, 1)"), ("range(3)", "level(0, range(3))"),
    ("tqdm(data, total=3)", "tqdm(level(0, data), total=3)"),
    ("enumerate(tqdm.tqdm(data))", "tqdm.tqdm(level(0, data, 0))"),
    ("tqdm(enumerate(data, 2))", "tqdm(level(0, data, 2))"), ("zip(a, b)", "level(0, zip(a, b))"),
    ("enumerate(*data)", "level(0, enumerate(*data))"),
])
def test_what_a_level_is_given(source, becomes):
    made = rewrite("for x in {}:\n    loss.backward()".format(source), "a.py", [])
    expected = ast.parse(becomes.replace("level", "__session_loops__.level"), mode="eval").body
    assert ast.dump(made.tree.body[0].iter) == ast.dump(expected)


def test_lines_stay():
    text = "def f(data):\n    for x in enumerate(data):\n        loss.backward()\n        1 / 0\n        return x\n"
    made = rewrite(text, "a.py", [])
    scope = {"loss": ast, "__session_loops__": ast}
    exec(compile(made.tree, "a.py", "exec"), scope)
    found = {node.lineno for node in ast.walk(made.tree) if hasattr(node, "lineno")}
    assert found == {1, 2, 3, 4, 5}
