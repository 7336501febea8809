"""What a function, a bound method, a partial, a class or a module of the script's leads to."""

import functools
import types
from typing import Any, Dict, Iterator, Sequence, Tuple

from keras_session_ext.backend.hooks.live_names import functions_in, names_read
from keras_session_ext.state.walk_objects import is_of_script

#: name within it, what holds it, by which key, it
Part = Tuple[str, Any, Any, Any]


def parts_of(value: Any, looked_at: Sequence[Dict[str, Any]]) -> Iterator[Part]:
    """All of them; none of what is of an installed package.

    Args:
        value: anything.
        looked_at: the dictionaries of variables that are looked at by themselves.
    """
    if isinstance(value, functools.partial):
        yield "func", None, None, value.func
        yield from _items(value.args)
        yield from _items(value.keywords)
    elif isinstance(value, types.MethodType):
        yield "self", None, None, value.__self__
        yield "function", None, None, value.__func__
    elif isinstance(value, type):
        if is_of_script(value.__module__):
            yield from ((name, value, name, item) for name, item in list(vars(value).items()))
    elif isinstance(value, types.ModuleType):
        if is_of_script(value.__name__) and not any(vars(value) is one for one in looked_at):
            yield from ((name, value, name, item) for name, item in list(vars(value).items()))
    elif not isinstance(value, (list, tuple, dict)):
        for function in functions_in(value):
            if is_of_script(function.__module__):
                yield from _of_function(function, looked_at)


def _items(values: Any) -> Iterator[Part]:
    for key, item in values.items() if isinstance(values, dict) else enumerate(values):
        yield str(key), None, None, item


def _of_function(function: types.FunctionType, looked_at: Sequence[Dict[str, Any]]) -> Iterator[Part]:
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            yield variable, cell, "cell_contents", cell.cell_contents
        except ValueError:
            continue  # not bound yet
    for number, item in enumerate([*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]):
        yield "default {}".format(number), None, None, item
    scope = function.__globals__
    if not any(scope is one for one in looked_at):
        yield from ((name, scope, name, scope[name]) for name in sorted(names_read(function.__code__)) if name in scope)
