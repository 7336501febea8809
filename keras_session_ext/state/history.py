"""What `fit` returns: `History.history` and its list of epochs."""

from typing import Any, Dict, List

import numpy as np

from keras_session_ext.state import plain_values
from keras_session_ext.state.live_run import Run

NAME = "history"


def _histories(run: Run) -> List[Any]:
    return [peer for peer in run.peers if run.family.is_peer(peer, "History")]


def capture(run: Run) -> List[Dict[str, Any]]:
    return [plain_values.copy({"history": _plain(peer.history), "epoch": list(peer.epoch)}) for peer in _histories(run)]


def _plain(history: Dict[str, List[Any]]) -> Dict[str, List[Any]]:
    return {name: [value if isinstance(value, (int, float, str)) else np.asarray(value)[()] for value in values]
            for name, values in history.items()}


def check(state: List[Dict[str, Any]], run: Run) -> List[str]:
    return []


def restore(state: List[Dict[str, Any]], run: Run) -> None:
    for peer, saved in zip(_histories(run), state):
        peer.history = saved["history"]
        peer.epoch = saved["epoch"]
