import os
import sys
import tempfile

os.environ.setdefault("KERAS_BACKEND", "jax")  # the engine of tests that train in this process
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "keras-session-tests-jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def pytest_collection_modifyitems(config, items):
    """The whole matrix runs only when it is asked for by `-m matrix`."""
    if "matrix" in (config.option.markexpr or ""):
        return
    matrix = [item for item in items if item.get_closest_marker("matrix")]
    config.hook.pytest_deselected(items=matrix)
    items[:] = [item for item in items if item not in matrix]
