"""A snapshot: the session at one step, captured in memory."""

from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from keras_session_ext import __version__, state
from keras_session_ext.checkpoint import hdf5_layout
from keras_session_ext.checkpoint.arena import Lease
from keras_session_ext.checkpoint.encoder import CheckpointImage, Encoder, Tensor
from keras_session_ext.run import structure
from keras_session_ext.state import attributes_when_traced, components, plain_values


class Snapshot:
    """The session at one step, in memory.

    Args:
        fields: the header's, as JSON.
        tensors: every array; the snapshot alone holds them.
        view: what plain Keras is to find in the file.
        lease: where the first of them stand already, if so.
        why: tells what else is known against a resume from here, where it takes a while to find out.
        held: adds what several replicas have of variables, and returns what describes it.
    """

    def __init__(self, fields: Dict[str, Any], tensors: List[Tensor], view: hdf5_layout.KerasView,
                 lease: Optional[Lease], why: Callable[[], List[str]],
                 held: Optional[Callable[[List[Tensor]], Dict[str, Any]]] = None):
        self.fields = fields
        self._tensors: Optional[List[Tensor]] = tensors
        self._view = view
        self._lease = lease
        self._why = why
        self._held = held

    @property
    def is_spent(self) -> bool:
        """Whether it was made a file of."""
        return self._tensors is None

    def spend(self) -> "Snapshot":
        """Another one with all that this has; nothing is left here."""
        made = Snapshot(self.fields, self._tensors or [], self._view, self._lease, self._why, self._held)
        self._tensors = self._lease = self._held = None
        return made

    def image(self, encoder: Encoder, **fields: Any) -> CheckpointImage:
        """The file of it; the arrays are let go of while that is written.

        Args:
            encoder: makes it.
            fields: of the header, besides its own.
        """
        self.fields.update(fields, reasons=list(dict.fromkeys(self.fields["reasons"] + self._why())))
        tensors, lease = self._tensors or [], self._lease
        self._tensors = self._lease = None
        if self._held is not None:  # behind all others, whose numbers stand
            self.fields["session"][components.NAME] = self._held(tensors)
            self._held = None
        return encoder.encode(self.fields, tensors, self._view, lease)


def _nothing_else() -> List[str]:
    return []


def take_snapshot(run: state.Run, kinds: Sequence[ModuleType], fields: Dict[str, Any],
                  encoder: Optional[Encoder] = None, why: Callable[[], List[str]] = _nothing_else) -> Snapshot:
    """Captures the state kinds of a run.

    Args:
        run: what of.
        kinds: which.
        fields: of the header.
        encoder: knows where tensors that must be copied are to stand.
        why: adds to the header's reasons against an exact resume, when the file is made.
    """
    made = structure.structure_of(run)
    lease = encoder.lease(made.names, made.specs) if encoder is not None and run.family.engine.copies else None
    values = run.family.hold(made.leaves, None if lease is None else lease.placed)
    tensors = made.filled(values)
    held = components.hold(run, values)
    session, others = _capture(run, [kind for kind in kinds if kind not in structure.KINDS], len(tensors))
    made = structure.with_settings(run, made, session)
    fields = dict(fields, session=dict(made.session, **session), keras_view={"lacks": made.lacks},
                  versions=run.family.describe(), package=__version__)
    return Snapshot(fields, tensors + others, made.view, lease, why, held)


def prepare(run: state.Run, kinds: Sequence[ModuleType], fields: Dict[str, Any],
            encoder: Encoder) -> Callable[[], None]:
    """What the first file needs and later ones have.

    Returns:
        A function for the writer's thread; what only this thread may do is done.
    """
    session, others = _capture(run, [kind for kind in kinds if kind not in structure.KINDS], 0)
    known = None if run.family.any_thread else structure.structure_of(run)

    def work() -> None:
        made = structure.structure_of(run) if known is None else known
        run.family.engine.prepare([leaf.variable for leaf in made.leaves])
        tensors = made.filled([tensor.array for tensor in made.tensors]) + others
        head = dict(fields, session=dict(made.session, **session), keras_view={"lacks": made.lacks})
        encoder.prepare(encoder.encode(head, tensors, made.view))

    return work


def why_not_exact(run: state.Run) -> Tuple[List[str], Callable[[], List[str]]]:
    """What is known against a resume from here.

    Returns:
        What is known at once, and a function that tells the rest, which looks through the graphs of traced functions.
    """
    reasons = list(run.report.reasons) + state.data.why_not_exact(run) + attributes_when_traced.why_not_exact(run)
    if not run.progress.step:
        return reasons, _nothing_else
    beside = ((), ()) if run.loop is None else run.loop.functions_and_variables()
    if run.family.any_thread:
        return reasons, lambda: run.family.why_not_exact(run.model, *beside)
    return reasons + run.family.why_not_exact(run.model, *beside), _nothing_else


def _capture(run: state.Run, kinds: Sequence[ModuleType], count: int) -> Tuple[Dict[str, Any], List[Tensor]]:
    """The states of kinds, encoded, and their tensors, of which the first has the number `count`."""
    session: Dict[str, Any] = {}
    tensors: List[Tensor] = []
    for kind in kinds:
        def put(array: np.ndarray, path: str, name: str = kind.NAME) -> int:
            tensors.append(Tensor("{}/{}".format(name, path), name, array))
            return count + len(tensors) - 1

        session[kind.NAME] = plain_values.encode(kind.capture(run), put)
    return session, tensors
