"""Everything that knows a framework: one adapter per family, chosen once (choose.py).

What an adapter offers stands in contracts/. As a module this is what takes the place of `keras.backend` in TF1 code:
`from keras_session_ext import backend as K`. What it does not replace is the Keras in use's own.
"""

import importlib
import importlib.util
from typing import Any, Dict

from keras_session_ext.backend.choose import adapter, choose, imported

_WHERE = {
    "shim": ("Session", "clear_session", "close_session", "get_session", "learning_phase", "run", "session_scope",
             "set_session"),
    "keras_backend": ("batch_get_value", "batch_set_value", "function", "get_value", "set_value"),
}
_SHIM = {name: "keras_session_ext.backend.tf1_session." + module for module, names in _WHERE.items() for name in names}

__all__ = ["choose", "describe", *_SHIM]


def describe() -> Dict[str, str]:
    """Names and versions of the family and engine in use.

    Returns:
        A dict with `family`, `keras`, `engine` and the versions of the loaded frameworks.

    Examples:
        >>> describe()["family"]  # doctest: +SKIP
        'keras3'
    """
    return choose().describe()


def __getattr__(name: str) -> Any:
    if name in _SHIM:
        for name_of_keras in imported():  # the very expression that names `run` may hold a feed_dict
            adapter(name_of_keras).accept_legacy_code()
        return getattr(importlib.import_module(_SHIM[name]), name)
    if not name.startswith("_") and imported() and importlib.util.find_spec(__name__ + "." + name) is None:
        for module in choose().backend_modules():
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError("module 'keras_session_ext.backend' has no attribute {!r}, nor has the backend module of the "
                         "Keras in use; Keras 3 computes with keras.ops".format(name))
