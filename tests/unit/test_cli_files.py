"""keras-session diff and export: what they say of tensors, and the files they write."""

import json
import os
import stat

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors
from contract.files_of_ours import write
from safetensors.numpy import load_file
from test_cli import GOLDEN, spoil

from keras_session_ext.checkpoint import hdf5_layout, reader
from keras_session_ext.checkpoint.encoder import Tensor

NAN = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)  # two NaNs that differ in their bits


def made(path, arrays, **changes):
    """A checkpoint with these arrays as variables."""
    tensors = [Tensor(name if "/" in name else "variables/model/" + name, "variables", np.asarray(array))
               for name, array in arrays.items()]
    return write(str(path), tensors, **changes)


@pytest.fixture
def compared(tmp_path, call):
    def compared(a, b, *options, fields_a=None, fields_b=None):
        one = made(tmp_path / "a.h5", a, **(fields_a or {}))
        other = made(tmp_path / "b.h5", b, **(fields_b or {}))
        text = call("diff", one, other, *options)
        status, out, _ = call("diff", one, other, "--json", *options)
        value = json.loads(out)
        assert text[0] == status == (0 if value["same"] else 1)
        assert text[1].endswith("all the same\n" if value["same"] else "differ\n")
        os.remove(one)
        os.remove(other)
        return value

    return compared


# -- diff


def test_the_same(compared, call):
    value = compared({"x": [1.0, 2.0], "y": np.int8(3)}, {"x": [1.0, 2.0], "y": np.int8(3)})
    assert value["same"] and value["tensors"] == [] and value["compared"]["tensors"] == 2
    assert call("diff", GOLDEN, GOLDEN)[0] == 0
    _, out, _ = call("diff", GOLDEN, GOLDEN, "--all")
    assert "variables/model/arrays/0000/kernel" in out and "same" in out and "progress/step" in out


@pytest.mark.parametrize("a, b, different, most, relative", [
    (np.float32([1, 2, 4]), np.float32([1, 2.5, 3]), 2, 1.0, 0.25),
    (np.float64([0.0]), np.float64([-0.0]), 1, 0.0, 0.0),
    (np.float32([np.inf, 1]), np.float32([-np.inf, 1]), 1, "inf", "inf"),
    (np.float32([np.inf]), np.float32([1.0]), 1, "inf", "inf"),
    (np.float32([np.nan]), np.float32([1.0]), 1, "inf", "inf"),
    (NAN[:1], NAN[1:], 1, "inf", "inf"),
    (np.int64([2**62, -2**63]), np.int64([2**62 + 1, -2**63]), 1, 1.0, 2.0**-62),
    (np.int64([-2**63]), np.int64([2**63 - 1]), 1, 2.0**64, 2.0),
    (np.uint64([2**64 - 1]), np.uint64([2**64 - 2]), 1, 1.0, 2.0**-64),
    (np.uint8([0]), np.uint8([255]), 1, 255.0, 1.0), (np.bool_([True, True]), np.bool_([True, False]), 1, 1.0, 1.0),
    (np.complex64([3 + 4j]), np.complex64([3 + 0j]), 1, 4.0, 0.8),
    (np.complex128([1j, np.nan]), np.complex128([1j, 0]), 1, "inf", "inf"),
    (np.array([1.0, 2.0], ml_dtypes.bfloat16), np.array([1.0, 2.5], ml_dtypes.bfloat16), 1, 0.5, 0.2),
    (np.array([1.0, 2.0], ml_dtypes.float8_e4m3fn), np.array([1.0, 3.0], ml_dtypes.float8_e4m3fn), 1, 1.0, 1 / 3),
    (np.array([1, -2], ml_dtypes.int4), np.array([1, 2], ml_dtypes.int4), 1, 4.0, 2.0),
    (np.float16(1.5), np.float16(1.0), 1, 0.5, 1 / 3)])
def test_values_that_differ(compared, a, b, different, most, relative):
    value = compared({"x": a, "y": [1.0]}, {"x": b, "y": [1.0]})
    found, = value["tensors"]
    assert (found["name"], found["what"], found["elements"]) == ("variables/model/x", "values", a.size)
    assert (found["different"], found["most"]) == (different, most)
    assert found["relative"] == (relative if isinstance(relative, str) else pytest.approx(relative))


@pytest.mark.parametrize("a", [
    NAN, np.float32([np.inf, -np.inf]), np.complex128([complex("nan"), 1]), np.array([np.nan], ml_dtypes.bfloat16),
    np.array([np.nan, 1], ml_dtypes.float8_e5m2), np.zeros((0, 3), np.float32), np.float64(np.nan)])
def test_what_has_the_same_bits_is_the_same(compared, a):
    assert compared({"x": a}, {"x": a.copy()})["same"]
    assert compared({"x": a}, {"x": a.copy()}, "--atol", 1, "--rtol", 1)["same"]


@pytest.mark.parametrize("a, b, options, same", [
    ([1.0], [1.0009], ("--atol", "0.001"), True), ([1.0], [1.0011], ("--atol", "0.001"), False),
    ([1000.0], [1000.9], ("--rtol", "0.001"), True), ([1000.0], [1001.1], ("--rtol", "0.001"), False),
    ([1000.0], [1001.9], ("--rtol", "0.001", "--atol", "1"), True), ([0.0], [-0.0], ("--atol", "0"), False),
    ([0.0], [-0.0], ("--atol", "1e-30"), True), ([np.inf], [-np.inf], ("--rtol", "1"), False),
    ([np.inf], [1.0], ("--rtol", "1", "--atol", "1e300"), False), ([np.nan], [1.0], ("--rtol", "1"), False)])
def test_tolerances(compared, a, b, options, same):
    assert compared({"x": a}, {"x": b}, *options)["same"] is same


def test_shapes_dtypes_and_what_one_lacks(compared):
    value = compared({"shape": np.zeros((2, 3)), "dtype": np.float32([1, 2]), "here": [1.0], "both": [1.0]},
                     {"shape": np.zeros((3, 2)), "dtype": np.float64([1, 2.5]), "there": [1.0, 2.0], "both": [1.0]})
    found = {one["name"].split("/")[-1]: one for one in value["tensors"]}
    assert {name: one["what"] for name, one in found.items()} == {
        "shape": "shape", "dtype": "dtype", "here": "only in A", "there": "only in B"}
    assert found["shape"]["detail"] == "float64 [2, 3] → float64 [3, 2]" and found["there"]["elements"] == 2
    assert found["dtype"]["detail"] == "float32 [2] → float64 [2]"
    assert (found["dtype"]["different"], found["dtype"]["most"]) == (1, 0.5)


def test_names_that_keras_made_up_meet_by_their_place(compared):
    value = compared({"optimizer/arrays/0002/dense_kernel_momentum": [1.0, 2.0], "optimizer/arrays/0003/a": [1.0]},
                     {"optimizer/arrays/0002/dense_7_kernel_momentum": [1.0, 2.0], "optimizer/arrays/0003/b": [[1.0]]})
    assert [(one["name"], one["what"]) for one in value["tensors"]] == [
        ("optimizer/arrays/0003/a", "only in A"), ("optimizer/arrays/0003/b", "only in B")]
    value = compared({"optimizer/arrays/0002/dense_kernel_momentum": [1.0]},
                     {"optimizer/arrays/0002/dense_7_kernel_momentum": [2.0]})
    assert value["tensors"][0]["name"] == ("optimizer/arrays/0002/dense_kernel_momentum → "
                                           "optimizer/arrays/0002/dense_7_kernel_momentum")


def test_what_else_differs(compared):
    def session(position, losses):
        return {"random": {"seed": {"$array": 0}, "position": position, "gauss": {"$float": "nan"}},
                "history": [{"loss": losses}]}

    value = compared(
        {"x": [1.0]}, {"x": [1.0]},
        fields_a={"session": session(5, [1, 2]), "metrics": {"loss": 0.5}, "script": {"patience": 3}},
        fields_b={"session": session(6, [1]), "metrics": {"loss": 0.25}, "script": {"patience": 4}, "id": "another",
                  "run": "another", "created": 7.0, "generation": 9, "parent": "x"})
    assert [(one["name"], one["a"], one["b"]) for one in value["scalars"]] == [
        ("metrics/loss", 0.5, 0.25), ("script/patience", 3, 4), ("session/random/position", 5, 6),
        ("session/history/0/loss/1", 2, None)]


def test_tolerances_hold_for_metrics_too(compared):
    fields = {"fields_a": {"metrics": {"loss": 0.5}}, "fields_b": {"metrics": {"loss": 0.5001}}}
    assert not compared({"x": [1.0]}, {"x": [1.0]}, **fields)["same"]
    assert compared({"x": [1.0]}, {"x": [1.0]}, "--atol", "0.001", **fields)["same"]


def test_diff_of_damaged_and_missing_files(tmp_path, call):
    one, other = made(tmp_path / "a.h5", {"x": [1.0]}), made(tmp_path / "b.h5", {"x": [1.0]})
    spoil(other)
    status, out, err = call("diff", one, other)
    assert status == 1 and not out and "was altered" in err and other in err
    assert call("diff", one, tmp_path / "c.h5")[0] == 3
    assert call("diff", one, one, "--atol", "-1")[0] == 2


# -- export


def variables(path):
    """The model's variables of a golden file, by Keras's names."""
    head, tensors = reader.read_checkpoint(path)
    model, arrays = head.fields["session"]["variables"]["model"], list(tensors.values())
    return {name.split(":")[0]: arrays[place["$array"]]
            for name, place in zip(model["paths"], model["arrays"].values())}


def members():
    return sorted(name for name in os.listdir(os.path.dirname(GOLDEN)) if name.endswith("-fit.h5"))


def keras_part(path):
    """What plain Keras reads: attributes, and weights in their order."""
    found = {}
    with h5py.File(path, "r") as file:
        attributes = {name: bytes(value) if isinstance(value, bytes) else value for name, value in file.attrs.items()}
        for layer in file["model_weights"].attrs["layer_names"]:
            group = file["model_weights"][layer]
            for name in group.attrs["weight_names"]:
                found[layer.decode(), name.decode()] = group[name][()]
        others = set(file) - {"model_weights"}
    return attributes, found, others


@pytest.mark.parametrize("member", members())
def test_export_of_the_model_of_every_family(member, tmp_path, call):
    source, target = os.path.join(os.path.dirname(GOLDEN), member), str(tmp_path / "model.h5")
    status, out, err = call("export", source, target)
    assert status == 0 and not err and out.startswith(target)
    attributes, weights, others = keras_part(target)
    there, expected, _ = keras_part(source)
    assert others == set() and list(weights) == list(expected) and weights
    assert all(np.array_equal(weights[name], expected[name]) and weights[name].dtype == expected[name].dtype
               for name in expected)
    kept = {"model_config", "keras_version", "backend"}
    assert attributes == {name: value for name, value in there.items() if name in kept}
    assert os.path.getsize(target) < os.path.getsize(source) and not reader.is_ours(target)
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o644 and os.listdir(str(tmp_path)) == ["model.h5"]


def test_export_of_weights(tmp_path, call):
    target = str(tmp_path / "weights.h5")
    value = json.loads(call("export", GOLDEN, target, "--format", "weights", "--json")[1])
    attributes, weights, _ = keras_part(target)
    assert "model_config" not in attributes and list(weights) == list(keras_part(GOLDEN)[1])
    assert value == {"path": target, "format": "weights", "tensors": 19, "widened": [],
                     "checkpoint": "g000001-s0000000006-0d7cc024", "size_bytes": os.path.getsize(target)}


@pytest.mark.parametrize("form, load", [("npz", lambda path: dict(np.load(path))), ("safetensors", load_file)])
def test_export_of_arrays(form, load, tmp_path, call):
    target = str(tmp_path / "model.") + form
    assert call("export", GOLDEN, target)[0] == 0
    expected, found = variables(GOLDEN), load(target)
    assert set(found) == set(expected) and "gru_2/gru_cell/kernel" in found
    assert all(np.array_equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype
               for name in expected)
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o644 and len(os.listdir(str(tmp_path))) == 1
    assert call("export", GOLDEN, target, "--all", "--force")[0] == 0
    _, tensors = reader.read_checkpoint(GOLDEN)
    everything = load(target)
    assert set(everything) == set(tensors)
    assert all(np.array_equal(everything[name], tensors[name]) for name in tensors)


SMALL = {"bfloat16": np.array([1.5, -2.0], ml_dtypes.bfloat16),
         "float8": np.array([1.5, -2.0], ml_dtypes.float8_e4m3fn), "plain": np.float32([1.5, -2.0])}


@pytest.fixture
def small(tmp_path):
    names = list(SMALL)
    model = {"arrays": {"{:04d}/{}".format(n, name): {"$array": n} for n, name in enumerate(names)},
             "paths": ["layer/" + name + ":0" for name in names]}
    return made(tmp_path / "small.h5", SMALL, session={"variables": {"model": model}})


def test_small_floats_are_widened_where_they_must_be_and_that_is_told(small, tmp_path, call):
    status, _, err = call("export", small, tmp_path / "a.npz")
    found = dict(np.load(str(tmp_path / "a.npz")))
    assert status == 0 and "2 tensors" in err and "layer/bfloat16" in err
    assert {name: str(array.dtype) for name, array in found.items()} == dict.fromkeys(
        ["layer/bfloat16", "layer/float8", "layer/plain"], "float32")
    assert all(array.tolist() == [1.5, -2.0] for array in found.values())
    status, _, err = call("export", small, tmp_path / "a.safetensors")
    with open(str(tmp_path / "a.safetensors"), "rb") as handle:
        found = dict(safetensors.deserialize(handle.read()))
    assert status == 0 and not err
    assert {name: one["dtype"] for name, one in found.items()} == {
        "layer/bfloat16": "BF16", "layer/float8": "F8_E4M3", "layer/plain": "F32"}
    assert all(bytes(found["layer/" + name]["data"]) == array.tobytes() for name, array in SMALL.items())


def test_names_that_stand_twice_are_told_apart(tmp_path, call):
    model = {"arrays": {"0000/kernel": {"$array": 0}, "0001/kernel": {"$array": 1}}, "paths": ["dense/kernel"] * 2}
    source = made(tmp_path / "a.h5", {"a": [1.0], "b": [2.0]}, session={"variables": {"model": model}})
    call("export", source, tmp_path / "a.npz")
    assert {name: array.tolist() for name, array in np.load(str(tmp_path / "a.npz")).items()} == {
        "0000/kernel": [1.0], "0001/kernel": [2.0]}


def test_what_safetensors_cannot_hold(tmp_path, call):
    source = made(tmp_path / "a.h5", {"a": np.array([1], ml_dtypes.int4)})
    status, _, err = call("export", source, tmp_path / "a.safetensors", "--all")
    assert status in (1, 2) and "safetensors" in err and os.listdir(str(tmp_path)) == ["a.h5"]


def test_safetensors_that_is_not_installed(tmp_path, call, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    status, _, err = call("export", GOLDEN, tmp_path / "a.safetensors")
    assert status == 2 and "pip install 'keras_session_ext[export]'" in err and os.listdir(str(tmp_path)) == []


def test_export_overwrites_nothing(tmp_path, call):
    for name in ("a.h5", "a.npz", "a.safetensors"):
        (tmp_path / name).write_text("precious")
        status, _, err = call("export", GOLDEN, tmp_path / name)
        assert status == 2 and "--force" in err and (tmp_path / name).read_text() == "precious"
        assert call("export", GOLDEN, tmp_path / name, "--force")[0] == 0
        assert (tmp_path / name).read_bytes() != b"precious"
    assert sorted(os.listdir(str(tmp_path))) == ["a.h5", "a.npz", "a.safetensors"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path, call, monkeypatch):
    from keras_session_ext.checkpoint import export_formats

    write_npz = export_formats.write_npz
    monkeypatch.setattr(export_formats, "write_npz", lambda opened, path, tensors, told: (
        (tmp_path / "a.npz").write_text("precious"), write_npz(opened, path, tensors, told))[1])
    status, _, err = call("export", GOLDEN, tmp_path / "a.npz")
    assert status == 1 and "a.npz" in err and (tmp_path / "a.npz").read_text() == "precious"
    assert os.listdir(str(tmp_path)) == ["a.npz"]


@pytest.mark.parametrize("arguments, text", [
    (("x.weights.h5",), "save_weights"), (("x.txt",), "--format"), (("x",), "--format"), (("no/such/x.h5",), "folder"),
    (("",), ""), (("x.h5", "--all"), "--all"), (("x.h5", "--format", "pickle"), "pickle")])
def test_export_refuses(arguments, text, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = call("export", GOLDEN, *arguments)
    assert status == 2 and not out and text in err and os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("suffix", ["h5", "npz", "safetensors"])
def test_a_damaged_checkpoint_is_not_exported(suffix, tmp_path, call):
    source = str(tmp_path / "a.h5")
    with open(GOLDEN, "rb") as handle, open(source, "wb") as copy:
        copy.write(handle.read())
    spoil(source)
    status, _, err = call("export", source, tmp_path / ("b." + suffix))
    assert status == 1 and "was altered" in err and os.listdir(str(tmp_path)) == ["a.h5"]


def test_a_model_without_an_architecture(tmp_path, call):
    view = hdf5_layout.KerasView((("keras_version", b"3"),), (), (("dense", (("dense/kernel", 0),)),))
    source = write(tmp_path / "a.h5", view=view)
    status, _, err = call("export", source, tmp_path / "b.h5")
    assert status == 2 and "--format weights" in err and os.listdir(str(tmp_path)) == ["a.h5"]
    assert call("export", source, tmp_path / "b.h5", "--format", "weights")[0] == 0
    assert keras_part(str(tmp_path / "b.h5"))[1][("dense", "dense/kernel")].tolist() == [1.5, -2.5]


def test_thousands_of_layers_and_long_lists_of_names(tmp_path, call):
    names = ["layer_with_a_rather_long_name_{:05d}".format(number) for number in range(2500)]
    tensors = [Tensor("variables/" + name, "variables", np.float32([number])) for number, name in enumerate(names)]
    view = hdf5_layout.KerasView((("model_config", b"{}"),), (), tuple(
        (name, ((name + "/kernel", number),)) for number, name in enumerate(names)))
    source = write(tmp_path / "a.h5", tensors, view)
    assert call("export", source, tmp_path / "b.h5")[0] == 0
    with h5py.File(str(tmp_path / "b.h5"), "r") as file:
        assert "layer_names1" in file["model_weights"].attrs
        assert float(file["model_weights"][names[-1]][names[-1] + "/kernel"][0]) == 2499


def test_a_keras_part_that_leads_elsewhere_is_refused(tmp_path, call, monkeypatch):
    """An external link in the HDF5 part must not make us read another file."""
    keras = hdf5_layout._keras

    def leads_elsewhere(file, view, datasets):
        lacks = keras(file, view, datasets)
        del file["model_weights"]["dense"]
        file["model_weights"]["dense"] = h5py.ExternalLink(GOLDEN, "/model_weights/dense_5")
        return lacks

    view = hdf5_layout.KerasView((("model_config", b"{}"),), (), (("dense", (("dense/kernel", 0),)),))
    monkeypatch.setattr(hdf5_layout, "_keras", leads_elsewhere)
    source = write(tmp_path / "a.h5", view=view)
    monkeypatch.undo()
    status, _, err = call("export", source, tmp_path / "b.h5")
    assert status == 1 and "dense is a link out of its place" in err and os.listdir(str(tmp_path)) == ["a.h5"]
