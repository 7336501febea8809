"""Random state: Python, NumPy, the engine's globals and Keras's global seed generator.

The states at the start of the epoch travel with the data (data.py), because
they serve to make the epoch's batches again.
"""

from typing import Any, Dict, List

from keras_session_ext.backend.randomness import host_random
from keras_session_ext.state.live_run import Run

NAME = "random"


def capture(run: Run) -> Dict[str, Any]:
    return run.family.random_state(run.model)


def check(state: Dict[str, Any], run: Run) -> List[str]:
    return []


def restore(state: Dict[str, Any], run: Run) -> None:
    _put_back(state, run)


def _put_back(state: Dict[str, Any], run: Run) -> None:
    for reason in run.family.set_random_state(state, run.model):
        run.report.because(reason)


def settle(state: Dict[str, Any], run: Run) -> None:
    """Puts the snapshot's random state back after skipped batches were drawn again.

    A source that runs ahead has drawn for batches that training has not seen:
    its own draws stay, as nothing else has used that state. Its thread may be
    drawing right now, so that state is not even written to.
    """
    now = host_random.host_states()
    host = dict(state["host"])
    for name, then in state["host"].items():
        if name not in now or not run.feed.drew_ahead(name):
            continue
        if not run.feed.shares_draws(name):
            del host[name]
        elif not host_random.same(then, now[name]):
            run.report.because(
                "the {} runs ahead and draws from {}'s global random state, and so does something else; give "
                "the {} a generator of its own".format(run.feed.source, name, run.feed.source))
    _put_back(dict(state, host=host), run)
