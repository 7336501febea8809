"""What an earlier process staged on this machine for a store, and could not send any more."""

import logging
from typing import Callable, List

from keras_session_ext.checkpoint import reader
from keras_session_ext.errors import CheckpointCorrupt
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.store.checkpoint_names import CHECKPOINT, place
from keras_session_ext.store.contract import Store

logger = logging.getLogger("keras_session_ext")


def publish_unsent(store: Store, generation: int, infos: Callable[[], List[CheckpointInfo]],
                   check: Callable[[], None]) -> None:
    """Publishes the newest of it, where that is newer than what the store has; older ones go.

    Args:
        store: of the run.
        generation: of this start.
        infos: gives the checkpoints of the store.
        check: as of `Staged.publish`.
    """
    left = {name: staged for name, staged in store.left_here().items() if CHECKPOINT.fullmatch(name)}
    done = set(store.names()) if left else set()
    for name in sorted(left, key=place, reverse=True):
        staged = left[name]
        try:
            if place(name)[0] >= generation:  # its run was removed, and this one has begun anew
                raise CheckpointCorrupt("it is of another run")
            if all(place(name) > place(other) for other in done if CHECKPOINT.fullmatch(other)):
                _refuse_foreign(reader.verify(str(staged.waits_in)).info, infos())
                staged.publish(check)
                done.add(name)
            staged.discard()
        except CheckpointCorrupt as error:  # or it cannot be read just now: it is kept
            logger.warning("A checkpoint that was not sent is put aside as %s: %s", staged.put_aside(), error)
        except OSError as error:
            logger.warning("%s waits on for the store: %s", staged.waits_in, error)
            return


def _refuse_foreign(info: CheckpointInfo, known: List[CheckpointInfo]) -> None:
    """One server may have a URL, and another one, too: what follows on a checkpoint belongs where its run is."""
    if known and info.parent is not None and all(one.run != info.run for one in known):
        raise CheckpointCorrupt("it is of another run")
