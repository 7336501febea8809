"""Python attributes and the steps that are traced: which values a step keeps, in whatever process it is traced.

A step that is traced reads Python attributes when it is traced, and never
again, and a resumed process traces anew. What was traced before the checkpoint
is to be traced with the values of then. So the steps of a resumed process get
these until a whole epoch is over, with its validation, in which each kind of
batch there is has come. On an engine that traces each shape, a checkpoint from
before the first such epoch in which attributes had changed already is not
exact: which shapes were traced with which values is not known.
"""

from typing import Any, Callable, Dict, List, Optional

from keras_session_ext.backend.hooks.watch_train_step import watch_train_step
from keras_session_ext.state import attribute_changes, plain_values, set_attributes
from keras_session_ext.state.live_run import Run
from keras_session_ext.state.model_objects import Seen, Values, look, places_of, read_when_traced, short_name

_TRACED_LATER = ("{} changed, and then a step was traced again, which keeps the value it is traced with; make it a "
                 "variable (add_weight), or compile with run_eagerly=True")
_BEFORE_AN_EPOCH = ("{} changed since the step was traced, within the first epoch, whose other batches are traced "
                    "later; make it a variable (add_weight), or compile with run_eagerly=True")

# -- what the steps of this process are traced with


def step_begins(run: Run) -> Callable[[], None]:
    """Right before the first step of this process, behind every peer's hook: what it is about to be traced with.

    Returns:
        A function to call right behind it.
    """
    if run.family.traces(run.model) is None:
        return lambda: None
    run.objects_traced = look(run)

    def traced() -> None:
        with run.family.engine.eagerly():  # TensorFlow traces a step that makes variables twice, and runs the second
            run.objects_traced = look(run)

    end = watch_train_step(run.model, traced)

    def over() -> None:
        end()
        run.objects_stepped, run.objects_traces = look(run), 0

    return over


def epoch_ends(run: Run, as_traced: bool) -> None:
    """All steps of an epoch were made, and its validation: what was traced in it was traced with the same values?

    Args:
        run: the live run.
        as_traced: they were made with the values of the first trace.
    """
    run.objects_settled = run.objects_settled or run.objects_stepped is not None
    traces = run.family.traces(run.model) or 0
    if run.objects_stepped is not None and traces > run.objects_traces and (
            as_traced or not _changed(run, run.objects_stepped)):
        run.objects_traces = traces


def _changed(run: Run, since: Seen) -> List[str]:
    """The attributes that are read when a step is traced, and have changed since."""
    found = []
    for key, subject, places in places_of(run):
        then, names = since.prints.get(id(subject), {}), read_when_traced(places)
        prints = attribute_changes.read(places, run).fingerprints()
        found += ["{}.{}".format(short_name(key), name) for name, print_ in prints.items()
                  if name in names and then.get(name) != print_]
    return found


def why_not_exact(run: Run) -> List[str]:
    """Reasons, asked at a save."""
    if run.objects_stepped is None:
        return []
    if (run.family.traces(run.model) or 0) > max(run.objects_traces, 1):
        names = _changed(run, run.objects_stepped)
        if names:
            return [_TRACED_LATER.format(", ".join(names))]
    if run.family.engine.traces_each_shape and not run.objects_settled:
        names = _changed(run, run.objects_traced)
        if names:
            return [_BEFORE_AN_EPOCH.format(", ".join(names))]
    return []


# -- in a resumed process


class TracedAttributes:
    """Gives the attributes the values that steps were traced with, in a resumed process, until an epoch is over.

    Args:
        state: of the checkpoint.
        run: the live run, before anything is restored: its attributes are as the script makes them.

    Attributes:
        validated: whether the checkpoint's process, or one before, had traced a validation.
    """

    def __init__(self, state: Dict[str, Any], run: Run):
        self._run = run
        self.validated = bool(state.get("validated", True))
        self._then: Values = {key: dict(values) for key, values in state["traced"].items()}
        for key, subject, places in places_of(run) if state["script"] else ():
            found = dict(attribute_changes.read(places, run).values, **run.objects_script.get(id(subject), {}))
            copies = {name: plain_values.copy(found[name]) for name in state["script"].get(key, ()) if name in found}
            self._then.setdefault(key, {}).update(copies)
        self._differ = self._then  # those that do not have their value of then
        self._now: Optional[Values] = None

    def restored(self) -> None:
        """All is restored; what has not changed since it was traced has its value of then now."""
        if self._run.family.traces(self._run.model) is None:
            self._then = self._differ = {}
            return
        for key, _, places in places_of(self._run):
            found, then = attribute_changes.read(places, self._run).values, self._then.setdefault(key, {})
            then.update({name: plain_values.copy(found[name]) for name in read_when_traced(places)
                         if name in found and name not in then})
        self.look()

    def look(self) -> None:
        """An epoch begins, and every callback was told: finds what has changed."""
        self._differ = {}
        for key, _, places in places_of(self._run):
            prints = attribute_changes.read(places, self._run).fingerprints()
            changed = {name: value for name, value in self._then.get(key, {}).items()
                       if prints.get(name) != plain_values.fingerprint(value)}
            if changed:
                self._differ[key] = changed

    @property
    def differ(self) -> bool:
        """Whether there are such values."""
        return bool(self._differ)

    def put(self) -> None:
        """Right before a step, behind every peer's hook."""
        if self._differ and self._now is None:
            self._now = self._swap(self._differ)

    def take_back(self) -> None:
        """Right behind it."""
        if self._now is not None:
            self._swap(self._now)
            self._now = None

    def _swap(self, values: Values) -> Values:
        before: Values = {}
        for key, subject, places in places_of(self._run):
            wanted = values.get(key, {})
            if wanted:
                found = attribute_changes.read(places, self._run).values
                before[key] = {name: plain_values.copy(found[name]) for name in wanted if name in found}
                set_attributes.put(subject, places, wanted, self._run)
        return before


class TracedSteps:
    """Told of every step that trains, and of every validation.

    Args:
        run: the live run.

    Attributes:
        resumed: of a resumed process: the attributes with which its steps are made, until a whole epoch is over.
    """

    def __init__(self, run: Run):
        self._run = run
        self.resumed: Optional[TracedAttributes] = None
        self._over: Optional[Callable[[], None]] = None  # to be called behind the first step
        self._first_is_over = self._validates = self._is_whole = self._has_validated = False
        self._all_is_traced = False  # all that trains

    def epoch_begins(self) -> None:
        """The loop has begun an epoch, in its middle where it was resumed there, and every callback was told."""
        self._is_whole = not self._run.mid_epoch
        if self.resumed is not None and self._is_whole:
            self.resumed.look()

    def begins(self, validates: bool = False) -> None:
        """A step, or a validation, is about to be made; every callback was told."""
        self._validates = validates
        if self.resumed is not None and (self._run.objects_validated if validates else not self._all_is_traced):
            self.resumed.put()
        if not self._first_is_over and self._over is None:
            self._over = step_begins(self._run)

    def over(self) -> None:
        """It is over, and no callback was told yet."""
        if self._validates:
            self._run.objects_validated, self._validates, self._has_validated = True, False, True
        if self._over is not None:
            self._first_is_over = True
            self._over()
            self._over = None
        if self.resumed is not None:
            self.resumed.take_back()

    def epoch_ends(self) -> None:
        """All steps of an epoch were made, its validation included, and no callback was told."""
        self.over()
        resumed = self.resumed
        epoch_ends(self._run, resumed is not None and resumed.differ and resumed.validated)
        self._all_is_traced = self._all_is_traced or self._is_whole
        if resumed is not None and self._all_is_traced and (self._has_validated or not resumed.validated):
            self.resumed = None
