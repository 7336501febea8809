"""`keras-session run` and `prove` on this member: scripts that know nothing of this package."""

import json
import os
import signal
import subprocess
import sys

import pytest
from harness import environment
from members import MEMBERS, current

import keras_session_ext as kse

NAME = current()
MEMBER = MEMBERS[NAME]
SCRIPTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "scripts")
#: one is killed twice; with KSE_KILLS=5 all four are, five times
KILLS = int(os.environ.get("KSE_KILLS", 0))
UNCHANGED = ["custom_train_step.py"] + (["timeseries_rnn.py", "functional_classifier.py", "vae.py"] if KILLS else [])
COMMAND = [sys.executable, "-c", "from keras_session_ext.cli.main import main; main()"]

SCRIPT = """
import hashlib, importlib, os, random
import numpy as np
{imports}
random.seed(1), np.random.seed(1)
tf = importlib.import_module("tensorflow") if {on_tensorflow} else None
if tf is not None:
    getattr(tf, "random").set_random_seed(1) if hasattr(tf.random, "set_random_seed") else tf.random.set_seed(1)
if hasattr(keras.utils, "set_random_seed") and {eager}:
    keras.utils.set_random_seed(1)
x = np.random.normal(size=(64, 4)).astype("float32")
model = keras.models.Sequential([keras.layers.Dense(4, input_shape=(4,)) if {old} else keras.layers.Dense(4),
                                 keras.layers.Dropout(0.3), keras.layers.Dense(1)])
model.compile("adam", "mse")
if {eager}:
    model.build((None, 4))


class Dies(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2 and os.environ.get("DIES") and not os.path.exists("died"):
            open("died", "w").close()
            os.kill(os.getpid(), 9)


history = model.fit(x, x[:, :1], batch_size=8, epochs=4, verbose=0, callbacks=[Dies()])
model.predict(x)
print("loss", model.evaluate(x, x[:, :1], verbose=0))
print("epochs", len(history.epoch))
print(hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights())).hexdigest())
"""


def command(arguments, cwd, **variables):
    made = dict(environment(NAME), KERAS_BACKEND=MEMBER.engine, **MEMBER.variables)
    done = subprocess.run(COMMAND + arguments, cwd=str(cwd), env=dict(made, **variables), stdin=subprocess.DEVNULL,
                          capture_output=True)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def imports():
    if MEMBER.keras == "tensorflow.keras":
        lines = ["import tensorflow as tf", "from tensorflow import keras"]
    else:
        lines = ["import " + MEMBER.keras + (" as keras" if MEMBER.keras != "keras" else "")]
        lines = ["import tensorflow as tf"] + lines if MEMBER.engine == "tensorflow" else lines
    if not MEMBER.v2_behavior:
        lines.insert(1, "tf.compat.v1.disable_v2_behavior()")
    return "\n".join(lines)


def test_an_unchanged_script_is_killed_and_goes_on(tmp_path):
    eager = MEMBER.family != "graph"
    (tmp_path / "train.py").write_text(SCRIPT.format(
        imports=imports(), eager=eager, old=not eager, on_tensorflow=MEMBER.engine == "tensorflow"))
    status, whole, err = command(["run", "-d", "whole", "train.py"], tmp_path)
    assert status == 0 and "epochs 4" in whole, err[-3000:]
    status, out, err = command(["run", "--set", "background=false", "-d", "killed", "train.py"], tmp_path, DIES="1")
    assert status == 0 and "was killed by {}".format(signal.Signals(9).name) in err, err[-3000:]
    assert "epochs 4" in out and "Session: resumed from" in out + err
    assert kse.list_checkpoints(tmp_path / "killed")[0].finished
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "killed" / "journal.jsonl").read_text().split("\n")[:-1]]
    assert "restored" in kinds and "finished" in kinds
    if NAME != "keras225":  # evaluates and predicts without callbacks, and does not repeat itself
        assert "evaluate_finished" in kinds and "predict_finished" in kinds
        if "exact: yes" in out + err:
            assert out.strip().split("\n")[-1] == whole.strip().split("\n")[-1], "the same weights, to the bit"


# the others draw from ops whose state no one can read, or do not repeat themselves on several threads
@pytest.mark.members(*(name for name in MEMBERS if MEMBERS[name].engine != "tensorflow" or (
    MEMBERS[name].family == "graph" and MEMBERS[name].keras != "keras")))
def test_an_unchanged_script_gives_what_it_gives_without_us(tmp_path):
    eager = MEMBER.family != "graph"
    (tmp_path / "train.py").write_text(SCRIPT.format(
        imports=imports(), eager=eager, old=not eager, on_tensorflow=MEMBER.engine == "tensorflow"))
    made = dict(environment(NAME), KERAS_BACKEND=MEMBER.engine, **MEMBER.variables)
    plain = subprocess.run([sys.executable, "train.py"], cwd=str(tmp_path), env=made, stdout=subprocess.PIPE,
                           check=True)
    status, ours, err = command(["run", "-d", "run", "train.py"], tmp_path)
    assert status == 0, err[-3000:]
    assert plain.stdout.decode().strip().split("\n")[-3:] == [
        line for line in ours.strip().split("\n") if not line.startswith("Session: ")][-3:]


#: how Keras 2 of its own is called, by today's names and by those of Keras 1
CALLS = {
    "generator": "fit_generator(Batches(), steps_per_epoch=8, epochs=4, verbose=0, callbacks=[Dies()])",
    "Keras 1": "fit(x, x[:, :1], batch_size=8, nb_epoch=4, verbose=0, callbacks=[Dies()])",
    "Keras 1, generator": "fit_generator(Batches(), samples_per_epoch=8, nb_epoch=4, verbose=0, callbacks=[Dies()])",
    "Keras 1, by position": "fit_generator(Batches(), 8, 4, verbose=0, callbacks=[Dies()], nb_worker=1)",
}


@pytest.mark.members("keras225", "keras231")
@pytest.mark.parametrize("call", CALLS)
def test_arguments_stay_as_they_were_given(call, tmp_path):
    """`fit_generator` of standalone Keras counts what is given by position: keras/legacy/interfaces.py."""
    script = SCRIPT.format(imports=imports(), eager=False, old=True, on_tensorflow=True)
    batches = """
class Batches(keras.utils.Sequence):
    def __len__(self):
        return 8

    def __getitem__(self, at):
        return x[8 * at:8 * at + 8], x[8 * at:8 * at + 8, :1]


history = model.{}
""".format(CALLS[call])
    fit = "history = model.fit(x, x[:, :1], batch_size=8, epochs=4, verbose=0, callbacks=[Dies()])\n"
    assert fit in script
    (tmp_path / "train.py").write_text(script.replace(fit, batches))
    status, out, err = command(["run", "--set", "background=false", "-d", "run", "train.py"], tmp_path, DIES="1")
    assert status == 0 and "epochs 4" in out and "Session: resumed from" in out + err, err[-3000:]


@pytest.mark.members("tf215")
@pytest.mark.parametrize("script", UNCHANGED)
def test_an_unchanged_script_is_proved(script, tmp_path):
    kills = KILLS or 2
    status, out, err = command(["prove", "--json", "--kills", str(kills), os.path.join(SCRIPTS, script)], tmp_path)
    verdict = json.loads(out)
    assert status == (0 if verdict["exact"] else 1), err[-3000:]
    assert verdict["exact"] or "no random numbers" in verdict["reasons"][0], verdict
    assert len(verdict["killed"]) == kills or not verdict["exact"]
