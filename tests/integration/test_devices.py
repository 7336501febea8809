"""More than one device: what is saved and restored, shard by shard and component by component, and what is refused."""

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap

import pytest
from harness import HERE, Server, assert_same, environment, finish, keep_only, kill, killed_like

from keras_session_ext import list_checkpoints

pytestmark = pytest.mark.slow

#: the members of the families that train on several devices and are at hand; tf_keras has an environment of its own
for name, variables in {"mirrored": {}, "jax-mesh": {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}}.items():
    Server.others[name] = (os.path.join(HERE, "families", "train.py"), dict(variables, KSE_FAMILY=name))
MOMENTS = ["batch:14", "validation:2", "write:4"]


def start(engine, text, *arguments, **variables):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)],
                            env=dict(environment(engine), **variables), stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def outputs(processes):
    """What processes print that are to end well."""
    found = [process.communicate(timeout=300)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(found)
    return found


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


MODEL = """
import os, signal, sys
import numpy as np, keras, keras_session_ext as kse
rank = int(os.environ.get("RANK", 0))
def model():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.BatchNormalization(),
                             keras.layers.Dense(2)])
    made.compile("adam", "mse")
    return made
def refused(made):
    try:
        made.fit(np.zeros((32, 4)), np.zeros((32, 2)), verbose=0, callbacks=[kse.SessionCheckpoint(sys.argv[1])])
    except kse.UnsupportedBackend as error:
        print("refused:", error)
        assert not os.path.exists(sys.argv[1])
"""


def test_a_loop_over_two_processes_of_torch_saves_in_rank_0(tmp_path):
    """DDP's way: the loop is the user's own, every rank holds the whole model, and only `fit` is refused."""
    text = MODEL + textwrap.dedent("""
        import torch.distributed as distributed
        distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
        keras.utils.set_random_seed(rank)
        made = model()
        refused(made)
        path = sys.argv[1] + ".h5"
        if rank == 0:
            kse.save_session(made, path)
        distributed.barrier()
        kse.restore_session(made, path)
        print("weights", sum(float(abs(one).sum()) for one in made.get_weights()))
        """)
    out = outputs([start("torch", text, tmp_path / "run", tmp_path / "store", RANK=str(rank)) for rank in (0, 1)])
    assert ["2 processes, of which this is rank {}".format(rank) in one for rank, one in enumerate(out)] == [True, True]
    assert "save_session(model, path) in process 0" in out[0]
    assert out[0].split("weights")[1] == out[1].split("weights")[1]


def test_two_processes_of_jax_are_refused_and_a_whole_model_is_saved(tmp_path):
    text = MODEL + textwrap.dedent("""
        import jax
        handled = open("/proc/self/status").read().split("SigCgt:")[1].split()[0]
        keras.distribution.initialize(sys.argv[2], 2, rank)
        caught = open("/proc/self/status").read().split("SigCgt:")[1].split()[0]
        if sys.argv[3] == "data":
            keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
        else:
            mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"])
            layouts = keras.distribution.LayoutMap(mesh)
            layouts[".*kernel"] = (None, "model")
            keras.distribution.set_distribution(keras.distribution.ModelParallel(
                layout_map=layouts, batch_dim_name="batch", auto_shard_dataset=False))
        keras.utils.set_random_seed(3)
        made = model()
        refused(made)
        now = open("/proc/self/status").read().split("SigCgt:")[1].split()[0]
        assert now == caught, (handled, caught, now)
        path = "{}-{}.h5".format(sys.argv[1], rank)
        try:
            kse.save_session(made, path)
            weights = made.get_weights()
            for variable in made.variables:
                variable.assign(np.zeros(variable.shape, "float32"))
            kse.restore_session(made, path)
            assert all(map(np.array_equal, weights, made.get_weights()))
            print("saved")
        except kse.UnsupportedBackend as error:
            print("not whole:", error)
        """)
    for kind in ("data", "model"):
        address = "127.0.0.1:{}".format(free_port())
        out = outputs([start("jax", text, tmp_path / kind, address, kind, RANK=str(rank)) for rank in (0, 1)])
        for rank, one in enumerate(out):
            assert "2 processes (jax.distributed), of which this is process {}".format(rank) in one
            if kind == "data":
                assert "saved" in one
            else:
                assert "process {} of 2".format(rank) in one and "kernel" in one.split("not whole:")[1]


@pytest.mark.parametrize("task", [
    {}, {"fit in scope": True}, {"model": "LossScaleOptimizer"}, {"source": "tf.data"},
], ids=str)
def test_replicas_are_resumed_component_by_component(task, tmp_path):
    """BatchNormalization's statistics and the metrics' sums differ between replicas; the last batch is a short one."""
    reference, resumed = killed_like("mirrored", task, str(tmp_path), MOMENTS if not task else ["batch:14"], True)
    assert resumed["exact"], resumed["reasons"]
    assert_same(reference, resumed)


@pytest.mark.parametrize("devices", ["data4", "model2x2"])
def test_a_mesh_is_resumed_shard_by_shard(devices, tmp_path):
    task = {"devices": devices, "source": "whole batches"}
    reference, resumed = killed_like("jax-mesh", task, str(tmp_path), ["batch:14"], True)
    assert resumed["exact"], resumed["reasons"]
    assert_same(reference, resumed)


@pytest.mark.parametrize("member, layouts, words", [
    ("mirrored", ["mirrored2", "", "mirrored4", "mirrored2"], ["MirroredStrategy of 2 replicas", "one device"]),
    ("jax-mesh", ["data4", "data2", "", "model2x2", "data4"], [
        "DataParallel on a mesh batch=4, batches over batch", "batch=2"]),
])
def test_another_layout_goes_on_and_says_so(member, layouts, words, tmp_path):
    """What begins is bit for bit what was saved, and the report names both layouts."""
    task = {"source": "whole batches", "first": True, "background": False, "epochs": 6,
            "directory": str(tmp_path / "run"), "result": str(tmp_path / "run.json")}
    kill(member, dict(task, devices=layouts[0]), "batch:6")
    for number, (before, layout) in enumerate(zip(layouts, layouts[1:])):
        newest = list_checkpoints(task["directory"])[0]
        begins = []
        for name in (before, layout):  # as it was, which is exact; and on the other devices
            copy = str(tmp_path / "copy")
            shutil.copytree(task["directory"], copy)
            keep_only(copy, newest)
            report = finish(member, dict(task, directory=copy, result=copy + ".json", devices=name))
            shutil.rmtree(copy)
            begins.append(report["begins"])
            changed = [line for line in report["changes"] if line.startswith("layout: ")]
            told = [reason for reason in report["reasons"] if reason.startswith("layout is ")]
            assert len(changed) == (name != before), report["changes"]
            assert report["exact"] == (not number and name == before), report["reasons"]
            if name != before:
                assert told  # and those of earlier changes, which a lineage never loses
            if not number and name != before:
                assert all(word in told[0] for word in words)
        assert begins[0] == begins[1] != []
        kill(member, dict(task, devices=layout), "batch:7")


def test_strategies_that_no_resume_could_repeat_are_refused(tmp_path):
    """Before training, by name; several processes with what this one is."""
    text = """
        import json, os, sys
        import numpy as np, tensorflow as tf, keras, keras_session_ext as kse
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
        if "TF_CONFIG" in os.environ:
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        else:
            strategy = tf.distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"], "CPU:0")
        with strategy.scope():
            model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
            model.compile("sgd", "mse")
        try:
            if "TF_CONFIG" in os.environ:  # whose data Keras 3 cannot take: github.com/keras-team/keras/issues/20585
                kse.backend.choose(model).check_fit(model)
            model.fit(np.zeros((32, 4)), np.zeros((32, 1)), verbose=0, callbacks=[kse.SessionCheckpoint(sys.argv[1])])
        except kse.UnsupportedBackend as error:
            print("refused:", error)
        try:
            kse.save_session(model, sys.argv[1] + ".h5")
        except kse.UnsupportedBackend as error:
            print("refused:", error)
        sys.stdout.flush()
        os._exit(0)  # what waits for the other worker
        """
    out, = outputs([start("tensorflow", text, tmp_path / "run")])
    assert out.count("refused: The model was made under CentralStorageStrategy, which trains on 2 replicas") == 2, out
    workers = ["127.0.0.1:{}".format(free_port()) for _ in range(2)]
    configs = [json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
               for index in (0, 1)]
    out = outputs([start("tensorflow", text, tmp_path / "run", TF_CONFIG=config) for config in configs])
    for index, one in enumerate(out):
        assert one.count("several processes (2 worker), of which this is worker {}".format(index)) == 2, one
    assert not (tmp_path / "run").exists()


def test_a_signal_that_jax_distributed_catches_stays_caught(tmp_path):
    """Its handler is C++'s: Python sees none, and could not put it back."""
    out, = outputs([start("jax", """
        import sys
        import jax
        jax.distributed.initialize(sys.argv[2], 1, 0)
        import numpy as np, keras, keras_session_ext as kse
        def caught():
            return int(open("/proc/self/status").read().split("SigCgt:")[1].split()[0], 16) >> 14 & 1
        assert caught()
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(np.zeros((32, 4)), np.zeros((32, 1)), verbose=0, callbacks=[
            kse.SessionCheckpoint(sys.argv[1], save=kse.EveryEpochs(1) | kse.OnSignal())])
        assert caught()
        print("still caught")
        """, tmp_path / "run", "127.0.0.1:{}".format(free_port()))])
    assert "SIGTERM is caught by native code" in out and "still caught" in out


def test_devices_are_described():
    out, = outputs([start("jax", """
        import keras
        from keras_session_ext import backend
        assert not {"devices", "processes", "replicas"} & set(backend.describe())
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        assert backend.describe()["devices"] == "2"
        print("ok")
        """, XLA_FLAGS="--xla_force_host_platform_device_count=2")])
    assert out.strip().endswith("ok")


@pytest.mark.matrix
def test_saving_and_restoring_shards_takes_the_memory_of_one_state(tmp_path):
    def most(mode):
        done = subprocess.run([sys.executable, os.path.join(HERE, "sharded_memory.py"), mode, str(tmp_path / "run")],
                              env=environment("jax"), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return list(map(int, done.stdout.rsplit("MIB ", 1)[1].split()))

    state, plain = most("nothing")
    shard = state // (2 * 24 * 4)  # the weights and momenta of 24 layers, each cut in four
    for mode in ("fit", "resume", "save_session", "restore_session"):
        assert most(mode)[1] - plain < 1.03 * state + shard, mode  # three per cent: of file and of malloc
