"""Resumable Keras training: kill it at any instant, start it again, get the run that was never interrupted.

No framework is imported before one of the names is used.
"""

import importlib
from typing import Any, List

__version__ = "0.1.0"

_NAMES = {
    "SessionCheckpoint": "callbacks", "SessionLogger": "callbacks",
    "EverySteps": "policies.save", "EveryEpochs": "policies.save", "EverySeconds": "policies.save",
    "OnBest": "policies.save", "OnSignal": "policies.save", "SavePolicy": "policies.save",
    "KeepLast": "policies.keep", "KeepBest": "policies.keep", "KeepEvery": "policies.keep",
    "KeepSize": "policies.keep", "KeepAll": "policies.keep", "KeepPolicy": "policies.keep",
    "callbacks_from_config": "config.make_callbacks",
    "save_session": "session_file", "restore_session": "session_file",
    "list_checkpoints": "store.run_directory", "verify_checkpoint": "store.run_directory",
    "report": "tensorboard.report_page", "plot_timeline": "lifecycle.plot",
    "Progress": "progress", "CheckpointInfo": "progress", "ResumeReport": "progress",
    "SessionError": "errors", "CheckpointNotFound": "errors", "CheckpointCorrupt": "errors",
    "StateMismatch": "errors", "DirectoryBusy": "errors", "UnsupportedBackend": "errors", "ConfigError": "errors",
}

__all__ = sorted(_NAMES) + ["backend"]


def __getattr__(name: str) -> Any:
    if name == "backend":
        return importlib.import_module("keras_session_ext.backend")
    if name not in _NAMES:
        raise AttributeError("module 'keras_session_ext' has no attribute {!r}".format(name))
    value = getattr(importlib.import_module("keras_session_ext." + _NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted(__all__ + ["__version__"])
