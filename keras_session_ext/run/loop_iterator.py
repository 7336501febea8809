"""An iterator whose draws are counted, for `next()`; a resume draws them again."""

from typing import Any, Callable, Dict, Iterator

from keras_session_ext.backend.feeds.followed_data import Data, Pass
from keras_session_ext.state.data import SEED_IT


class LoopIterator:
    """Draws from a source, and can be brought to where another process had drawn to.

    Args:
        name: the same in every process.
        data: what it draws from.
        random: gives the random state of now.
        set_random: puts it back.
        tell: is told why what was drawn again is not the same.

    Attributes:
        data: what it draws from.
    """

    def __init__(self, name: str, data: Data, random: Callable[[], Dict[str, Any]],
                 set_random: Callable[[Dict[str, Any]], None], tell: Callable[[str], None]):
        self._name = name
        self.data = data
        self._set_random = set_random
        self._tell = tell
        self._start = random()
        self._pass = Pass(data)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._pass.draw()

    def state(self) -> Dict[str, Any]:
        """Where it stands, as a plain value."""
        drawn = self._pass.index
        return {"name": self._name, "index": drawn, "before": self._pass.before, "made": 0, "start": self._start,
                "iteration": None, "chain": self._pass.chain(drawn), "drawn": drawn, "content": self.data.content(),
                "generators": self._pass.generators}

    def go_on(self, stored: Dict[str, Any]) -> None:
        """Draws what was drawn at the checkpoint, and drops it; called under the random state of now, which changes.

        Args:
            stored: what `state` gave.
        """
        self._set_random(stored["start"])
        self._pass.drop(stored["drawn"] - self._pass.index)
        self._start = stored["start"]
        if stored["content"] != self.data.content() or stored["chain"] != self._pass.chain(stored["drawn"]):
            self._tell("{} did not give what it gave before; {}".format(self._name, SEED_IT))
