"""The callbacks that stand around all others in the list of a fit, and how a class becomes one of the Keras in use."""

from typing import Any, Dict, Optional, Type, TypeVar

from keras_session_ext import backend
from keras_session_ext.run.fit import FitDriver

_Self = TypeVar("_Self", bound="Bound")
_bound: Dict[Any, type] = {}


def callback_class_of(base: type, keras_callback: type) -> type:
    """`base` as a real Callback of the Keras in use."""
    key = (base, keras_callback)
    if key not in _bound:
        names = {"__module__": base.__module__, "__doc__": base.__doc__}
        _bound[key] = type(base.__name__, (base, keras_callback), names)
    return _bound[key]


class Bound:
    """A class that becomes a real Callback of the Keras in use."""

    def __new__(cls: Type[_Self], *args: Any, **kwargs: Any) -> _Self:
        return object.__new__(callback_class_of(cls, backend.choose().callback_class))

    def __init__(self) -> None:
        super().__init__()
        self._family = backend.choose()
        self._imported = backend.imported()

    def _follow(self, model: Any) -> bool:
        """Turns to the Keras of the model, where the script had imported several when this object was made."""
        family = backend.choose(model)
        if family is self._family:
            return False
        if family.callback_class is not self._family.callback_class:
            if len(self._imported) < 2:
                self._family.check_model(model)  # says what does not fit
            self.__class__ = callback_class_of(type(self).__mro__[1], family.callback_class)
        self._family = family
        return True


class First:
    """Stands before all peers: what must happen before any of them is asked."""

    driver: FitDriver

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_begin()

    def on_epoch_begin(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.epoch_begin(epoch)

    def on_train_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_batch_begin(batch)

    def on_train_batch_end(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.epoch_ends(logs)

    def on_test_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.test_begin()

    def on_test_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.test_batch_begin()

    def on_test_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.test_end(logs)

    def on_predict_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.predict_begin()

    def on_predict_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.predict_end()


class Passing:
    """Stands alone in the list while a loop passes over batches that were trained on."""

    driver: FitDriver

    def on_train_batch_end(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.passed_over()


class Last:
    """Stands behind all peers, History included: what must happen after each of them had its turn."""

    driver: FitDriver

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_began()

    def on_epoch_begin(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.epoch_began()

    def on_train_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_batch_began()

    def on_epoch_end(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.epoch_end(epoch, logs)

    def on_train_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_end()
