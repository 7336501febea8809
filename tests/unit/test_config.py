"""Configs: every source and spelling, and everything that can be wrong with one, told with its place."""

import copy
import dataclasses
import enum
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import types
from typing import Any, Optional

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_session_ext
from keras_session_ext import units
from keras_session_ext.config import config_page, parse_yaml
from keras_session_ext.config.effective_settings import effective_config
from keras_session_ext.config.policy_makers import MAKERS, joined
from keras_session_ext.config.schema_file import properties, schema, schema_text, session_schema
from keras_session_ext.errors import ConfigError

ROOT = os.path.dirname(os.path.dirname(keras_session_ext.__file__))
DEFAULTS = {"save": {"every_epochs": 1, "every": 300, "on_signal": ["SIGTERM"]}, "keep": {"last": 3}, "restore": "auto",
            "background": True, "on_error": "warn", "verbose": 1, "group": False, "witness": True,
            "stop_is_final": True}


def in_effect(**settings):
    return dict(DEFAULTS, **settings)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder of its own, so that messages name files as they were given; and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("KERAS_SESSION__")]:
        monkeypatch.delenv(name)
    return tmp_path


def write(name, text):
    with open(name, "wb") as handle:
        handle.write(text if isinstance(text, bytes) else text.encode())
    return name


def problems(config, **options):
    with pytest.raises(ConfigError) as caught:
        effective_config(config, **options)
    error = caught.value
    lines = str(error).splitlines()
    assert lines[1:] == ["  - " + problem for problem in error.problems]
    count = len(error.problems)
    assert lines[0] == "The session's config has {} problem{}:".format(count, "" if count == 1 else "s")
    return error.problems


# -- what is wrong

WRONG = [
    ("session:\n  directory: runs/a\n  save:\n    every_stepz: 500\n", {}, [
        "train.yaml:4:5: save.every_stepz: unknown key; did you mean 'every_steps'?",
    ]),
    ("directory: runs/a\nsave: {every_steps: abc}\n", {}, [
        "train.yaml:2:21: save.every_steps: expected a positive whole number; received 'abc'",
    ]),
    ("directory: runs/a\nsave: {every_steps: 0}\n", {}, [
        "train.yaml:2:21: save.every_steps: expected a positive whole number; received 0",
    ]),
    ("directory: runs/a\nsave: {every_steps: 1.5, every_epochs: true}\n", {}, [
        "train.yaml:2:21: save.every_steps: expected a positive whole number; received 1.5",
        "train.yaml:2:40: save.every_epochs: expected a positive whole number; received true",
    ]),
    ("directory: runs/a\nsave: {every_steps: '500'}\n", {}, [
        "train.yaml:2:21: save.every_steps: expected a positive whole number; received '500'; write 500",
    ]),
    ("directory: runs/a\nsave: {every_steps: 1_000}\n", {}, [
        "train.yaml:2:21: save.every_steps: expected a positive whole number; received '1_000'; write 1000",
    ]),
    ("directory: runs/a\nsave: {every: 10:30}\n", {}, [
        "train.yaml:2:15: save.every: expected a duration such as 90s, 10m or 1h30m, or a number of seconds; "
        "received '10:30'; YAML reads 10:30 as text or as 630; write 10m30s",
    ]),
    ("directory: runs/a\nsave: {every: 1:30:00}\n", {}, [
        "train.yaml:2:15: save.every: expected a duration such as 90s, 10m or 1h30m, or a number of seconds; "
        "received '1:30:00'; YAML reads 1:30:00 as text or as 5400; write 1h30m",
    ]),
    ("directory: runs/a\nsave: {every: 10 minutes}\n", {}, [
        "train.yaml:2:15: save.every: expected a duration such as 90s, 10m or 1h30m, or a number of seconds; "
        "received '10 minutes'",
    ]),
    ("directory: runs/a\nsave: {every: 0s}\n", {}, [
        "train.yaml:2:15: save.every: expected a duration such as 90s, 10m or 1h30m, or a number of seconds; "
        "received '0s'",
    ]),
    ("directory: runs/a\nsave: {every: -5}\n", {}, [
        "train.yaml:2:15: save.every: expected a duration such as 90s, 10m or 1h30m, or a number of seconds; "
        "received -5",
    ]),
    ("directory: runs/a\nsave: {every: .inf}\nkeep: {every: .nan}\n", {}, [
        "train.yaml:2:15: save.every: expected a duration such as 90s, 10m or 1h30m, or a number of seconds; "
        "received inf",
        "train.yaml:3:15: keep.every: expected a duration such as 90s, 10m or 1h30m, or a number of seconds; "
        "received nan",
    ]),
    ("directory: runs/a\nsave: {overhead: {share: 1}}\n", {}, [
        "train.yaml:2:26: save.overhead.share: expected a number above 0 and below 1, such as 0.01 for one percent; "
        "received 1",
    ]),
    ("directory: runs/a\nsave: {overhead: {lose_at_most: 5x}}\n", {}, [
        "train.yaml:2:18: save.overhead.share: missing; expected a number above 0 and below 1, such as 0.01 for "
        "one percent",
        "train.yaml:2:33: save.overhead.lose_at_most: expected a duration such as 90s, 10m or 1h30m, or a number of "
        "seconds; received '5x'",
    ]),
    ("directory: runs/a\nsave: {on_best: {mode: max}}\n", {}, [
        "train.yaml:2:17: save.on_best.monitor: missing; expected the name of a metric, such as val_loss",
    ]),
    ("directory: runs/a\nsave: {on_best: {monitor: val_loss, mode: maxx}}\n", {}, [
        "train.yaml:2:43: save.on_best.mode: expected auto, min or max; received 'maxx'; did you mean 'max'?",
    ]),
    ("directory: runs/a\nsave: {on_best: ''}\n", {}, [
        "train.yaml:2:17: save.on_best.monitor: expected the name of a metric, such as val_loss; received ''",
    ]),
    ("directory: runs/a\nsave: {on_best: [val_loss]}\n", {}, [
        "train.yaml:2:17: save.on_best: expected the name of a metric, or a mapping with monitor and mode; "
        "received ['val_loss']",
    ]),
    ("directory: runs/a\nsave: {on_signal: [SIGTERM, SIGKILL]}\n", {}, [
        "train.yaml:2:29: save.on_signal[1]: expected the name of a signal that a process can catch, such as "
        "SIGTERM; received 'SIGKILL'",
    ]),
    ("directory: runs/a\nsave: {on_signal: sigterm}\n", {}, [
        "train.yaml:2:19: save.on_signal[0]: expected the name of a signal that a process can catch, such as "
        "SIGTERM; received 'sigterm'; did you mean 'SIGTERM'?",
    ]),
    ("directory: runs/a\nsave: {on_signal: SIGFOO}\n", {}, [
        "train.yaml:2:19: save.on_signal[0]: expected the name of a signal that a process can catch, such as "
        "SIGTERM; received 'SIGFOO'",
    ]),
    ("directory: runs/a\nsave: {on_signal: []}\n", {}, [
        "train.yaml:2:19: save.on_signal: expected the names of signals, such as [SIGTERM, SIGUSR1]; received []",
    ]),
    ("directory: runs/a\nsave: {on_signal: 15}\n", {}, [
        "train.yaml:2:19: save.on_signal: expected the names of signals, such as [SIGTERM, SIGUSR1]; received 15",
    ]),
    ("directory: runs/a\nsave: {}\n", {}, [
        "train.yaml:2:7: save: expected a mapping with at least one occasion, such as {every_steps: 500}; received "
        "{}; leave it out for the default",
    ]),
    ("directory: runs/a\nsave: 500\n", {}, [
        "train.yaml:2:7: save: expected a mapping with at least one occasion, such as {every_steps: 500}; received "
        "500",
    ]),
    ("directory: runs/a\nsave: [every_steps]\n", {}, [
        "train.yaml:2:8: save[0]: expected an entry with _target_ or class_path, for EverySteps, EveryEpochs, "
        "EverySeconds, Overhead, OnBest or OnSignal; received 'every_steps'",
    ]),
    ("directory: runs/a\nsave: {last: 3}\nkeep: {on_best: val_loss}\n", {}, [
        "train.yaml:2:8: save.last: unknown key; it belongs under keep",
        "train.yaml:3:8: keep.on_best: unknown key; did you mean 'best'?",
    ]),
    ("directory: runs/a\nsave: {directory: b}\n", {}, [
        "train.yaml:2:8: save.directory: unknown key; it belongs at the top, beside save",
    ]),
    ("directory: runs/a\nevery_steps: 5\nlast: 3\nmonitor: x\n", {}, [
        "train.yaml:2:1: every_steps: unknown key; it belongs under save or keep",
        "train.yaml:3:1: last: unknown key; it belongs under keep",
        "train.yaml:4:1: monitor: unknown key; it belongs under save.on_best or keep.best",
    ]),
    ("directory: runs/a\nevery_step: 5\n", {}, [
        "train.yaml:2:1: every_step: unknown key; did you mean 'every_steps', under save or keep?",
    ]),
    ("directory: runs/a\nsave: {every_n_train_steps: 5}\nkeep: {max_to_keep: 3}\n", {}, [
        "train.yaml:2:8: save.every_n_train_steps: unknown key; did you mean 'every_steps'?",
        "train.yaml:3:8: keep.max_to_keep: unknown key; did you mean 'last'?",
    ]),
    ("directory: runs/a\nzebra: 5\n", {}, [
        "train.yaml:2:1: zebra: unknown key; expected directory, save, keep, restore, background, on_error, "
        "verbose, group, witness, stop_is_final, staging, mirror or tensorboard",
    ]),
    ("directory: runs/a\n'a b\\n': 5\n", {}, [
        "train.yaml:2:1: 'a b\\\\n': unknown key; expected directory, save, keep, restore, background, on_error, "
        "verbose, group, witness, stop_is_final, staging, mirror or tensorboard",
    ]),
    ("directory: runs/a\nkeep: {size: 20g}\n", {}, [
        "train.yaml:2:14: keep.size: expected a size such as 20GB, or a number of bytes; received '20g'; write "
        "20GB or 20GiB",
    ]),
    ("directory: runs/a\nkeep: {size: 20Gib}\n", {}, [
        "train.yaml:2:14: keep.size: expected a size such as 20GB, or a number of bytes; received '20Gib'; write "
        "20GiB",
    ]),
    ("directory: runs/a\nkeep: {size: 0.1B}\n", {}, [
        "train.yaml:2:14: keep.size: expected a size such as 20GB, or a number of bytes; received '0.1B'",
    ]),
    ("directory: runs/a\nkeep: {size: lots}\n", {}, [
        "train.yaml:2:14: keep.size: expected a size such as 20GB, or a number of bytes; received 'lots'",
    ]),
    ("directory: runs/a\nkeep: {best: {n: 2}}\n", {}, [
        "train.yaml:2:14: keep.best.monitor: missing; expected the name of a metric, such as val_loss",
    ]),
    ("directory: runs/a\nkeep: {all: false}\n", {}, [
        "train.yaml:2:7: keep: expected a mapping with at least one rule, such as {last: 3}; received {}; leave it "
        "out for the default",
    ]),
    ("directory: runs/a\nkeep: {all: yes}\n", {}, [
        "train.yaml:2:13: keep.all: expected true or false; received 'yes'; write true",
    ]),
    ("directory: runs/a\nbackground: on\ngroup: off\n", {}, [
        "train.yaml:2:13: background: expected true or false; received 'on'; write true",
        "train.yaml:3:8: group: expected true or false; received 'off'; write false",
    ]),
    ("directory: runs/a\nbackground: 1\n", {}, [
        "train.yaml:2:13: background: expected true or false; received 1",
    ]),
    ("directory: runs/a\nrestore: atuo\n", {}, [
        "train.yaml:2:10: restore: expected auto, must, never, or the id or path of a checkpoint; received 'atuo'; "
        "did you mean 'auto'?",
    ]),
    ("directory: runs/a\nrestore: no\n", {}, [
        "train.yaml:2:10: restore: expected auto, must, never, or the id or path of a checkpoint; received 'no'",
    ]),
    ("directory: runs/a\nrestore: false\n", {}, [
        "train.yaml:2:10: restore: expected auto, must, never, or the id or path of a checkpoint; received false",
    ]),
    ("directory: runs/a\non_error: rise\n", {}, [
        "train.yaml:2:11: on_error: expected warn or raise; received 'rise'; did you mean 'raise'?",
    ]),
    ("directory: runs/a\nverbose: true\n", {}, [
        "train.yaml:2:10: verbose: expected 0 or 1; received true; write 1",
    ]),
    ("directory: runs/a\nverbose: loud\n", {}, [
        "train.yaml:2:10: verbose: expected 0 or 1; received 'loud'",
    ]),
    ("directory: runs/a\nverbose: '1'\n", {}, [
        "train.yaml:2:10: verbose: expected 0 or 1; received '1'; write 1",
    ]),
    ("directory: runs/a\nverbose: 2\n", {}, [
        "train.yaml:2:10: verbose: expected 0 or 1; received 2",
    ]),
    ("directory: ''\n", {}, [
        "train.yaml:1:12: directory: expected the path of a folder, or the URL of one in a store; received ''",
    ]),
    ("directory: [a]\n", {}, [
        "train.yaml:1:12: directory: expected the path of a folder, or the URL of one in a store; received ['a']",
    ]),
    ('directory: "a\\0b"\n', {}, [
        "train.yaml:1:12: directory: expected the path of a folder, or the URL of one in a store; received 'a\\x00b'",
    ]),
    ("session:\n  save: {every_steps: 5}\n", {}, [
        "train.yaml:2:3: directory: missing; expected the path of a folder, or the URL of one in a store",
    ]),
    ("session: {}\n", {}, [
        "train.yaml:1:10: directory: missing; expected the path of a folder, or the URL of one in a store",
    ]),
    ("session: {directory: null}\n", {}, [
        "train.yaml:1:10: directory: missing; expected the path of a folder, or the URL of one in a store",
    ]),
    ("session: 5\n", {}, [
        "train.yaml:1:10: expected a mapping with directory, tensorboard, or both; received 5",
    ]),
    ("session: [5]\n", {}, [
        "train.yaml:1:11: [0]: expected an entry with _target_ or class_path; received 5",
    ]),
    ("tensorboard: runs/tb\nverbose: 0\n", {}, [
        "train.yaml:1:1: directory: missing; expected the path of a folder, or the URL of one in a store",
    ]),
    ("tensorboard: {logdir: runs/tb}\n", {}, [
        "train.yaml:1:15: tensorboard.logdir: unknown key; did you mean 'log_dir'?",
    ]),
    ("tensorboard: 5\n", {}, [
        "train.yaml:1:14: tensorboard: expected the path of a folder, or a mapping with log_dir; received 5",
    ]),
    ("directory: ${dir}/a\nsave: {every_steps: '${n}'}\n", {}, [
        "train.yaml:1:12: directory: '${dir}' is an interpolation, and OmegaConf resolves those: pass its "
        "DictConfig",
        "train.yaml:2:21: save.every_steps: '${n}' is an interpolation, and OmegaConf resolves those: pass its "
        "DictConfig",
    ]),
    ("directory: ???\n", {}, [
        "train.yaml:1:12: directory: '???' stands for a value that must be given; give it",
    ]),
    ("directory: runs/a\ndirectory: runs/b\n", {}, [
        "train.yaml:2:1: directory: duplicate key; the first one is in line 1",
    ]),
    ("session: {directory: a}\nsession: {directory: b}\n", {}, [
        "train.yaml:2:1: session: duplicate key; the first one is in line 1",
    ]),
    ("directory: runs/a\n5: x\nnull: y\n? [a, b]\n: z\n", {}, [
        "train.yaml:2:1: expected text as a key; received 5; write '5'",
        "train.yaml:3:1: expected text as a key; received null; write 'null'",
        "train.yaml:4:3: expected text as a key; received a list",
    ]),
    ("directory: runs/a\n---\ndirectory: runs/b\n", {}, [
        "train.yaml:2:1: a second document begins here; keep one",
    ]),
    ("directory: !!python/object/apply:os.system [ls]\n", {}, [
        "train.yaml:1:12: directory: the tag !!python/object/apply:os.system is not supported; nothing but plain "
        "values is read",
    ]),
    ("directory: !env HOME\n", {}, [
        "train.yaml:1:12: directory: the tag !env is not supported; nothing but plain values is read",
    ]),
    ("directory: !!int abc\n", {}, [
        "train.yaml:1:12: directory: expected what the tag !!int says; received 'abc'",
    ]),
    ("session: &a\n  directory: runs/a\n  save: *a\n", {}, [
        "train.yaml:1:10: save: an alias that contains itself",
    ]),
    ("directory: runs/a\nsave: {every_steps: 5\n", {}, [
        "train.yaml:3:1: not YAML: expected ',' or '}', but got '<stream end>'",
    ]),
    ("directory: runs/a\n save: 5\n", {}, [
        "train.yaml:2:6: not YAML: mapping values are not allowed here",
    ]),
    ("directory: runs/a\n\tsave: 5\n", {}, [
        "train.yaml:2:1: not YAML: found character '\\t' that cannot start any token",
    ]),
    ("directory: *nothing\n", {}, [
        "train.yaml:1:12: not YAML: found undefined alias 'nothing'",
    ]),
    ("directory: a\x07b\n", {}, [
        "train.yaml:1:13: not YAML: special characters are not allowed",
    ]),
    ("<<: 5\ndirectory: runs/a\n", {}, [
        "train.yaml:1:5: '<<': expected a mapping; received 5",
    ]),
    ("# nothing\n", {}, [
        "train.yaml:1:1: there is nothing in it; expected a mapping with directory, tensorboard, or both",
    ]),
    ("\n", {}, [
        "train.yaml: the file is empty",
    ]),
    ("hello\n", {}, [
        "train.yaml:1:1: expected a mapping with directory, tensorboard, or both; received 'hello'",
    ]),
    ("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nsession: {save: "
     "[*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]}\n", {}, [
        "train.yaml:3:10: more than 1000 values, aliases counted each time",
    ]),
    ("directory: " + "[" * 2000, {}, [
        "train.yaml: nested too deeply",
    ]),
    ("directory: " + "[" * 40 + "]" * 40, {}, [
        "train.yaml:1:44: directory: nested deeper than 32 levels",
    ]),
    ("model: {}\ntrainer: {session: {directory: a}}\n", {}, [
        "train.yaml:1:1: found no setting of this package among the keys model or trainer; pass "
        "key='trainer.session'",
    ]),
    ("model: {}\ncallbacks:\n  checkpoint: {_target_: keras_session_ext.SessionCheckpoint, directory: a}\n", {}, [
        "train.yaml:1:1: found no setting of this package among the keys model or callbacks; pass key='callbacks'",
    ]),
    ("model: {}\ntrainer: {}\n", {}, [
        "train.yaml:1:1: found no setting of this package among the keys model or trainer; name the key that holds "
        "them, as in key='trainer.session'",
    ]),
    ("sesion: {directory: a}\n", {}, [
        "train.yaml:1:1: sesion: unknown key; did you mean 'session'?",
    ]),
    ("{}\n", {}, [
        "train.yaml:1:1: there is nothing in it; expected a mapping with directory, tensorboard, or both",
    ]),
    ("trainer: {session: {directory: a}}\n", dict(key="trainer.sesion"), [
        "train.yaml:1:10: trainer.sesion: no such key; did you mean 'session'?",
    ]),
    ("trainer: {session: {directory: a}}\n", dict(key="triner.session"), [
        "train.yaml:1:1: triner: no such key; did you mean 'trainer'?",
    ]),
    ("trainer: 5\n", dict(key="trainer.session"), [
        "train.yaml:1:10: trainer: expected a mapping that has 'session'; received 5",
    ]),
    ("trainer: {}\n", dict(key="trainer.session"), [
        "train.yaml:1:10: trainer.session: no such key; there is none",
    ]),
    ("directory: a\n", dict(key=5), [
        "train.yaml:1:1: expected text such as 'trainer.session' as key=; received 5",
    ]),
    ("directory: a\n", dict(key=""), [
        "train.yaml:1:1: '': no such key; there is directory",
    ]),
    ("_target_: keras.callbacks.EarlyStopping\npatience: 3\n", {}, [
        "train.yaml:1:11: _target_: expected SessionCheckpoint or SessionLogger of keras_session_ext; received "
        "'keras.callbacks.EarlyStopping'; nothing of other packages is imported or run",
    ]),
    ("callbacks: {_target_: keras.callbacks.EarlyStopping}\n", dict(key="callbacks"), [
        "train.yaml:1:23: _target_: expected SessionCheckpoint or SessionLogger of keras_session_ext; received "
        "'keras.callbacks.EarlyStopping'; nothing of other packages is imported or run",
    ]),
    ("callbacks:\n  checkpoint: {_target_: keras_session_ext.SessionCheckpoint, directory: a}\n  stop: {_target_: "
     "keras.callbacks.EarlyStopping}\n  x: 5\n", dict(key="callbacks"), [
        "train.yaml:3:20: stop._target_: expected SessionCheckpoint or SessionLogger of keras_session_ext; "
        "received 'keras.callbacks.EarlyStopping'; nothing of other packages is imported or run: move it out of "
        "here, or name the part that is ours with key=",
        "train.yaml:4:6: x: expected an entry with _target_ or class_path; received 5",
    ]),
    ("callbacks:\n- {_target_: SessionCheckpoint, directory: a}\n- {class_path: SessionCheckpoint, init_args: "
     "{directory: b}}\n- {_target_: SessionLogger, log_dir: a}\n- {_target_: SessionLogger, log_dir: b}\n",
     dict(key="callbacks"), [
        "train.yaml:3:16: [1].class_path: a second SessionCheckpoint; keep one",
        "train.yaml:5:14: [3]._target_: a second SessionLogger; keep one",
    ]),
    ("callbacks:\n- {_target_: SessionCheckpoint, save: {_target_: EverySteps}}\n", dict(key="callbacks"), [
        "train.yaml:2:3: directory: missing; expected the path of a folder, or the URL of one in a store",
        "train.yaml:2:39: [0].save: EverySteps needs n",
    ]),
    ("callbacks:\n- {_target_: SessionLogger, logdir: tb}\n", dict(key="callbacks"), [
        "train.yaml:2:29: tensorboard.logdir: unknown key; did you mean 'log_dir'?",
    ]),
    ("callbacks:\n- {class_path: SessionLogger, log_dir: tb}\n", dict(key="callbacks"), [
        "train.yaml:2:3: tensorboard.log_dir: missing; expected the path of a folder",
        "train.yaml:2:31: [0].log_dir: unknown key; arguments belong under init_args",
    ]),
    ("callbacks:\n- {class_path: SessionLogger, init_args: tb}\n", dict(key="callbacks"), [
        "train.yaml:2:3: tensorboard.log_dir: missing; expected the path of a folder",
        "train.yaml:2:42: [0].init_args: expected a mapping; received 'tb'",
    ]),
    ("directory: a\nsave: {_target_: os.system, command: ls}\n", {}, [
        "train.yaml:2:18: save._target_: expected EverySteps, EveryEpochs, EverySeconds, Overhead, OnBest or "
        "OnSignal of "
        "keras_session_ext; received 'os.system'; nothing of other packages is imported or run",
    ]),
    ("directory: a\nsave: {_target_: KeepLast, n: 3}\nkeep: {_target_: keras_session_ext.EverySteps, n: 3}\n", {}, [
        "train.yaml:2:18: save._target_: expected EverySteps, EveryEpochs, EverySeconds, Overhead, OnBest or OnSignal; "
        "received KeepLast, which belongs under keep",
        "train.yaml:3:18: keep._target_: expected KeepLast, KeepBest, KeepEvery, KeepSize or KeepAll; received "
        "EverySteps, which belongs under save",
    ]),
    ("directory: a\nsave: [{_target_: EverySteps, n: 3}, {_target_: EverySteps, n: 4}]\n", {}, [
        "train.yaml:2:38: save[1]: every_steps is given twice; keep one",
    ]),
    ("directory: a\nsave: [{_target_: EverySteps, k: 3}, 7, {_target_: EverySteps, n: zwei}]\n", {}, [
        "train.yaml:2:31: save[0].k: EverySteps has no such argument; expected n",
        "train.yaml:2:38: save[1]: expected an entry with _target_ or class_path, for EverySteps, EveryEpochs, "
        "EverySeconds, Overhead, OnBest or OnSignal; received 7",
        "train.yaml:2:67: save.every_steps: expected a positive whole number; received 'zwei'",
    ]),
    ("directory: a\nkeep: [{_target_: KeepEvery, steps: 3, epochs: 1}, {_target_: KeepAll, n: 3}]\n", {}, [
        "train.yaml:2:8: keep[0]: KeepEvery takes exactly one of steps, epochs or seconds",
        "train.yaml:2:72: keep[1].n: KeepAll has no such argument",
    ]),
    ("directory: a\nsave: [{_target_: 5}]\n", {}, [
        "train.yaml:2:19: save[0]._target_: expected EverySteps, EveryEpochs, EverySeconds, Overhead, OnBest or "
        "OnSignal of "
        "keras_session_ext; received 5; nothing of other packages is imported or run",
    ]),
    ("directory: a\nsave: {_target_: '${x}'}\n", {}, [
        "train.yaml:2:18: save._target_: '${x}' is an interpolation, and OmegaConf resolves those: pass its "
        "DictConfig",
    ]),
    ("directory: a\ntensorboard: {_target_: SessionCheckpoint, directory: a}\n", {}, [
        "train.yaml:2:25: tensorboard._target_: expected SessionLogger; received SessionCheckpoint",
    ]),
    ("_target_: keras_session_ext.EverySteps\nn: 3\n", {}, [
        "train.yaml:1:11: _target_: expected SessionCheckpoint or SessionLogger; received EverySteps, which "
        "belongs under save",
    ]),
    ("directory: a\n", dict(overrides=["save.every_steps=abc"]), [
        "override 'save.every_steps=abc': save.every_steps: expected a positive whole number; received 'abc'",
    ]),
    ("directory: a\n", dict(overrides=["save.every_stepz=5", "save.every_steps", "=5", "a b=5", 7, "save..x=5"]), [
        "override 'save.every_stepz=5': save.every_stepz: unknown key; did you mean 'every_steps'?",
        "override 'save.every_steps': expected name=value, as in save.every_steps=100",
        "override '=5': expected name=value, as in save.every_steps=100",
        "override 'a b=5': expected name=value, as in save.every_steps=100",
        "override 7: expected name=value, as in save.every_steps=100",
        "override 'save..x=5': expected name=value, as in save.every_steps=100",
    ]),
    ("directory: a\n", dict(overrides=["session.verbose=0"]), [
        "override 'session.verbose=0': session: unknown key; leave it out: names begin below session",
    ]),
    ("directory: a\n", dict(overrides="verbose=0"), [
        "overrides: expected a list such as ['save.every_steps=100']; received 'verbose=0'",
    ]),
    ("directory: a\n", dict(overrides=5), [
        "overrides: expected a list such as ['save.every_steps=100']; received 5",
    ]),
    ("directory: a\n", dict(overrides=["save={every: 1, every: 2}", "keep=[", "verbose=0\n---\n1"]), [
        "override 'save={every: 1, every: 2}': save.every: duplicate key; keep one",
        "override 'keep=[': keep: not YAML: expected the node content, but found '<stream end>'",
        "override 'verbose=0\\n---\\n1': verbose: a second document begins here; keep one",
    ]),
    ("directory: a\nsave: {every_steps: 5}\n", dict(overrides=["save.every_steps=null"]), [
        "train.yaml:2:7: save: expected a mapping with at least one occasion, such as {every_steps: 500}; received "
        "{}; leave it out for the default",
    ]),
    ("directory: a\n", dict(variables={"KERAS_SESSION__SAVE__EVERY_STEPS": "abc"}), [
        "KERAS_SESSION__SAVE__EVERY_STEPS: save.every_steps: expected a positive whole number; received 'abc'",
    ]),
    ("directory: a\nverbose: 3\n", dict(overrides=["on_error=5"], variables={
        "KERAS_SESSION__GROUP": "yes", "KERAS_SESSION____X": "1", "KERAS_SESSION__SAVE__EVRY": "5m"}), [
        "train.yaml:2:10: verbose: expected 0 or 1; received 3",
        "KERAS_SESSION__GROUP: group: expected true or false; received 'yes'; write true",
        "KERAS_SESSION__SAVE__EVRY: save.evry: unknown key; did you mean 'every'?",
        "KERAS_SESSION____X: expected a name such as KERAS_SESSION__SAVE__EVERY_STEPS",
        "override 'on_error=5': on_error: expected warn or raise; received 5",
    ]),
    ("directory: a\n", dict(overrides=["checkpoint=null", "_target_=x"]), [
        "override 'checkpoint=null': checkpoint: unknown key; expected directory, save, keep, restore, background, "
        "on_error, verbose, group, witness, stop_is_final, staging, mirror or tensorboard",
        "override '_target_=x': _target_: unknown key; expected directory, save, keep, restore, background, on_error, "
        "verbose, group, witness, stop_is_final, staging, mirror or tensorboard",
    ]),
    ("session: null\n", dict(overrides=["save.every_stepz=5"]), [
        "override 'save.every_stepz=5': save.every_stepz: unknown key; did you mean 'every_steps'?",
    ]),
]


@pytest.mark.parametrize("text, options, expected", WRONG)
def test_what_is_wrong_is_told_with_its_place(text, options, expected, monkeypatch):
    options = dict(options)
    for name, value in options.pop("variables", {}).items():
        monkeypatch.setenv(name, value)
    assert problems(write("train.yaml", text), **options) == expected


DURATION = "expected a duration such as 90s, 10m or 1h30m, or a number of seconds; received "


@pytest.mark.parametrize("name, text, expected", [
    ("train.json", '{"directory": "a",\n "directory": "b", "verbose": 7}', [
        "train.json:2:2: directory: duplicate key; the first one is in line 1",
        "train.json:2:31: verbose: expected 0 or 1; received 7"]),
    ("train.json", '{"directory": "a", "save": {"every": NaN},\n\t"keep": {"every": -Infinity, "last": 1e999}}', [
        "train.json:1:38: save.every: NaN is no number of JSON",
        "train.json:2:20: keep.every: -Infinity is no number of JSON",
        "train.json:2:39: keep.last: expected a positive whole number; received inf"]),
    ("train.json", '{"directory": "a",\n "save": }', ["train.json:2:10: not JSON: Expecting value"]),
    ("train.json", "", ["train.json: the file is empty"]),
    ("train.json", "null", [
        "train.json:1:1: there is nothing in it; expected a mapping with directory, tensorboard, or both"]),
    ("train.json", "[" * 100000, ["train.json: nested too deeply"]),
    ("train.json", '{"directory": "a", "verbose": ' + "9" * 5000 + "}", [
        "train.json:1:31: verbose: a number with too many digits"]),
    ("train.toml", 'directory = "a"\n[save]\nevery_stepz = 5\nevery = "10:30"\n', [
        "train.toml:3:1: save.every_stepz: unknown key; did you mean 'every_steps'?",
        "train.toml:4:9: save.every: " + DURATION + "'10:30'; YAML reads 10:30 as text or as 630; write 10m30s"]),
    ("train.toml", '[session]\nsave = {every = nan, every_epochs = 0}\ndirectory = 2024-01-01\nkeep.last = "x"\n', [
        "train.toml:2:17: save.every: " + DURATION + "nan",
        "train.toml:2:37: save.every_epochs: expected a positive whole number; received 0",
        "train.toml:4:13: keep.last: expected a positive whole number; received 'x'"]),
    ("train.toml", '[session.save]\non_best = {\n  monitor = 5 }\n', None),
    ("train.toml", '[[callbacks]]\n_target_ = "x.y"\n[[callbacks]]\n_target_ = 1\n[session]\nverbose = 2\n', [
        "train.toml:5:2: directory: missing; expected the path of a folder, or the URL of one in a store",
        "train.toml:6:11: verbose: expected 0 or 1; received 2"]),
    ("train.toml", 'directory = "a"\ndirectory = "b"\n', None),
    ("train.toml", 'directory = "a\n', None),
    ("train.txt", "directory: a", ["train.txt: expected a file that ends in .yaml, .yml, .json or .toml"]),
    ("train.yaml", b"directory: \xff\n", ["train.yaml: not UTF-8: byte 0xff at position 11"]),
    ("train.yaml", "directory: a\n" + "#" * (1 << 20), ["train.yaml: larger than 1 MiB; a config is a small file"]),
])
def test_what_is_wrong_in_files_of_other_forms(name, text, expected):
    found = problems(write(name, text))
    if expected is None:  # the words are those of the TOML parser, which differ between versions
        (line,) = found
        assert re.match(r"train\.toml:\d+:\d+: not TOML: \w", line)
    else:
        assert found == expected


@pytest.mark.parametrize("config, expected", [
    ("trian.yaml", "trian.yaml: no such file; did you mean 'train.yaml'?"),
    ("other.json", "other.json: no such file"),
    ("conf/train.yaml", "conf/train.yaml: no such file; there is no folder 'conf'"),
    (".", ".: expected a .yaml, .yml, .json or .toml file; this is a directory"),
    ("pipe.yaml", "pipe.yaml: cannot be read: not a regular file"),
    ("a\0.yaml", "'a\\x00.yaml': no file can have such a name"),
    ("\ud800.yaml", "'\\ud800.yaml': no file can have such a name"),
    ("", "config: no such file"),
    ("directory: runs/a\n", "'directory: runs/a\\n': no such file; there is no folder 'directory: runs'"),
    (5, "config: expected the path of a .yaml, .yml, .json or .toml file, a mapping, a DictConfig or a dataclass "
        "instance; received 5"),
    (None, "config: expected the path of a .yaml, .yml, .json or .toml file, a mapping, a DictConfig or a dataclass "
           "instance; received None"),
    (b"train.yaml", "config: expected the path of a .yaml, .yml, .json or .toml file, a mapping, a DictConfig or a "
                    "dataclass instance; received b'train.yaml'"),
])
def test_a_source_that_cannot_be_read(config, expected):
    write("train.yaml", "directory: a")
    os.mkfifo("pipe.yaml")
    assert problems(config) == [expected]


def test_a_link_to_a_file_is_followed():
    write("real.yaml", "directory: a")
    os.symlink("real.yaml", "train.yaml")  # as in a mounted ConfigMap
    assert effective_config("train.yaml")["directory"] == "a"


def test_an_escape_that_is_no_character():
    (line,) = problems(write("train.yaml", 'directory: "\\UFFFFFFFF"\n'))
    assert line.startswith("train.yaml: not YAML: ")


class Odd:
    def __repr__(self):
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")

    __hash__ = None


class Failing(dict):
    def __getitem__(self, key):
        raise KeyError("no\nway")


LOOP: dict = {"directory": "a"}
LOOP["save"] = LOOP
DEEP: Any = "end"
for _ in range(200):
    DEEP = {"save": DEEP}


@pytest.mark.parametrize("config, expected", [
    ({"directory": "a", "save": {"every_steps": "x", "every_stepz": 5}}, [
        "config: save.every_steps: expected a positive whole number; received 'x'",
        "config: save.every_stepz: unknown key; did you mean 'every_steps'?"]),
    ({"verbose": 5, "save": {"every": -1}, "directory": 3}, [  # in the mapping's order
        "config: verbose: expected 0 or 1; received 5", "config: save.every: " + DURATION + "-1",
        "config: directory: expected the path of a folder, or the URL of one in a store; received 3"]),
    ({"directory": "a", "verbose": Odd(), "save": Odd()}, [
        "config: verbose: expected 0 or 1; received a Odd",
        "config: save: expected a mapping with at least one occasion, such as {every_steps: 500}; received a Odd"]),
    ({"directory": b"a", 5: 6}, [
        "config: expected text as a key; received 5",
        "config: directory: expected the path of a folder, or the URL of one in a store; received b'a'"]),
    (Failing(directory="a"), ["config: directory: cannot be read: KeyError: 'no\\nway'"]),
    (LOOP, ["config: save: a mapping or list that contains itself"]),
    (DEEP, ["config: save: nested deeper than 32 levels"]),
    ({"directory": "a", "save": {"on_signal": ["SIGTERM"] * 5000}}, [
        "config: more than 1000 values, aliases counted each time"]),
    ({"directory": "x" * 100 + "\n", "save": "y" * 100}, [
        "config: save: expected a mapping with at least one occasion, such as {every_steps: 500}; received '"
        + "y" * 58 + "…"]),
    ([{"_target_": "SessionCheckpoint", "directory": "a", "save": None}, "x"], [
        "config: [1]: expected an entry with _target_ or class_path; received 'x'"]),
    ([], ["config: there is nothing in it; expected a mapping with directory, tensorboard, or both"]),
])
def test_what_is_wrong_in_a_mapping(config, expected):
    assert problems(config) == expected


def test_a_mapping_is_not_changed():
    config = {"session": {"directory": "a", "save": {"on_best": "loss", "every": "1m"}, "keep": None}}
    before = copy.deepcopy(config)
    effective_config(config, overrides=["save.every=2m", "keep.last=4"])
    assert config == before


def test_everything_is_told_at_once_file_before_environment_before_overrides(monkeypatch):
    monkeypatch.setenv("KERAS_SESSION__VERBOSE", "7")
    write("train.yaml", "session:\n  keep: {last: 0}\n  save: {every: soon}\n")
    assert problems("train.yaml", overrides=["group=maybe", "nonsense"]) == [
        "train.yaml:2:3: directory: missing; expected the path of a folder, or the URL of one in a store",
        "train.yaml:2:16: keep.last: expected a positive whole number; received 0",
        "train.yaml:3:17: save.every: " + DURATION + "'soon'",
        "KERAS_SESSION__VERBOSE: verbose: expected 0 or 1; received 7",
        "override 'group=maybe': group: expected true or false; received 'maybe'",
        "override 'nonsense': expected name=value, as in save.every_steps=100"]


def test_a_file_that_cannot_be_read_does_not_hide_wrong_overrides():
    assert problems("nothing.yaml", overrides=["x"]) == [
        "nothing.yaml: no such file", "override 'x': expected name=value, as in save.every_steps=100"]


def test_what_stands_elsewhere_in_a_file_does_no_harm():
    text = "model: !env X\nx: 1\nx: 2\nclasses: {0: a}\nloop: &l [*l]\nsession: {directory: a}\n"
    assert effective_config(write("train.yaml", text)) == in_effect(directory="a")


# -- what is right

FULL = {
    "directory": "runs/a",
    "save": {"every_steps": 500, "every_epochs": 1, "every": 600, "on_best": {"monitor": "val_loss", "mode": "auto"},
             "on_signal": ["SIGTERM", "SIGUSR1"]},
    "keep": {"last": 3, "best": {"monitor": "val_loss", "n": 1, "mode": "auto"}, "every_epochs": 10,
             "every_steps": 1000, "every": 3600, "size": 20000000000, "all": True},
    "restore": "auto", "background": True, "on_error": "warn", "verbose": 1, "group": False, "witness": True,
    "stop_is_final": True, "tensorboard": {"log_dir": "runs/a/tensorboard"},
}
FULL_YAML = """\
session:
  directory: runs/a
  save: {every_steps: 500, every_epochs: 1, every: 10m, on_best: val_loss, on_signal: [SIGTERM, SIGUSR1]}
  keep: {last: 3, best: {monitor: val_loss, n: 1, mode: auto}, every_epochs: 10, every_steps: 1000, every: 1h,
         size: 20GB, all: true}
  restore: auto
  background: true
  on_error: warn
  verbose: 1
  group: false
  tensorboard: {log_dir: runs/a/tensorboard}
"""
FULL_TOML = """\
[session]
directory = "runs/a"
restore = "auto"
tensorboard = "runs/a/tensorboard"
[session.save]
every_steps = 500
every_epochs = 1
every = "10m"
on_best = "val_loss"
on_signal = ["SIGTERM", "SIGUSR1"]
[session.keep]
last = 3
best = {monitor = "val_loss"}
every_epochs = 10
every_steps = 1000
every = "1h"
size = "20GB"
all = true
"""
HYDRA = {
    "_target_": "keras_session_ext.SessionCheckpoint", "_convert_": "all", "_recursive_": True, "directory": "runs/a",
    "save": [{"_target_": "keras_session_ext.EverySteps", "n": 500}, {"_target_": "keras_session_ext.EveryEpochs"},
             {"_target_": "keras_session_ext.policies.save.EverySeconds", "s": 600},
             {"_target_": "OnBest", "monitor": "val_loss"},
             {"_target_": "keras_session_ext.OnSignal", "_args_": ["SIGTERM", "SIGUSR1"]}, None],
    "keep": [{"_target_": "keras_session_ext.KeepLast", "n": 3},
             {"_target_": "keras_session_ext.policies.keep.KeepBest", "n": 1, "monitor": "val_loss"},
             {"_target_": "KeepEvery", "epochs": 10}, {"_target_": "KeepEvery", "steps": 1000},
             {"_target_": "KeepEvery", "seconds": "1h"},
             {"_target_": "keras_session_ext.KeepSize", "size_bytes": "20GB"},
             {"_target_": "keras_session_ext.KeepAll"}],
}
HYDRA_LOGGER = {"_target_": "keras_session_ext.callbacks.SessionLogger", "log_dir": "runs/a/tensorboard"}


def lightning(entry):
    """The same in Lightning's spelling."""
    if isinstance(entry, list):
        return [lightning(one) for one in entry]
    if not isinstance(entry, dict) or "_target_" not in entry:
        return entry
    arguments = {key: lightning(value) for key, value in entry.items() if key not in ("_target_", "_convert_",
                                                                                      "_recursive_")}
    if "_args_" in arguments:
        arguments["signals"] = arguments.pop("_args_")
    return {"class_path": entry["_target_"], "init_args": arguments} if arguments else {"class_path": entry["_target_"]}


@pytest.mark.parametrize("config, key", [
    ({"callbacks": {"checkpoint": HYDRA, "logger": HYDRA_LOGGER, "other": None}}, "callbacks"),
    ({"checkpoint": HYDRA, "tensorboard": HYDRA_LOGGER}, None),
    ({"session": [HYDRA_LOGGER, HYDRA, None]}, None),
    ([HYDRA, HYDRA_LOGGER], None),
    (dict(HYDRA, tensorboard=HYDRA_LOGGER), None),
    (dict({key: value for key, value in HYDRA.items() if not key.startswith("_")}, tensorboard=HYDRA_LOGGER), None),
    ({"trainer": {"callbacks": [lightning(HYDRA), lightning(HYDRA_LOGGER)]}}, "trainer.callbacks"),
    ({"a": lightning(HYDRA), "b": HYDRA_LOGGER}, None),
])
def test_the_spellings_of_hydra_and_lightning(config, key):
    assert effective_config(config, key=key) == FULL
    write("train.json", json.dumps(config))
    assert effective_config("train.json", key=key) == FULL


@pytest.mark.parametrize("config, expected", [
    (HYDRA_LOGGER, {"tensorboard": {"log_dir": "runs/a/tensorboard"}}),
    ({"callbacks": {"checkpoint": None, "logger": None}}, {}),
    ({"callbacks": [None]}, {}),
    ({"directory": "a", "save": {"class_path": "EveryEpochs"}}, in_effect(directory="a", save={"every_epochs": 1})),
    ({"directory": "a", "save": {
        "_target_": "OnSignal", "_args_": ["SIGUSR1"], "then": "requeue", "grace_seconds": "25s"}},
     in_effect(directory="a", save={"requeue_on_signal": ["SIGUSR1"], "grace": 25})),
    ({"directory": "a", "save": [{"class_path": "OnSignal", "init_args": {"then": None}}, {
        "class_path": "OnSignal", "init_args": {"signals": ["SIGUSR2"], "then": "requeue"}}]},
     in_effect(directory="a", save={"on_signal": ["SIGTERM"], "requeue_on_signal": ["SIGUSR2"]})),
    ({"directory": "a", "save": {"_target_": "OnSignal"}}, in_effect(directory="a", save={"on_signal": ["SIGTERM"]})),
    ({"directory": "a", "keep": {"_target_": "KeepBest", "monitor": "acc", "mode": "max"}},
     in_effect(directory="a", keep={"best": {"monitor": "acc", "n": 1, "mode": "max"}})),
    ({"directory": "a", "save": [{"_target_": "EverySteps", "n": 2}, {"_target_": "OnBest", "monitor": "loss"}]},
     in_effect(directory="a", save={"every_steps": 2, "on_best": {"monitor": "loss", "mode": "auto"}})),
])
def test_parts_of_other_spellings(config, expected):
    assert effective_config(config, key="callbacks" if "callbacks" in config else None) == expected


class Path(os.PathLike):
    def __fspath__(self):
        return "train.yaml"


def test_files_of_every_form():
    write("train.yaml", FULL_YAML)
    write("train.YML", "\ufeff" + FULL_YAML.replace("\n", "\r\n"))
    write("train.toml", FULL_TOML)
    write("train.json", json.dumps({"session": FULL}, indent=1))
    for config in ("train.yaml", "train.YML", "train.toml", "train.json", Path(), os.path.abspath("train.yaml")):
        assert effective_config(config) == FULL
        assert list(effective_config(config)) == list(FULL)


@dataclasses.dataclass
class Save:
    every_steps: Optional[int] = 500
    every_epochs: int = 1
    every: str = "10m"
    on_best: str = "val_loss"
    on_signal: tuple = ("SIGTERM", signal.SIGUSR1)
    nothing: dataclasses.InitVar = None


@dataclasses.dataclass
class Settings:
    directory: Any = "runs/a"
    save: Save = dataclasses.field(default_factory=Save)
    keep: Any = dataclasses.field(default_factory=lambda: FULL["keep"])
    restore: Optional[str] = None
    tensorboard: Any = "runs/a/tensorboard"


@dataclasses.dataclass
class Application:
    session: Settings
    learning_rate: float = 0.1


def test_dataclasses():
    assert effective_config(Application(Settings())) == FULL
    assert effective_config(Settings()) == FULL
    assert effective_config({"app": Settings()}, key="app") == FULL
    assert problems(Application(Settings(save=Save(every_steps=0)))) == [
        "config: save.every_steps: expected a positive whole number; received 0"]


def test_mappings_of_every_kind():
    class Restore(enum.Enum):
        MUST = "must"

    class Number:  # as of NumPy
        shape = ()

        def item(self):
            return 7

    config = types.MappingProxyType({"session": types.MappingProxyType({
        "directory": Path(), "save": {"every_steps": Number(), "on_signal": (signal.SIGTERM,)}, "restore": Restore.MUST,
        "keep": {"last": 2.0}})})
    assert effective_config(config) == in_effect(
        directory="train.yaml", save={"every_steps": 7, "on_signal": ["SIGTERM"]}, restore="must", keep={"last": 2})


def test_a_dictconfig():
    import omegaconf

    config = omegaconf.OmegaConf.create({
        "out": "runs", "bad": "${nothing}", "session": {
            "directory": "${out}/a", "save": {"every_steps": "${oc.decode:'500'}"}, "tensorboard": "${.directory}/tb"}})
    expected = in_effect(directory="runs/a", save={"every_steps": 500}, tensorboard={"log_dir": "runs/a/tb"})
    assert effective_config(config) == effective_config(config.session) == expected
    config.session.keep = {"last": "???", "best": "${nothing}"}
    config.session.restore = "???"
    lines = problems(config)
    assert lines[0] == "config: keep.last: '???' stands for a value that must be given; give it"
    assert lines[1].startswith("config: keep.best: cannot be read: InterpolationKeyError: ")
    assert lines[2:] == ["config: restore: '???' stands for a value that must be given; give it"]
    assert effective_config(config, overrides=["keep={last: 1, best: null}", "restore=must"]) == dict(
        expected, keep={"last": 1}, restore="must")
    hydra = omegaconf.OmegaConf.create({"callbacks": {"a": HYDRA, "b": HYDRA_LOGGER, "c": None}})
    assert effective_config(hydra, key="callbacks") == effective_config(hydra.callbacks) == FULL
    assert effective_config(omegaconf.OmegaConf.structured(Settings(save=omegaconf.MISSING)),
                            overrides=["save=" + json.dumps(FULL["save"])]) == FULL


@pytest.mark.parametrize("text, expected", [
    ("directory: a", in_effect(directory="a")),
    ("session: null", {}),
    ("session:\n", {}),
    ("session: {tensorboard: tb}", {"tensorboard": {"log_dir": "tb"}}),
    ("tensorboard: tb\ndirectory: null\nsave: null", {"tensorboard": {"log_dir": "tb"}}),
    ("directory: a\nsave: null\nkeep: ~\nrestore:\nverbose: null\ntensorboard: null", in_effect(directory="a")),
    ("directory: a\nkeep: {all: false, last: 012}", in_effect(directory="a", keep={"last": 12})),
    ("directory: a\nkeep: {last: 1e1, every: 1e-4}", in_effect(directory="a", keep={"last": 10, "every": 0.0001})),
    ("directory: a\nkeep: {last: 0x10, size: 0o17}", in_effect(directory="a", keep={"last": 16, "size": 15})),
    ("directory: 2024-01-01", in_effect(directory="2024-01-01")),
    ("directory: on", in_effect(directory="on")),
    ("directory: !!str 12", in_effect(directory="12")),
    ("directory: a\nrestore: g000001-s0000000412-9ad120b5",
     in_effect(directory="a", restore="g000001-s0000000412-9ad120b5")),
    ("directory: a\nrestore: runs/b/x.h5", in_effect(directory="a", restore="runs/b/x.h5")),
    ("directory: a\nsave: {every: '90'}", in_effect(directory="a", save={"every": 90})),
    ("directory: a\nsave: {every: 2.5}", in_effect(directory="a", save={"every": 2.5})),
    ("directory: a\nsave: {on_signal: SIGUSR1}", in_effect(directory="a", save={"on_signal": ["SIGUSR1"]})),
    ("directory: a\nsave: {on_best: {monitor: f1, mode: null}}",
     in_effect(directory="a", save={"on_best": {"monitor": "f1", "mode": "auto"}})),
    ("directory: a\nkeep: {best: acc}", in_effect(directory="a", keep={"best": {
        "monitor": "acc", "n": 1, "mode": "auto"}})),
    ("base: &b {directory: a, verbose: 0}\nsession: {<<: *b, verbose: 1}", in_effect(directory="a")),
    ("a: &a {verbose: 0}\nb: &b {verbose: 1, group: true}\nsession:\n  directory: a\n  <<: [*a, *b]",
     in_effect(directory="a", verbose=0, group=True)),
    ("d: &d runs/x\nsession: {directory: *d, tensorboard: *d}",
     in_effect(directory="runs/x", tensorboard={"log_dir": "runs/x"})),
])
def test_what_is_right(text, expected):
    assert effective_config(write("train.yaml", text)) == expected


@pytest.mark.parametrize("text, value", [
    ("1e-4", 1e-4), ("1E5", 1e5), ("-3", -3), ("+3", 3), ("012", 12), ("0x1F", 31), ("0o14", 12), ("1.", 1.0),
    (".5", 0.5),
    ("on", "on"), ("Yes", "Yes"), ("NO", "NO"), ("true", True), ("TRUE", True), ("False", False), ("tRUE", "tRUE"),
    ("~", None), ("Null", None), ("", None), ("nULL", "nULL"), ("10:30", "10:30"), ("1_000", "1_000"), ("0b1", "0b1"),
    ("2001-12-14", "2001-12-14"), (".inf", float("inf")), ("-.INF", -float("inf")), ("'5'", "5"), ("=", "="),
    ("<<", "<<"), ("!!float 5", 5.0), ("!!null x", None), ("0x", "0x"), ("1e", "1e"), ("+", "+"),
])
def test_scalars_of_yaml_1_2(text, value):
    found = parse_yaml.parse("a: " + text, "x").value["a"].value
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("text, seconds", [
    ("90s", 90), ("10m", 600), ("1h30m", 5400), ("2d", 172800), ("500ms", 0.5), ("1d2h3m4s5ms", 93784.005),
    ("1.5h", 5400), ("9" * 9 + "d", 999999999 * 86400),
    ("0.5", 0.5), ("7", 7), (7, 7), (0.25, 0.25), ("1m0s", 60), ("1s1ms", 1.001), (1e-9, 1e-9)])
def test_durations(text, seconds):
    assert units.seconds(text) == seconds
    assert effective_config({"directory": "a", "save": {"every": text}})["save"] == {"every": seconds}


@pytest.mark.parametrize("text, size", [
    ("20GB", 20 * 10**9), ("500MB", 5 * 10**8), ("1GiB", 2**30), ("1.5KiB", 1536), ("10 kB", 10**4), ("10KB", 10**4),
    ("1TB", 10**12), ("2TiB", 2**41), ("3MiB", 3 * 2**20), ("5B", 5), ("123", 123), (5, 5), (5.0, 5),
    ("9007199254740993", 9007199254740993), ("9" * 18 + "TiB", int("9" * 18) * 2**40)])
def test_sizes(text, size):
    assert units.size_bytes(text) == size
    assert effective_config({"directory": "a", "keep": {"size": text}})["keep"] == {"size": size}


@pytest.mark.parametrize("text", ["", " ", "m", "1x", "1h 30m", "30m1h", "1,5h", "-5m", "0", "0s", "0ms", "1e3", "inf",
                                  "nan", "١s", "10:30", "1m\n2", "9" * 10 + "s"])
def test_what_is_no_duration(text):
    assert problems({"directory": "a", "save": {"every": text}})


@pytest.mark.parametrize("text", ["", "GB", "0GB", "0", "-1GB", "1gb", "1G", "1Gb", "1PB", "1 0GB", "1e3", "٢GB"])
def test_what_is_no_size(text):
    assert problems({"directory": "a", "keep": {"size": text}})


def test_what_is_in_effect_is_itself_a_config_and_plain_json():
    for config in (FULL, {"directory": "a"}, {"tensorboard": "tb"}, {"directory": "a", "save": {"every": "500ms"}}):
        effective = effective_config(config)
        assert effective_config(json.loads(json.dumps(effective, allow_nan=False))) == effective
        assert effective_config({"session": effective}) == effective


# -- overrides and environment


def test_overrides_win_over_the_environment_and_that_over_the_file(monkeypatch):
    write("train.yaml", "session: {directory: a, save: {every_steps: 1, every_epochs: 1}, verbose: 1}")
    monkeypatch.setenv("KERAS_SESSION__SAVE__EVERY_STEPS", "2")
    monkeypatch.setenv("KERAS_SESSION__directory", "b")
    monkeypatch.setenv("keras_session__Verbose", "0")
    monkeypatch.setenv("KERAS_SESSIONX", "no")
    assert effective_config("train.yaml") == in_effect(
        directory="b", save={"every_steps": 2, "every_epochs": 1}, verbose=0)
    assert effective_config("train.yaml", overrides=["save.every_steps=3", "directory=c"]) == in_effect(
        directory="c", save={"every_steps": 3, "every_epochs": 1}, verbose=0)
    assert effective_config("train.yaml", env=False) == in_effect(directory="a", save={"every_steps": 1,
                                                                                      "every_epochs": 1})


@pytest.mark.parametrize("overrides, changed", [
    (["save.every=10m"], {"save": {"every_steps": 5, "every": 600, "on_best": {"monitor": "loss", "mode": "auto"}}}),
    (["save.every_steps=null"], {"save": {"on_best": {"monitor": "loss", "mode": "auto"}}}),
    (["save.every_steps="], {"save": {"on_best": {"monitor": "loss", "mode": "auto"}}}),
    (["save=null"], {}),
    (["save=null", "save.every_epochs=2"], {"save": {"every_epochs": 2}}),
    (["save={every_epochs: 2, every_steps: null}"], {"save": {"every_epochs": 2, "on_best": {
        "monitor": "loss", "mode": "auto"}}}),
    (["save.on_best.mode=max"], {"save": {"every_steps": 5, "on_best": {"monitor": "loss", "mode": "max"}}}),
    (["save.on_best=acc"], {"save": {"every_steps": 5, "on_best": {"monitor": "acc", "mode": "auto"}}}),
    (["save.on_signal=[SIGUSR1]", "save.on_signal=SIGTERM"], {"save": {
        "every_steps": 5, "on_best": {"monitor": "loss", "mode": "auto"}, "on_signal": ["SIGTERM"]}}),
    (["keep={_target_: keras_session_ext.KeepLast, n: 7}"], {"keep": {"last": 7}}),
    (["tensorboard=tb"], {"tensorboard": {"log_dir": "tb"}}),
    (["tensorboard.log_dir=tb"], {"tensorboard": {"log_dir": "tb"}}),
    (["directory=a=b c"], {"directory": "a=b c"}),
    (["verbose= 0 "], {"verbose": 0}),
    (["directory=null", "save=null", "tensorboard=tb"], None),
])
def test_overrides(overrides, changed):
    config = {"directory": "a", "save": {"every_steps": 5, "on_best": "loss"}}
    expected = {"tensorboard": {"log_dir": "tb"}} if changed is None else dict(
        in_effect(directory="a", save={"every_steps": 5, "on_best": {"monitor": "loss", "mode": "auto"}}), **changed)
    if overrides[0] == "save=null" and len(overrides) == 1:
        expected = in_effect(directory="a")
    assert effective_config(config, overrides=overrides) == expected
    assert effective_config(config, overrides=iter(overrides)) == expected


@pytest.mark.parametrize("overrides, expected", [
    ([], {}), (["verbose=0"], {}), (["save.every_steps=5"], {}),
    (["directory=a", "verbose=0"], in_effect(directory="a", verbose=0)),
    (["tensorboard=tb"], {"tensorboard": {"log_dir": "tb"}}),
    (["directory=null"], {}),
])
def test_what_is_switched_off_stays_off_until_a_place_is_given(overrides, expected):
    assert effective_config({"session": None}, overrides=overrides) == expected


def test_an_override_repairs_what_is_wrong_in_the_file():
    write("train.yaml", "directory: ${dir}\nverbose: 7\nrestore: '???'\n")
    assert effective_config("train.yaml", overrides=["directory=a", "verbose=0", "restore=never"]) == in_effect(
        directory="a", verbose=0, restore="never")


# -- anything


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["10m", "SIGTERM", "auto", "keras_session_ext.EverySteps", "SessionCheckpoint", "${x}", "???"]),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(
        st.text(max_size=6) | st.sampled_from(
            ["session", "_target_", "class_path", "init_args", "_args_", "n"]
            + sorted({path[-1] for path, _ in properties(session_schema())})), inside, max_size=6), max_leaves=25)


def a_dict_or_a_config_error(config, **options):
    try:
        effective = effective_config(config, **options)
    except ConfigError as error:
        assert error.problems and all(error.problems)
    else:
        json.dumps(effective, allow_nan=False)
        assert effective == {} or effective_config(effective, env=False) == effective


@given(JSON, st.none() | st.sampled_from(["session", "save", "a.b"]), st.lists(
    st.text(max_size=12) | st.builds("{}={}".format, st.sampled_from(["save", "keep.size", "x", "directory"]),
                                     st.text(max_size=8)), max_size=2))
@settings(max_examples=300, deadline=None)
def test_any_mapping_gives_settings_or_a_config_error(config, key, overrides):
    a_dict_or_a_config_error(config if isinstance(config, (dict, list)) else {"session": config}, key=key,
                             overrides=overrides)


def like(part):
    """Values that are nearly what the schema asks for."""
    values = JSON | st.sampled_from(part["examples"] + list(part.get("enum", ())))
    if "properties" in part:
        values |= st.fixed_dictionaries({key: like(part["properties"][key]) for key in part.get("required", ())})
        values |= st.dictionaries(st.sampled_from(list(part["properties"]) + ["x"]), st.none()).flatmap(
            lambda keys: st.fixed_dictionaries({key: like(part["properties"].get(key, {"examples": [1]}))
                                                for key in keys}))
    return values


@given(st.fixed_dictionaries({key: like(one) for key, one in session_schema()["properties"].items()}), st.sets(
    st.sampled_from(list(session_schema()["properties"]))))
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_nearly_right_gives_settings_or_a_config_error(config, without):
    a_dict_or_a_config_error({key: value for key, value in config.items() if key not in without})


YAML = st.text(max_size=60) | st.text(alphabet="ab:-[]{},&*!<>|?'\"#%@ \n\t10.~", max_size=60) | st.builds(
    "directory: {}\nsave: {}\n".format, st.text(max_size=20), st.text(max_size=20))


@given(YAML, st.sampled_from([".yaml", ".json", ".toml"]))
@settings(max_examples=300, deadline=None)
def test_any_text_in_a_file_gives_settings_or_a_config_error(text, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = write(os.path.join(folder, "train" + suffix), text.encode("utf-8", "surrogatepass"))
        a_dict_or_a_config_error(path)


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_json_files_read_like_mappings(config):
    with tempfile.TemporaryDirectory() as folder:
        a_dict_or_a_config_error(write(os.path.join(folder, "train.json"), json.dumps(config)))


# -- the schema and the page


def test_the_schema_is_one():
    jsonschema.Draft7Validator.check_schema(schema())
    assert json.loads(schema_text()) == schema()
    assert jsonschema.Draft7Validator(schema()).is_valid({"session": FULL, "model": {}})
    assert jsonschema.Draft7Validator(schema()).is_valid({"session": None})
    assert not jsonschema.Draft7Validator(schema()).is_valid({"sesion": FULL})


@pytest.mark.parametrize("path, part", [((), session_schema()), *properties(session_schema())], ids=lambda one: (
    ".".join(one) or "session" if isinstance(one, tuple) else ""))
def test_every_property_is_told_about(path, part):
    assert part["description"].endswith(".") and part["expected"] and part["examples"]
    validator = jsonschema.Draft7Validator(part)
    for value in part["examples"] + ([part["default"]] if "default" in part else []):
        validator.validate(value)
    assert part.get("additionalProperties", False) is False
    assert ("properties" in part) == ("additionalProperties" in part)
    parent = session_schema()
    for key in path[:-1]:
        parent = parent["properties"][key]
    if path:
        assert validator.is_valid(None) or path[-1] in parent["required"], "an editor must take null for off"
        assert not set(part.get("also", ())) & set(parent["properties"]) - {"last"} or path[-1] in ("best", "n")


def test_the_schema_is_that_of_the_callbacks_and_policies():
    parts = {path for path, _ in properties(session_schema()) if len(path) == 2 and path[0] in ("save", "keep")}
    assert set(MAKERS) == parts - {("save", "grace")}  # of those on a signal
    assert repr(joined("save", {"on_signal": ["SIGTERM"], "grace": 25})) == "OnSignal(SIGTERM, grace_seconds=25)"
    assert "requeue" in repr(joined("save", {"requeue_on_signal": ["SIGUSR1"], "grace": 25}))
    assert repr(joined("save", FULL["save"])) == (
        "EverySteps(500) | EveryEpochs(1) | EverySeconds(600) | OnBest('val_loss') | OnSignal(SIGTERM, SIGUSR1)")
    assert repr(joined("keep", FULL["keep"])) == (
        "KeepLast(3) | KeepBest(1, 'val_loss') | KeepEvery(epochs=10) | KeepEvery(steps=1000) | "
        "KeepEvery(seconds=3600) | KeepSize(20000000000) | KeepAll()")


PAGE = os.path.join(ROOT, "docs", "config.md")


def test_the_page_is_the_one_made_from_the_schema():
    with open(PAGE, encoding="utf-8") as handle:
        assert handle.read() == config_page.reference(), (
            "run: python -m keras_session_ext.config.config_page > docs/config.md")


def test_the_examples_on_the_page_are_configs():
    with open(PAGE, encoding="utf-8") as handle:
        blocks = re.findall(r"```yaml\n(.*?)```", handle.read(), re.DOTALL)
    assert len(blocks) >= 3
    for number, block in enumerate(blocks):
        assert effective_config(write("{}.yaml".format(number), block))["directory"] == "runs/a"


def test_nothing_heavy_is_imported():
    script = ("import sys; from keras_session_ext.config.effective_settings import effective_config; "
              "a = set(sys.modules); "
              "effective_config('train.yaml'); print([m for m in {} if m in sys.modules], [m for m in {} if m in a])")
    write("train.yaml", "directory: a")
    output = subprocess.check_output([sys.executable, "-c", script.format(
        ["keras", "tensorflow", "jax", "torch", "numpy", "h5py"], ["yaml", "jsonschema"])],
        env=dict(os.environ, PYTHONPATH=ROOT))
    assert output.decode().strip() == "[] []"


def test_a_config_error_without_problems_is_as_it_was():
    error = ConfigError("text")
    assert str(error) == "text" and error.problems == [] and error.args == ("text",)


def test_arguments_take_what_configs_take():
    """The schema and the arguments of Python have the same patterns for durations and sizes."""
    found = [one["pattern"] for _, one in properties(session_schema()) if "[1-9]" in one.get("pattern", "")]
    assert set(found) == {units.DURATION.pattern, units.SIZE.pattern} and len(found) == 5
