"""A torch `DataLoader` that is followed: its batches, its own state, its generators."""

from typing import Any, Iterator, List

import numpy as np

from keras_session_ext.backend.feeds.batch_tap import Tap


class TappedLoader:
    """A torch `DataLoader` whose batches pass through a tap."""

    def __init__(self, loader: Any, tap: Tap):
        self._loader = loader
        self._tap = tap
        self._stateful = hasattr(loader, "state_dict") and hasattr(loader, "load_state_dict")

    def __iter__(self) -> Iterator[Any]:
        return self._tap.wrap(iter(self._loader), self._loader.state_dict if self._stateful else None)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_state(self, state: Any) -> None:
        self._loader.load_state_dict(state)

    def finish(self, state: Any) -> None:
        """Brings the loader to the end of a pass."""
        self._loader.load_state_dict(state)
        for _ in self._loader:
            pass

    def _own_generators(self) -> List[Any]:
        holders = (self._loader, getattr(self._loader, "sampler", None), getattr(self._loader, "batch_sampler", None))
        found = [getattr(holder, "generator", None) for holder in holders]
        return [generator for generator in found if generator is not None]

    def generators(self) -> List[np.ndarray]:
        """States of the loader's own torch generators."""
        return [generator.get_state().numpy().copy() for generator in self._own_generators()]

    def set_generators(self, states: List[np.ndarray]) -> None:
        import torch

        for generator, state in zip(self._own_generators(), states):
            generator.set_state(torch.from_numpy(state.copy()))


