"""Loops on a `tf.Session`, as TensorFlow 1 writes them: `CASE` says which, `KILL` after how many steps it dies."""

import hashlib
import json
import os
import signal
import sys

import members
import numpy as np

keras = members.load()
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_session_ext as kse

tf1 = tf.compat.v1
CASE, DIRECTORY, KILL = os.environ["CASE"], sys.argv[1], int(os.environ.get("KILL", "0"))
SEEDED = CASE != "unseeded"
steps = 0
losses = []

np.random.seed(7)
if SEEDED:
    tf1.set_random_seed(7)
x, y = load_digits(return_X_y=True)
x, y = (x / 16).astype("float32"), y.astype("int64")


def dense(inputs, units, name):
    kernel = tf1.get_variable(name, [inputs.shape[-1], units], initializer=tf1.glorot_uniform_initializer())
    bias = tf1.get_variable(name + "_bias", [units], initializer=tf1.zeros_initializer(), use_resource=True)
    return tf.matmul(inputs, kernel) + bias


def dropped(hidden, training):
    """Dropout, where a tf.cond says so if `training` is a tensor."""
    if training is True:
        return tf1.nn.dropout(hidden, rate=0.3)
    return tf1.cond(training, lambda: tf1.nn.dropout(hidden, rate=0.3), lambda: tf.identity(hidden))


def net(inputs, targets, training=True):
    mean = tf1.get_variable("mean", [inputs.shape[-1]], initializer=tf1.zeros_initializer(), trainable=False)
    hidden = dropped(tf.nn.relu(dense(inputs - 0.1 * tf.stop_gradient(mean), 32, "one")), training)
    logits = dense(hidden, 10, "two")
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits))
    step = tf1.train.get_or_create_global_step()
    rate = tf1.train.exponential_decay(1e-3, step, 10, 0.9)
    train = tf1.train.AdamOptimizer(rate).minimize(loss, global_step=step)
    with tf1.control_dependencies([train]):
        return loss, tf.group(train, tf1.assign(mean, 0.9 * mean + 0.1 * tf.reduce_mean(inputs, 0)))


def placeholders():
    return tf1.placeholder(tf.float32, [None, 64]), tf1.placeholder(tf.int64, [None])


def done(value=None):
    """A step is over."""
    global steps
    steps += 1
    if value is not None:
        losses.append(float(value))
    if steps == KILL:
        os.kill(os.getpid(), signal.SIGKILL)


def loop_of(**options):
    return kse.SessionLoop(DIRECTORY, save=kse.EverySteps(4) | kse.EveryEpochs(1), background=False, **options)


def finish(loop, values):
    content = b"".join(np.ascontiguousarray(value).tobytes() for value in values)
    print("RESULT " + json.dumps({
        "weights": hashlib.sha256(content).hexdigest(), "losses": losses, "steps": steps,
        "exact": loop.resume_report.exact and loop.checkpoints[-1].exact,
        "reasons": [*loop.resume_report.reasons, *loop.checkpoints[-1].reasons],
        "resumed": loop.resume_report.checkpoint is not None}))


def fed():
    """A feed_dict, a placeholder that turns dropout on, a part of a batch."""
    inputs, targets = placeholders()
    training = tf1.placeholder_with_default(False, [])
    loss, train = net(inputs, targets, training)
    with tf1.Session() as sess:
        sess.run(tf1.global_variables_initializer())
        loop = loop_of()
        for epoch in loop.epochs(3):
            order = np.random.permutation(320)
            for start in loop.batches(range(0, 320, 48)):
                i = order[start:start + 48]
                done(sess.run([loss, train], {inputs: x[i], targets: y[i], training: True})[0])
            losses.append(float(sess.run(loss, {inputs: x[:320], targets: y[:320]})))
        finish(loop, sess.run(tf1.global_variables()))


class Trainer:
    """Keeps its session in an attribute."""

    def __init__(self):
        self.inputs, self.targets = placeholders()
        self.loss, self.train = net(self.inputs, self.targets)
        self.sess = tf1.Session()
        self.sess.run(tf1.global_variables_initializer())

    def fit(self, loop):
        for _ in loop.batches(20):
            i = np.random.randint(0, len(x), 32)
            feeds = {self.inputs: x[i], self.targets: y[i]}
            done(self.sess.run({"loss": self.loss, "train": self.train}, feeds)["loss"])


def attribute():
    """A class with a session, and a dict of fetches."""
    trainer, loop = Trainer(), loop_of()
    trainer.fit(loop)
    finish(loop, trainer.sess.run(tf1.global_variables()))


def monitored():
    """A MonitoredTrainingSession with a hook that fetches, too."""
    inputs, targets = placeholders()
    loss, train = net(inputs, targets)
    hooks = [tf1.train.LoggingTensorHook({"loss": loss}, every_n_iter=1000), tf1.train.StopAtStepHook(last_step=1000)]
    with tf1.train.MonitoredTrainingSession(hooks=hooks) as sess:
        loop = loop_of(session=sess)
        for _ in loop.batches(20):
            i = np.random.randint(0, len(x), 32)
            done(sess.run([loss, train], {inputs: x[i], targets: y[i]})[0])
        finish(loop, sess.run(tf1.global_variables()))


def _iterated(iterator, training, initialize, epochs=3):
    loss, train = net(*iterator.get_next(), training=training)
    sess = tf1.Session()
    sess.run(tf1.global_variables_initializer())
    loop = loop_of(session=sess)
    for _ in loop.epochs(epochs):
        initialize(sess)
        for _ in loop.batches(10):
            done(sess.run([loss, train])[0])
    finish(loop, sess.run(tf1.global_variables()))


def _shuffled(inputs=None):
    return tf1.data.Dataset.from_tensor_slices((x[:320] if inputs is None else inputs, y[:320])).shuffle(
        100, seed=3 if SEEDED else None)


def initialized():
    """An iterator that every epoch makes anew."""
    data = _shuffled().map(lambda a, b: (a * 2.0, b)).batch(32, drop_remainder=True).prefetch(2)
    iterator = tf1.data.make_initializable_iterator(data)
    _iterated(iterator, tf1.placeholder_with_default(True, []), lambda sess: sess.run(iterator.initializer))


def one_shot():
    """An iterator that goes on and on."""
    _iterated(tf1.data.make_one_shot_iterator(_shuffled().repeat().batch(32)), True, lambda sess: None)


def fed_iterator():
    """An iterator whose arrays are fed to its initializer."""
    inputs = tf1.placeholder(tf.float32, [None, 64])
    iterator = tf1.data.make_initializable_iterator(_shuffled(inputs).batch(32, drop_remainder=True))
    _iterated(iterator, True, lambda sess: sess.run(iterator.initializer, {inputs: x[:320]}))


def keras_calls():
    """train_on_batch and predict of a Keras model, in Keras's own session."""
    if hasattr(keras.backend, "set_session"):  # standalone Keras repeats on one thread only
        config = tf1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        keras.backend.set_session(tf1.Session(config=config))
    layers = keras.layers
    model = keras.models.Sequential([
        layers.Dense(16, activation="relu", input_shape=(64,)), layers.Dropout(0.3), layers.Dense(10)])
    model.compile("adam", "mse")
    loop = loop_of()
    for _ in loop.batches(20):
        i = np.random.randint(0, len(x), 32)
        done(model.train_on_batch(x[i], np.eye(10)[y[i]]))
        if not steps % 5:
            losses.append(float(model.predict(x[:10]).sum()))
    finish(loop, model.get_weights())


def _beside(make):
    """A loop that runs something beside the train op."""
    inputs, targets = placeholders()
    loss, train = net(inputs, targets)
    extra = make()
    sess = tf1.Session()
    sess.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
    loop = loop_of(session=sess)
    for _ in loop.batches(20):
        i = np.random.randint(0, len(x), 32)
        done(sess.run([loss, train, extra], {inputs: x[i], targets: y[i]})[0])
    finish(loop, sess.run(tf1.global_variables()))


def queue():
    def make():
        held = tf1.FIFOQueue(100, tf.float32)
        return tf.group(held.enqueue(1.0), held.size())

    _beside(make)


def python():
    drawn = iter(range(1000))
    _beside(lambda: tf1.py_func(lambda: np.float32(next(drawn)), [], tf.float32))


def loop_in_graph():
    _beside(lambda: tf1.while_loop(lambda i, t: i < 3, lambda i, t: (i + 1, t + tf1.random_uniform([])), [0, 0.0])[1])


def gamma():
    _beside(lambda: tf1.random_gamma([2], 1.0))


def unseeded():
    _beside(lambda: tf1.random_uniform([3]))


def integers():
    """A random op with bounds, seeded: it is counted."""
    _beside(lambda: tf1.random_uniform([5], 3, 90, tf.int32))


def over():
    """A run that ends for want of data, with dropout of a shape that is known beforehand."""
    iterator = tf1.data.make_initializable_iterator(_shuffled().batch(32, drop_remainder=True))
    loss, train = net(*iterator.get_next())
    sess = tf1.Session()
    sess.run(tf1.global_variables_initializer())
    loop = loop_of(session=sess)
    for _ in loop.epochs(3):
        sess.run(iterator.initializer)
        for _ in loop.batches(100):
            try:
                done(sess.run([loss, train])[0])
            except tf.errors.OutOfRangeError:
                break
    finish(loop, sess.run(tf1.global_variables()))


def switched():
    """An iterator that is made anew of two datasets in turn."""
    first, second = (_shuffled().take(number).batch(16, drop_remainder=True) for number in (320, 96))
    iterator = tf1.data.Iterator.from_structure(tf1.data.get_output_types(first), tf1.data.get_output_shapes(first))
    makers = [iterator.make_initializer(first), iterator.make_initializer(second)]
    loss, train = net(*iterator.get_next())
    sess = tf1.Session()
    sess.run(tf1.global_variables_initializer())
    loop = loop_of(session=sess)
    for _ in loop.epochs(2):
        for made in makers:
            sess.run(made)
            for _ in loop.batches(5):
                done(sess.run([loss, train])[0])
    finish(loop, sess.run(tf1.global_variables()))


def reset():
    """Local variables that have no value until an epoch gives them one; noise that is fed and fetched."""
    inputs, targets = placeholders()
    loss, train = net(inputs, targets)
    noise = tf1.random_normal([3])
    mean, update = tf1.metrics.mean(loss + 0 * tf.reduce_sum(noise))
    sess = tf1.Session()
    sess.run(tf1.global_variables_initializer())
    loop = loop_of(session=sess)
    for _ in loop.epochs(3):
        sess.run(tf1.local_variables_initializer())
        for number in loop.batches(7):
            i = np.random.randint(0, len(x), 32)
            feeds = {inputs: x[i], targets: y[i]}
            losses.append(float(sess.run(noise, {noise: np.ones(3)} if number % 2 else None).sum()))
            done(sess.run([loss, train, update], feeds)[0])
            if number % 2:
                sess.run([noise, loss], {**feeds, noise: np.ones(3)})
        losses.append(float(sess.run(mean)))
    finish(loop, sess.run(tf1.global_variables()))


def in_a_cond():
    """An iterator that is asked within a tf.cond."""
    iterator = tf1.data.make_one_shot_iterator(_shuffled().repeat().batch(32))
    _beside(lambda: tf1.cond(tf.constant(True), lambda: iterator.get_next()[0][0, 0], lambda: 0.0))


def kept_run():
    """`run` was taken from the session before the loop."""
    inputs, targets = placeholders()
    loss, train = net(inputs, targets)
    sess = tf1.Session()
    run = sess.run
    run(tf1.global_variables_initializer())
    loop = loop_of(session=sess)
    for _ in loop.batches(20):
        i = np.random.randint(0, len(x), 32)
        done(run([loss, train], {(inputs, targets): (x[i], y[i])})[0])
    finish(loop, sess.run(tf1.global_variables()))


def texts():
    """A variable of text, and dropout in a tf.cond with a part of the feeds sparse."""
    inputs, targets = placeholders()
    training, sparse = tf1.placeholder(tf.bool, []), tf1.sparse_placeholder(tf.float32, [None, 64])
    text = tf1.get_variable("text", initializer=["a", "ä"])
    loss, train = net(inputs + tf1.sparse.to_dense(sparse), targets, training)
    write = tf1.assign(text, tf.strings.join([["b", "c"], tf.strings.as_string(tf1.train.get_global_step())]))
    sess = tf1.Session()
    sess.run(tf1.global_variables_initializer())
    loop = loop_of(session=sess)
    for _ in loop.batches(20):
        i = np.random.randint(0, len(x), 32)
        value = tf1.SparseTensorValue([[0, 1], [3, 4]], [0.5, 1.5], [32, 64])
        done(sess.run([loss, train, write], {inputs: x[i], targets: y[i], training: True, sparse: value})[0])
    values = sess.run(tf1.global_variables())
    finish(loop, [np.array(one.tolist(), "S") if one.dtype == object else one for one in map(np.asarray, values)])


def held_without_value():
    """A variable that the script holds, and that only the loop gives a value; one that the loop makes."""
    inputs, targets = placeholders()
    loss, train = net(inputs, targets)
    late = tf1.Variable(1.0)
    later = None
    sess = tf1.Session()
    sess.run(tf1.variables_initializer([one for one in tf1.global_variables() if one is not late]))
    loop = loop_of(session=sess)
    for epoch in loop.epochs(3):
        if later is None:
            later = tf1.Variable(2.0)
            sess.run([late.initializer, later.initializer])
            more = tf1.assign_add(later, 0.5 * late)
        for _ in loop.batches(8):
            i = np.random.randint(0, len(x), 32)
            done(sess.run([loss, train, more], {inputs: x[i], targets: y[i]})[0])
    finish(loop, sess.run(tf1.global_variables()))


class Holder:
    """Holds a trainer, which holds the session."""

    def __init__(self):
        self.trainer = Trainer()


def too_deep():
    holder, loop = Holder(), loop_of()
    for _ in loop.batches(8):
        one = holder.trainer
        done(one.sess.run([one.loss, one.train], {one.inputs: x[:32], one.targets: y[:32]})[0])
    finish(loop, [])


def other_session():
    trainer, other = Trainer(), tf1.Session()
    other.run(tf1.global_variables_initializer())
    loop = loop_of(session=other)
    trainer.fit(loop)
    finish(loop, [])


def session_in_epoch():
    inputs, targets = placeholders()
    loss, train = net(inputs, targets)
    first = tf1.Session()
    first.run(tf1.global_variables_initializer())
    loop = loop_of(session=first)
    for _ in loop.epochs(2):
        with tf1.Session() as sess:
            sess.run(tf1.global_variables_initializer())
            for _ in loop.batches(8):
                i = np.random.randint(0, len(x), 32)
                done(sess.run([loss, train], {inputs: x[i], targets: y[i]})[0])
    finish(loop, [])


def trained_before():
    layers = keras.layers
    model = keras.models.Sequential([layers.Dense(8, input_shape=(64,)), layers.Dropout(0.3), layers.Dense(10)])
    model.compile("adam", "mse")
    model.train_on_batch(x[:32], np.eye(10)[y[:32]])
    loop = loop_of()
    for _ in loop.batches(20):
        i = np.random.randint(0, len(x), 32)
        done(model.train_on_batch(x[i], np.eye(10)[y[i]]))
    finish(loop, model.get_weights())


def caught():
    """A run that fails, which the script takes for an answer."""
    inputs, targets = placeholders()
    loss, train = net(inputs, targets)
    with tf1.control_dependencies([tf1.assert_less(loss, 2.2)]):
        checked = tf.identity(loss)
    sess = tf1.Session()
    sess.run(tf1.global_variables_initializer())
    loop = loop_of(session=sess)
    for _ in loop.batches(20):
        i = np.random.randint(0, len(x), 32)
        try:
            sess.run(checked, {inputs: x[i], targets: y[i]})
        except tf.errors.InvalidArgumentError:
            pass
        done(sess.run([loss, train], {inputs: x[i], targets: y[i]})[0])
    finish(loop, sess.run(tf1.global_variables()))


globals()[CASE]()
