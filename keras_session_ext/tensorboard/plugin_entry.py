"""The entry point of the tab: it can never stop TensorBoard from starting.

TensorBoard imports this module with no net under it, in every version; so it
imports nothing but TensorBoard's own base, and the tab itself behind a net.
https://github.com/pytorch/kineto/issues/321
"""

import logging
from typing import Any, Optional

from tensorboard.plugins import base_plugin

NAME = "session"


class SessionLoader(base_plugin.TBLoader):
    """Loads the Session tab, where this TensorBoard can carry it."""

    def fix_flags(self, flags: Any) -> None:
        """Asks TensorBoard to keep every event: its loaders keep 10 or 100 per tag of plugins they do not know."""
        try:
            samples = flags.samples_per_plugin
            if isinstance(samples, dict):
                samples.setdefault(NAME, 0)
            elif NAME + "=" not in (samples or ""):  # TensorBoard 2.2 and older
                flags.samples_per_plugin = ",".join(filter(None, [samples, NAME + "=0"]))
        except Exception:
            logging.getLogger(__name__).exception("The Session tab could not ask TensorBoard to keep all its events")

    def load(self, context: Any) -> "Optional[base_plugin.TBPlugin]":
        """The tab, or None if it cannot be made; TensorBoard then starts without it."""
        try:
            from keras_session_ext.tensorboard.plugin import SessionPlugin

            return SessionPlugin(context)
        except Exception:
            logging.getLogger(__name__).exception("The Session tab cannot be loaded; TensorBoard goes on without it")
            return None
