"""What a loop of the script's own leads to: now, and when it began."""

from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np

from keras_session_ext.backend.contracts.session_access import SessionState
from keras_session_ext.backend.hooks.frame_scopes import Scope
from keras_session_ext.state import attribute_changes, model_objects, nested_tensors, plain_values, shared_objects
from keras_session_ext.state.columns import Columns
from keras_session_ext.state.live_names import Found, Held, Look, Own
from keras_session_ext.state.live_run import Run

#: arrays so small are kept whether they have changed or not: a process may make them anew
_SMALL_BYTES = 1 << 16
#: of what is larger no copy is kept
_LARGE_BYTES = 1 << 24


class LoopView:
    """What the kind asks of a loop.

    Args:
        run: the live run.
        scopes: gives the live variables of now.
        named: what the script names itself.
        ours: gives objects that are no state of the script's.

    Attributes:
        begun: fingerprints of what the script says of plain values, those of attributes behind "attribute ".
        things: what the script had made when its first loop began.
        session: what lives in the session of TensorFlow 1 that the loop runs.
        is_complete: whether all levels of the checkpoint are open again, so that nothing of it may be missing.
    """

    def __init__(self, run: Run, scopes: Callable[[], List[Scope]], named: Dict[str, Any],
                 ours: Callable[[], List[Any]]):
        self._run = run
        self.scopes = scopes
        self.named = named
        self._ours = ours
        self._runs: Dict[int, Run] = {}
        self._looked: Optional[Found] = None
        self.begun: Dict[str, str] = {}
        self._script: Dict[str, Held] = {}
        self.things: Optional[shared_objects.Things] = None
        self._walked: Optional[shared_objects.Walked] = None
        self.session: Optional[SessionState] = None
        self._of_session: Optional[Dict[str, Any]] = None
        self.is_complete = False

    @property
    def known(self) -> Dict[Any, str]:
        """The paths of what the script had made."""
        return {} if self.things is None else self.things.paths

    def walk(self, keep: bool = False) -> shared_objects.Walked:
        """All that variables lead to now; see `look`."""
        walked, self._walked = self._walked, None
        if walked is None:
            walked = shared_objects.walk(self.scopes(), self.named, self._run.family.engine)
        if keep:
            self._walked = walked
        return walked

    def look(self, keep: bool = False) -> Found:
        """What there is now.

        Args:
            keep: the next look, at the same place, is this one.
        """
        found, self._looked = self._looked, None
        if found is None:
            found = Look(self._run, self._ours()).all(self.scopes(), self.named)
            self._look_into_session(found)
        if keep:
            self._looked = found
        return found

    def _look_into_session(self, found: Found) -> None:
        """What lives in a session of TensorFlow 1 beside what the variables lead to."""
        session, family = self.session, self._run.family
        if session is not None:
            session.elsewhere = set(family.own_variables(self._run.model)).union(
                *(family.own_variables(model) for model in found.models.values()))
            found.objects.clear()  # layers, optimizers, variables: all that they hold lives in the session
            found.owns["session"] = Own(session, session.get_state, session.set_state, "Session")

    def restore_session(self, stored: Dict[str, Any]) -> None:
        """Its variables; what it drew and read once the loop has come to its place, for the way there draws, too."""
        assert self.session is not None
        self._of_session = stored
        self.session.set_variables(stored)
        if self.is_complete:
            self.session_goes_on()

    def session_goes_on(self) -> None:
        """All of the session is brought to where it was."""
        if self.session is not None and self._of_session is not None:
            self.session.set_state(self._of_session)
            for reason in self.session.reasons:
                self._run.report.because(reason)

    def functions_and_variables(self) -> Tuple[List[Any], List[Any]]:
        """What TensorFlow has made graphs of, and the variables that are captured beside the first model's."""
        found, family = self.look(keep=True), self._run.family
        known = [one for _, leaves in found.objects.values() for one in leaves]
        for model in found.models.values():
            known += [leaf.variable for leaf in [
                *family.model_variables(model), *family.metric_variables(model), *family.optimizer_variables(model)]]
        return found.functions, known

    def run_of(self, model: Any) -> Run:
        """One of the further models, as the other kinds see it."""
        if id(model) not in self._runs:
            made = self._runs[id(model)] = Run(self._run.family, model, [])
            if self._run.trains:
                made.feed = self._run.feed
            model_objects.begin(made)
        made = self._runs[id(model)]
        made.report, made.progress = self._run.report, self._run.progress
        return made

    def begin(self) -> Found:
        """Remembers what the script says of each plain value; what every process makes anew is captured in any case."""
        found = self.look()
        for model in found.models.values():
            self.run_of(model)
        said = {name: held for name, held in found.values.items() if not _is_small(held.packed.value)}
        self.begun = {name: nested_tensors.fingerprint(held.packed.plain()) for name, held in said.items()}
        self._script = {name: held._replace(packed=_copy_of(held.packed)) for name, held in said.items()}
        read = attribute_changes.read(found.places, self._run)
        self.begun.update({"attribute " + name: print_ for name, print_ in read.fingerprints().items()
                           if not _is_small(read.values[name])})
        return found

    def script_value(self, name: str) -> Tuple[Any, Optional[nested_tensors.Packed]]:
        """What a variable held when the loop began: the object, and a copy of it where it is not large."""
        held = self._script.get(name)
        return (None, None) if held is None else (held.live, held.packed)


def _copy_of(packed: nested_tensors.Packed) -> nested_tensors.Packed:
    large = sum(array.nbytes for _, array in plain_values.flatten(packed.value)[1]) > _LARGE_BYTES
    return packed if large else nested_tensors.Packed(**plain_values.copy(packed.plain()))


def _is_small(value: Any) -> bool:
    """Arrays, tensors and generators, and lists of such; numbers and text are the script's to say."""
    if isinstance(value, Columns):
        return value.have_arrays
    if isinstance(value, dict):
        return any(map(_is_small, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_is_small, value))
    if isinstance(value, (np.ndarray, np.generic)):
        return value.nbytes <= _SMALL_BYTES
    return attribute_changes.is_generator(value)
