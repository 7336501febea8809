"""What a run on this machine has, in a store: for one that is trained without `mirror=`."""

import os
from typing import Callable, List

from keras_session_ext.checkpoint import reader
from keras_session_ext.errors import CheckpointCorrupt, CheckpointNotFound, DirectoryBusy, SessionError
from keras_session_ext.lifecycle import journal
from keras_session_ext.lifecycle.journal_segments import add_segment
from keras_session_ext.progress import CheckpointInfo
from keras_session_ext.store.local import LocalStore
from keras_session_ext.store.mirrored import MirroredStore
from keras_session_ext.store.remote import RemoteStore
from keras_session_ext.store.run_directory import RunDirectory


def mirror_run(directory: str, url: str, told: Callable[[CheckpointInfo], None],
               damaged: Callable[[str], None]) -> List[CheckpointInfo]:
    """Copies the checkpoints and the journal of a run to a store, the newest first; nothing is removed there.

    The run may be trained meanwhile. A checkpoint is verified before it is sent.

    Args:
        directory: of the run.
        url: of its second copy.
        told: is given each checkpoint that is there now, and was not before.
        damaged: is given the message of each one that is not sent.

    Returns:
        Those that were sent.

    Raises:
        DirectoryBusy: a live process trains there.
        SessionError: the store holds what this run has not seen, or cannot be written.
    """
    store = MirroredStore(LocalStore(directory), RemoteStore(url))
    sent: List[CheckpointInfo] = []
    try:
        if store.far.lock.take() is None:
            owner = store.far.lock.read()
            raise DirectoryBusy("A live process trains in {}: process {} on {}. A training with mirror= sends its "
                                "checkpoints itself.".format(url, owner.get("pid", "unknown"),
                                                             owner.get("host", "an unknown host")))
        infos = RunDirectory(directory).infos()
        _refuse_a_later_one(url, infos)
        store.look()
        for info in infos:
            staged = store.mirror(os.path.basename(info.path))
            if staged is None:
                continue
            try:
                reader.verify(info.path)
                staged.publish(lambda: None)
            except CheckpointCorrupt as error:
                damaged(str(error))
                continue
            except CheckpointNotFound:  # its training has given it up meanwhile
                continue
            finally:
                staged.discard()
            sent.append(info)
            told(info)
        _send_journal(directory, url)
        config = store.near.read_note("config.json")
        if config is not None:
            store.far.write_note("config.json", config)
    except OSError as error:
        raise SessionError("Cannot copy {} to {}: {}.".format(directory, url, error)) from error
    return sent


def _refuse_a_later_one(url: str, infos: List[CheckpointInfo]) -> None:
    there = RunDirectory(url).infos()
    newest = max([info.generation for info in infos], default=0)
    later = [info for info in there if info.generation > newest]
    if later or (there and infos and there[0].run != infos[0].run):
        raise SessionError(
            "{} holds {} (step {}), which this run has not seen. Expected a URL where nothing is, or an older state of "
            "the same run. Go on from there (directory={!r}), or choose another URL.".format(
                url, there[0].id, there[0].progress.step, url))


def _send_journal(directory: str, url: str) -> None:
    """The events that are not there yet."""
    there = journal.read_journal(url).events
    last = max([0] + [event.seq for event in there])
    new = [event for event in journal.read_journal(os.path.join(directory, journal.NAME)).events if event.seq > last]
    if new:
        add_segment(url, b"".join(map(journal.line_of, new)))
