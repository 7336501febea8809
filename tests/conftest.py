import json
import os
import signal
import sys
import tempfile
import zlib

import pytest

os.environ.setdefault("KERAS_BACKEND", "jax")  # the engine of tests that train in this process
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "keras-session-tests-jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), os.path.join(HERE, "slim")]))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # a shell makes what it starts in the background deaf to Ctrl-C, and that is inherited by what the tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)


class ExactnessTable:
    """Collects the rows of the kill matrix; `-m matrix` writes them to docs/exactness.md.

    Rows of parallel workers meet in one folder of small files.
    """

    def __init__(self, folder):
        self.folder = folder

    def add(self, engine, name, result, why):
        file = os.path.join(self.folder, "{}-{:08x}.json".format(engine, zlib.crc32(name.encode())))
        with open(file, "w") as handle:
            json.dump([engine, name, result, why], handle)


@pytest.fixture
def exactness_table(request):
    return ExactnessTable(_rows_folder(request.config))


def _rows_folder(config):
    folder = os.environ.get("EXACTNESS_ROWS")
    if folder is None:
        folder = os.environ["EXACTNESS_ROWS"] = tempfile.mkdtemp()
    return folder


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        _rows_folder(config)


def pytest_sessionfinish(session):
    """Writes docs/exactness.md when every row of the matrix has a result."""
    if hasattr(session.config, "workerinput") or "matrix" not in (session.config.option.markexpr or ""):
        return
    from sources import SOURCES

    rows = {}
    folder = _rows_folder(session.config)
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as handle:
            engine, source, result, why = json.load(handle)
        rows[source, engine] = result, why
    if set(rows) != {(name, engine) for name, source in SOURCES.items() for engine in source.engines}:
        return
    engines = ("tensorflow", "jax", "torch")
    lines = ["| source | {} |".format(" | ".join(engines)), "|---|---|---|---|"]
    lines += ["| {} | {} |".format(name, " | ".join(rows.get((name, engine), ("–", ""))[0] for engine in engines))
              for name in SOURCES]
    lines += ["", "Why not, as the resume reports said:", ""]
    lines += sorted({"- {}: {}".format(name, why) for (name, _), (_, why) in rows.items() if why})
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs", "exactness.md")
    with open(path) as handle:
        before = handle.read().split("<!-- made by the kill matrix -->")[0]
    with open(path, "w") as handle:
        handle.write(before + "<!-- made by the kill matrix -->\n" + "\n".join(lines) + "\n")


def pytest_collection_modifyitems(config, items):
    """The whole matrix runs only when it is asked for by `-m matrix`."""
    if "matrix" in (config.option.markexpr or ""):
        return
    matrix = [item for item in items if item.get_closest_marker("matrix")]
    config.hook.pytest_deselected(items=matrix)
    items[:] = [item for item in items if item not in matrix]
