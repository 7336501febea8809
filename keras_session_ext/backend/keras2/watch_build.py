"""Takes back what tracing a step, only to build, counts in Python attributes.

tf.keras 2.11 to 2.15's Nadam bakes `_u_product_counter` into each trace and counts it on, and users' layers
count likewise, often in an attribute that their `build` makes. The step is traced again before it runs, and is to
find what the last trace found: TensorFlow traces a step that makes variables twice, and runs the second.
"""

import contextlib
import functools
from typing import Any, Callable, Dict, Iterator, List

from keras_session_ext.backend.hooks.watch_train_step import watch_train_step

_Watched = Callable[[Any], Callable[..., Any]]


@contextlib.contextmanager
def numbers_taken_back(model: Any, objects: List[Any]) -> Iterator[None]:
    """Within it a step may be traced; behind it all numbers are as the last trace found them.

    Args:
        model: whose step is traced.
        objects: its layers, optimizers and others. What is made in their `build` is as that has left it, where no
            later trace has found it.

    Yields:
        Nothing.
    """
    numbers: Dict[int, Dict[str, Any]] = {}
    objects = [one for one in objects if hasattr(one, "__dict__")]

    def look(*looked_at: Any) -> None:
        for one in looked_at:
            numbers[id(one)] = {name: value for name, value in vars(one).items() if type(value) in (int, float)}

    def building(one: Any) -> Callable[..., Any]:
        build = one.build

        @functools.wraps(build)
        def wrapper(*args: Any, **options: Any) -> Any:
            was_built = getattr(one, "built", False) or getattr(one, "_built", False)
            made = build(*args, **options)
            if not was_built:
                look(one)
            return made

        return wrapper

    with contextlib.ExitStack() as stack:
        for one in objects:
            if callable(getattr(one, "build", None)):
                stack.enter_context(_replaced(one, "build", building))
        stack.callback(watch_train_step(model, lambda: look(*objects)))
        look(*objects)
        yield
    for one in objects:
        for name, value in numbers[id(one)].items():
            if type(vars(one).get(name)) in (int, float):
                vars(one)[name] = value


@contextlib.contextmanager
def _replaced(one: Any, name: str, make: _Watched) -> Iterator[None]:
    """Another method in the place of an object's own, past Keras's tracking of attributes."""
    before = vars(one).get(name)
    vars(one)[name] = make(one)
    try:
        yield
    finally:
        if before is None:
            del vars(one)[name]
        else:
            vars(one)[name] = before
