"""Which of two values of a metric is better; shared by the save and the keep policies."""

import logging
import math
from typing import Any, Dict, Iterable, Optional

from keras_session_ext.arguments import Mode, similar
from keras_session_ext.errors import ConfigError

logger = logging.getLogger("keras_session_ext")

# metrics that grow when a model gets better; everything else is a loss or an error
_UP = ("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "top_k", "topk", "cosine", "bleu")


class Monitor:
    """A metric's name and its direction.

    Args:
        name: key in the logs.
        mode: "min", "max", or "auto" (max for accuracy-like names, else min).

    Raises:
        ConfigError: a name that is not text, or an unknown mode.
    """

    def __init__(self, name: str, mode: Mode = "auto"):
        if not isinstance(name, str) or not name:
            raise ConfigError(
                "Invalid value for argument `monitor`. Expected the name of a metric, such as 'val_loss'. "
                "Received: {!r}".format(name)
            )
        if mode not in ("auto", "min", "max"):
            raise ConfigError(
                "Invalid value for argument `mode`. Expected 'auto', 'min' or 'max'. Received: {!r}".format(mode)
            )
        self.name = name
        self._warned = False
        up = mode == "max" or (mode == "auto" and any(word in name.lower() for word in _UP))
        self._sign = 1.0 if up else -1.0

    def warn_missing(self, policy: object, logs: Iterable[str]) -> None:
        """Tells once that a metric is not logged, and which one may have been meant."""
        if not self._warned:
            self._warned = True
            hint = similar(self.name, logs)
            logger.warning("%r has no effect yet: fit has not logged %r%s It logs: %s.", policy, self.name,
                           "; " + hint if hint else ".", ", ".join(sorted(logs)))

    def value(self, metrics: Dict[str, Any]) -> Optional[float]:
        """The metric as a float, or None where it is missing or not a number."""
        try:
            value = float(metrics[self.name])
        except (KeyError, TypeError, ValueError):
            return None
        return None if math.isnan(value) else value

    def better(self, value: float, than: float) -> bool:
        return self._sign * value > self._sign * than

    def rank(self, value: float) -> float:
        """A key that sorts the best first."""
        return -self._sign * value
