"""Resumable Keras training: kill it at any instant, start it again, get the run that was never interrupted.

No framework is imported before one of the names is used.
"""

import importlib
from typing import TYPE_CHECKING, Any, List

if TYPE_CHECKING:  # what type checkers see of the names below; a test compares the two
    from keras_session_ext import backend as backend
    from keras_session_ext.callbacks import SessionCheckpoint as SessionCheckpoint
    from keras_session_ext.callbacks import SessionLogger as SessionLogger
    from keras_session_ext.config.make_callbacks import callbacks_from_config as callbacks_from_config
    from keras_session_ext.errors import CheckpointCorrupt as CheckpointCorrupt
    from keras_session_ext.errors import CheckpointNotFound as CheckpointNotFound
    from keras_session_ext.errors import ConfigError as ConfigError
    from keras_session_ext.errors import DirectoryBusy as DirectoryBusy
    from keras_session_ext.errors import SessionError as SessionError
    from keras_session_ext.errors import StateMismatch as StateMismatch
    from keras_session_ext.errors import UnsupportedBackend as UnsupportedBackend
    from keras_session_ext.lifecycle.plot import plot_timeline as plot_timeline
    from keras_session_ext.loop import SessionLoop as SessionLoop
    from keras_session_ext.policies.keep import KeepAll as KeepAll
    from keras_session_ext.policies.keep import KeepBest as KeepBest
    from keras_session_ext.policies.keep import KeepEvery as KeepEvery
    from keras_session_ext.policies.keep import KeepLast as KeepLast
    from keras_session_ext.policies.keep import KeepPolicy as KeepPolicy
    from keras_session_ext.policies.keep import KeepSize as KeepSize
    from keras_session_ext.policies.overhead import Overhead as Overhead
    from keras_session_ext.policies.save import EveryEpochs as EveryEpochs
    from keras_session_ext.policies.save import EverySeconds as EverySeconds
    from keras_session_ext.policies.save import EverySteps as EverySteps
    from keras_session_ext.policies.save import OnBest as OnBest
    from keras_session_ext.policies.save import OnSignal as OnSignal
    from keras_session_ext.policies.save import SavePolicy as SavePolicy
    from keras_session_ext.progress import CheckpointInfo as CheckpointInfo
    from keras_session_ext.progress import Progress as Progress
    from keras_session_ext.progress import ResumeReport as ResumeReport
    from keras_session_ext.run.lineage import run_id as run_id
    from keras_session_ext.session_file import restore_session as restore_session
    from keras_session_ext.session_file import save_session as save_session
    from keras_session_ext.store.fetch_checkpoint import fetch_checkpoint as fetch_checkpoint
    from keras_session_ext.store.find_checkpoints import best_checkpoint as best_checkpoint
    from keras_session_ext.store.find_checkpoints import list_checkpoints as list_checkpoints
    from keras_session_ext.store.find_checkpoints import verify_checkpoint as verify_checkpoint
    from keras_session_ext.tensorboard.report_page import report as report

__version__ = "0.2.0"

_NAMES = {
    "SessionCheckpoint": "callbacks", "SessionLogger": "callbacks", "SessionLoop": "loop",
    "EverySteps": "policies.save", "EveryEpochs": "policies.save", "EverySeconds": "policies.save",
    "OnBest": "policies.save", "OnSignal": "policies.save", "Overhead": "policies.overhead",
    "SavePolicy": "policies.save",
    "KeepLast": "policies.keep", "KeepBest": "policies.keep", "KeepEvery": "policies.keep",
    "KeepSize": "policies.keep", "KeepAll": "policies.keep", "KeepPolicy": "policies.keep",
    "callbacks_from_config": "config.make_callbacks",
    "save_session": "session_file", "restore_session": "session_file",
    "run_id": "run.lineage",
    "best_checkpoint": "store.find_checkpoints",
    "fetch_checkpoint": "store.fetch_checkpoint",
    "list_checkpoints": "store.find_checkpoints", "verify_checkpoint": "store.find_checkpoints",
    "report": "tensorboard.report_page", "plot_timeline": "lifecycle.plot",
    "Progress": "progress", "CheckpointInfo": "progress", "ResumeReport": "progress",
    "SessionError": "errors", "CheckpointNotFound": "errors", "CheckpointCorrupt": "errors",
    "StateMismatch": "errors", "DirectoryBusy": "errors", "UnsupportedBackend": "errors", "ConfigError": "errors",
}

__all__ = sorted(_NAMES) + ["backend"]


if not TYPE_CHECKING:  # which would take it for a promise of any name
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
