"""Takes back what tracing a step, only to build, counts in Python attributes.

tf.keras 2.11 to 2.15's Nadam bakes `_u_product_counter` into each trace and counts it on, and users' layers
count likewise, often in an attribute that their `build` makes.
"""

import contextlib
import functools
from typing import Any, Dict, Iterator, List


@contextlib.contextmanager
def as_built(objects: List[Any]) -> Iterator[None]:
    """Within it a step may be traced; behind it the numbers of all objects are as right behind their own `build`.

    Args:
        objects: layers, optimizers and others; those without a `build` are as before.

    Yields:
        Nothing.
    """
    numbers: Dict[int, Dict[str, Any]] = {}
    watched = [one for one in objects if callable(getattr(one, "build", None)) and hasattr(one, "__dict__")]

    def look(one: Any) -> None:
        numbers[id(one)] = {name: value for name, value in vars(one).items() if type(value) in (int, float)}

    def watch(one: Any) -> Any:
        build = one.build

        @functools.wraps(build)
        def building(*args: Any, **options: Any) -> Any:
            was_built = getattr(one, "built", False) or getattr(one, "_built", False)
            made = build(*args, **options)
            if not was_built:
                look(one)
            return made

        return building

    for one in objects:
        if hasattr(one, "__dict__"):
            look(one)
    for one in watched:
        vars(one)["build"] = watch(one)  # past Keras's tracking of attributes
    try:
        yield
    finally:
        for one in watched:
            del vars(one)["build"]
        for one in objects:
            for name, value in numbers.get(id(one), {}).items():
                if type(vars(one).get(name)) in (int, float):
                    vars(one)[name] = value
