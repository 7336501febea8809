"""The steps of a fit as what is traced sees them: which Python attributes they were, and will be, traced with."""

from typing import Optional

from keras_session_ext import state


class TracedSteps:
    """Told of every step that trains, and of every validation.

    Args:
        run: the live run.

    Attributes:
        resumed: of a resumed process: the attributes with which the steps of its first epoch are made.
    """

    def __init__(self, run: state.Run):
        self._run = run
        self.resumed: Optional[state.objects.TracedAttributes] = None
        self._first_is_over = False

    def begins(self) -> None:
        """A step, or a validation, is about to be made; every callback was told."""
        if self.resumed is not None:
            self.resumed.put()
        if not self._first_is_over:
            state.objects.step_begins(self._run)

    def over(self) -> None:
        """It is over, and no callback was told yet."""
        if not self._first_is_over and self._run.objects_traced is not None:
            self._first_is_over = True
            state.objects.step_over(self._run)
        if self.resumed is not None:
            self.resumed.take_back()

    def epoch_ends(self) -> None:
        """All steps of an epoch were made, its validation included, and no callback was told."""
        self.over()
        resumed, self.resumed = self.resumed, None
        state.objects.epoch_ends(self._run, resumed is not None and resumed.differ)
