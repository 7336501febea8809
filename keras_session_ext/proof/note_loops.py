"""Inside the script: notes every state of a loop of its own, each time a checkpoint could be taken there.

Behind the last step of an inner loop more than one may be: a place has the number
of those, which goes into the checkpoints, so that a resumed process counts on.
"""

from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Sequence

from keras_session_ext import state
from keras_session_ext.loop import SessionLoop
from keras_session_ext.proof.note_states import Noting, Trace

if TYPE_CHECKING:
    from keras_session_ext.progress import Progress


class LoopTrace(Trace):
    """Follows the loops of one process of the script.

    Args:
        settings: as of `Trace`.
        tell: as of `Trace`.
    """

    def __init__(self, settings: Dict[str, Any], tell: Callable[..., None]):
        self.counted: Dict[str, Any] = {"at": [], "asked": 0}
        super().__init__(settings, tell)

    @property
    def loop(self) -> SessionLoop:
        """The loop that the script's own ones are levels of."""
        made: SessionLoop = self.checkpoint
        return made

    def _make(self, directory: str, more: Dict[str, Any]) -> Any:
        return SessionLoop(directory, save=_NotingLoop(self), **more)

    def began(self, progress: "Progress") -> None:
        """A loop is not at its place then: what its variables are is noted from the first step on."""

    def stepped(self, progress: "Progress") -> bool:
        at = super()._place(progress)
        self.counted = {"at": at, "asked": self.counted["asked"] + 1 if self.counted["at"] == at else 0}
        self._run.feed.why_not_exact()  # a stateless loop gives the model its weights
        return super().stepped(progress)

    def _kinds(self) -> Sequence[ModuleType]:
        return state.kinds_of(self._run)

    def _place(self, progress: "Progress") -> List[Any]:
        return ["loops {}".format(progress.stage), progress.epoch, progress.batch, self.counted["asked"]]

    def _states(self, kinds: Any) -> Dict[str, str]:
        # how often data were begun or drawn by this process; what is read from them is compared
        return {path: value for path, value in super()._states(kinds).items()
                if not path.startswith(("data/feed/read/", "data/feed/levels/"))}


class _NotingLoop(Noting):
    """Keeps in the checkpoints how often it was asked at one place."""

    def __init__(self, trace: LoopTrace):
        super().__init__(trace)
        self._of_loops = trace

    def get_state(self) -> Dict[str, Any]:
        return self._of_loops.counted

    def set_state(self, stored: Dict[str, Any]) -> None:
        self._of_loops.counted = dict(stored)
