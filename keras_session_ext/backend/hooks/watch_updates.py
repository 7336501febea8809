"""Sees the first update that an optimizer makes, of whatever Keras and engine; it costs nothing from then on.

The classes are changed when their module is imported (change_on_import.py), and
changed back when an update was told of. Traced functions call an optimizer while
they are traced, which is at the first update, too.
"""

import functools
from typing import Any, Callable, Dict, List, Tuple

from keras_session_ext.backend.hooks.change_on_import import change_on_import
from keras_session_ext.backend.hooks.patch_fit_on_import import MODULES

_APPLY, _GRADIENTS = ("BaseOptimizer", "apply"), ("Optimizer", "apply_gradients")
_V2 = ("OptimizerV2", "apply_gradients")
#: module -> the class of all its optimizers, and the method that updates
OPTIMIZERS: Dict[str, Tuple[str, str]] = {
    "keras.src.optimizers.base_optimizer": _APPLY,  # Keras 3; apply_gradients and stateless_apply call it
    "keras.src.optimizers.optimizer": _GRADIENTS,  # tf.keras 2.13 to 2.15; of Keras 3 it has none of its own
    "keras.optimizers.optimizer": _GRADIENTS,  # 2.12
    "keras.optimizers.optimizer_experimental.optimizer": _GRADIENTS,  # 2.9 to 2.11
    "tf_keras.src.optimizers.optimizer": _GRADIENTS,
    "keras.src.optimizers.legacy.optimizer_v2": _V2,
    "keras.optimizers.legacy.optimizer_v2": _V2,
    "keras.optimizers.optimizer_v2.optimizer_v2": _V2,
    "keras.optimizer_v2.optimizer_v2": _V2,  # 2.6 to 2.8
    "tf_keras.src.optimizers.legacy.optimizer_v2": _V2,
    "tensorflow.python.keras.optimizer_v2.optimizer_v2": _V2,  # 2.1 to 2.5
    "tensorflow_core.python.keras.optimizer_v2.optimizer_v2": _V2,  # 1.15 to 2.0
    "tensorflow.python.training.optimizer": _GRADIENTS,  # tf.compat.v1.train: when the op is made that sess.run runs
    "tensorflow_core.python.training.optimizer": _GRADIENTS,
}
_TORCH = "torch.optim.optimizer"


def watch_updates(tell: Callable[[str], bool]) -> None:
    """Lets an update be told of before it is made.

    Args:
        tell: is given how the script has called it, such as "train_on_batch"; returns whether to go on watching.
    """
    watch = _Watch(tell)
    change_on_import(watch.changes())


class _Watch:
    """Changes classes, and changes them back."""

    def __init__(self, tell: Callable[[str], bool]):
        self._tell = tell
        self._undo: List[Callable[[], Any]] = []
        self._is_over = False

    def changes(self) -> Dict[str, Callable[[Any], None]]:
        """Module -> what changes it."""
        made: Dict[str, Callable[[Any], None]] = dict.fromkeys(OPTIMIZERS, self._optimizers)
        made.update(dict.fromkeys(MODULES, self._models))
        made[_TORCH] = self._torch
        return made

    def _optimizers(self, module: Any) -> None:
        name, method = OPTIMIZERS[module.__name__]
        kind = getattr(module, name, None)
        if kind is not None and method in vars(kind):
            self._change(kind, method, "optimizer." + method)

    def _models(self, module: Any) -> None:
        self._change(module.Model, "train_on_batch", "train_on_batch")  # it may have been traced by a fit before

    def _torch(self, module: Any) -> None:
        hook = getattr(module, "register_optimizer_step_post_hook", None)
        if hook is not None and not self._is_over:  # torch 2; it stays, as none can be taken away while they are called
            hook(lambda *_: self._update("optimizer.step"))

    def _change(self, kind: Any, name: str, what: str) -> None:
        original = getattr(kind, name, None)
        if original is None or self._is_over:
            return
        is_own = name in vars(kind)

        @functools.wraps(original)
        def tells_first(*args: Any, **kwargs: Any) -> Any:
            self._update(what)
            return original(*args, **kwargs)

        setattr(kind, name, tells_first)
        self._undo.append(lambda: setattr(kind, name, original) if is_own else delattr(kind, name))

    def _update(self, what: str) -> None:
        if self._is_over or self._tell(what):
            return
        self._is_over = True
        while self._undo:
            self._undo.pop()()
