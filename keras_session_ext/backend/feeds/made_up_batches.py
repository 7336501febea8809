"""Batches of zeros like those of a `tf.data.Dataset`, for a step that has to run although its result is thrown away."""

from typing import Any, Callable, Iterable, Iterator, Optional

#: lengths that are tried where a dataset does not say one: a convolution refuses what is shorter than its kernel
_LENGTHS = (2, 16, 128, 512)


def made_up_batches(spec: Any) -> Iterator[Any]:
    """One batch for each length that is tried in the place of unknown ones; of two elements, where that is not known.

    Args:
        spec: the dataset's `element_spec`.
    """
    import tensorflow as tf

    def zeros(one: Any, length: int) -> Any:
        shape = [length if size is None else size for size in one.shape]
        if shape and one.shape[0] is None:
            shape[0] = 2
        return tf.zeros(shape, one.dtype)

    for length in _LENGTHS:
        yield tf.nest.map_structure(lambda one, length=length: zeros(one, length), spec)


def first_that_runs(step: Callable[[Any], Any], batches: Iterable[Any]) -> None:
    """Makes the step on the first batch that it takes.

    Raises:
        Exception: what it raised at the first, where it takes none.
    """
    failure: Optional[Exception] = None
    for batch in batches:
        try:
            step(batch)
            return
        except Exception as error:  # whatever the user's code says to it
            failure = failure or error
    if failure is not None:
        raise failure
