"""How a class of ours becomes a callback of the Keras in use, which is known only when it is made."""

from typing import Any, Dict, Type, TypeVar

from keras_session_ext import backend
from keras_session_ext.arguments import check_keywords

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
    """A class that becomes a real Callback of the Keras in use.

    Attributes:
        ELSEWHERE: what other callbacks call an argument -> how it is said here.
    """

    ELSEWHERE: Dict[str, str] = {}

    def __new__(cls: Type[_Self], *args: Any, **kwargs: Any) -> _Self:
        check_keywords(cls, kwargs, cls.ELSEWHERE)
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
