"""What a session is made of: one module per state kind.

A kind has a `NAME` and three functions, and knows of no other kind:

* `capture(run) -> plain value` on the training thread,
* `check(state, run) -> [problem, …]`, which changes nothing,
* `restore(state, run)`.

`run` is a `Run`. A new kind is one new file and one entry in `KINDS`.

A kind that consists of the model's variables has `leaves_of(run)` and `arrange(arrays, run)`, too: what is the same in
every snapshot of the same variables is then made once (run/structure.py), for there may be thousands.
"""

from types import ModuleType
from typing import Tuple

from keras_session_ext.state import (
    callbacks,
    data,
    history,
    loop_variables,
    model_objects,
    optimizer,
    random,
    variables,
)
from keras_session_ext.state.live_run import Run

#: in the order they are restored
KINDS = (variables, optimizer, model_objects, history, callbacks, random, data)


def kinds_of(run: Run) -> Tuple[ModuleType, ...]:
    """What a run is made of: a loop of the script's own has its variables, too."""
    return KINDS if run.loop is None else (*KINDS, loop_variables)


__all__ = ["KINDS", "Run", "callbacks", "data", "history", "kinds_of", "loop_variables", "model_objects", "optimizer",
           "random", "variables"]
