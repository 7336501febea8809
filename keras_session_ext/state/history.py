"""What `fit` returns: `History.history` and its list of epochs."""

from typing import Any, Dict, List

import numpy as np

from keras_session_ext.state import tree

NAME = "history"


def _histories(run):
    return [peer for peer in run.peers if run.family.is_peer(peer, "History")]


def capture(run) -> List[Dict[str, Any]]:
    return [tree.copy({"history": _plain(peer.history), "epoch": list(peer.epoch)}) for peer in _histories(run)]


def _plain(history):
    return {name: [value if isinstance(value, (int, float, str)) else np.asarray(value)[()] for value in values]
            for name, values in history.items()}


def check(state, run) -> List[str]:
    return []


def restore(state, run) -> None:
    for peer, saved in zip(_histories(run), state):
        peer.history = saved["history"]
        peer.epoch = saved["epoch"]
