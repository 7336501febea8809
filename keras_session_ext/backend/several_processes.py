"""What is said where a `fit` on several devices or processes cannot be resumed to the bit, one text for each case."""

_REFUSED = "{what}. SessionCheckpoint resumes a fit to the bit only where one process trains. {instead}"
_OUTSIDE = ("Or leave SessionCheckpoint out, and save and restore outside fit: save_session(model, path) in process 0, "
            "restore_session(model, path) in every process before it trains")


def jax_processes(count: int, rank: int) -> str:
    """A job of `jax.distributed`."""
    return _REFUSED.format(
        what="JAX computes over {} processes (jax.distributed), of which this is process {}".format(count, rank),
        instead="Give one process all devices of its machine: keras.distribution.DataParallel or ModelParallel "
                "without jax.distributed.initialize. {}; that needs variables that every process holds whole, as "
                "DataParallel keeps them.".format(_OUTSIDE))


def torch_processes(count: int, rank: int) -> str:
    """A job of `torch.distributed`."""
    return _REFUSED.format(
        what="torch.distributed runs {} processes, of which this is rank {}".format(count, rank),
        instead="Train in one process. {}.".format(_OUTSIDE))


def tensorflow_strategy(name: str, processes: str) -> str:
    """A `tf.distribute.Strategy` that is not supported.

    Args:
        name: of its class.
        processes: what it trains on, and which part of it this process is.
    """
    return _REFUSED.format(
        what="The model was made under {}, which trains on {}".format(name, processes),
        instead="Train in one process: under tf.distribute.MirroredStrategy, or without a strategy. Or leave "
                "SessionCheckpoint out, and use BackupAndRestore, which knows this strategy.")


def graph_strategy(name: str) -> str:
    """A strategy around a Keras that trains in graphs and sessions, or one that is too old."""
    return ("The model trains on several replicas ({}), which this Keras shares out in a way that is not supported. "
            "Train on one device, or with Keras 3 or tf_keras, or leave SessionCheckpoint out.".format(name))


def not_whole(what: str, rank: int, count: int, names: str) -> str:
    """A process that has only a part of a model."""
    return ("This is process {rank} of {count} ({what}), and it holds only a part of {names}: a session can be saved "
            "and restored only where one process holds every variable whole. Keep the variables replicated "
            "(keras.distribution.DataParallel), or train in one process.".format(
                rank=rank, count=count, what=what, names=names))
