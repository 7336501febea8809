"""The steps of a fit as what is traced sees them: which Python attributes they were, and will be, traced with."""

from typing import Callable, Optional

from keras_session_ext import state
from keras_session_ext.state import attributes_when_traced


class TracedSteps:
    """Told of every step that trains, and of every validation.

    Args:
        run: the live run.

    Attributes:
        resumed: of a resumed process: the attributes with which its steps are made, until a whole epoch is over.
    """

    def __init__(self, run: state.Run):
        self._run = run
        self.resumed: Optional[attributes_when_traced.TracedAttributes] = None
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
            self._over = attributes_when_traced.step_begins(self._run)

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
        attributes_when_traced.epoch_ends(self._run, resumed is not None and resumed.differ and resumed.validated)
        self._all_is_traced = self._all_is_traced or self._is_whole
        if resumed is not None and self._all_is_traced and (self._has_validated or not resumed.validated):
            self.resumed = None
