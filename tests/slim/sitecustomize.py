"""Children of the tests import Keras 3 as where scikit-learn, matplotlib and JAX are not installed: in half the time.

Keras and TensorFlow look for them beside the engine, for wrappers, galleries,
Orbax and conversions, and go without where they are missing. A script that
imports them itself has them.
"""

import sys

#: what the frameworks would like to have -> the modules that ask for it, without need
ASKED_FOR = {"sklearn": "keras.src.wrappers", "matplotlib": "keras.src.visualization",
             "jax": ("keras.src.callbacks", "tensorflow.lite")}


class _Without:
    """Answers their questions with no."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ASKED_FOR:
            frame = sys._getframe(1)
            while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
                frame = frame.f_back
            if frame is not None and frame.f_globals.get("__name__", "").startswith(ASKED_FOR[name]):
                raise ImportError("{} is left out of this test".format(name), name=name)
        return None


sys.meta_path.insert(0, _Without)
