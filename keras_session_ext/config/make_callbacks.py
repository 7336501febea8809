"""From a config to callbacks."""

from typing import Any, Dict, Iterable, List, Optional

from keras_session_ext.config.effective_settings import effective_config
from keras_session_ext.config.policy_makers import joined


def callbacks_from_config(config: Any, key: Optional[str] = None, overrides: Iterable[str] = (),
                          env: bool = True) -> List[Any]:
    """Makes the callbacks that a config describes.

    Args:
        config: the path of a .yaml, .json or .toml file; or a mapping, an
            OmegaConf DictConfig or a dataclass instance.
        key: where in it the settings stand, such as "trainer.session". Default:
            under "session" if there is such a key, or else at the top.
        overrides: settings that win over all others, such as "save.every_steps=100".
        env: let variables such as KERAS_SESSION__SAVE__EVERY_STEPS=100 win over the config.

    Returns:
        A `SessionCheckpoint` and a `SessionLogger`, those of them that are configured.

    Raises:
        ConfigError: everything that is wrong, each with its place, in one message.
        UnsupportedBackend: no supported Keras.

    Examples:
        >>> import keras_session_ext as kse
        >>> kse.callbacks_from_config({"directory": "runs/a", "save": {"every_steps": 500}})
        [<keras_session_ext.callbacks.SessionCheckpoint object at ...>]
    """
    effective = effective_config(config, key, overrides, env)
    from keras_session_ext.callbacks import SessionCheckpoint, SessionLogger  # the frameworks, NumPy, h5py

    callbacks: List[Any] = []
    if "directory" in effective:
        checkpoint = SessionCheckpoint(**_arguments(effective))
        session: Any = checkpoint._session
        session.directory.config = effective  # the run directory gets it as config.json
        callbacks.append(checkpoint)
    if "tensorboard" in effective:
        callbacks.append(SessionLogger(**effective["tensorboard"]))
    return callbacks


def loop_from_config(config: Any) -> Any:
    """The `SessionLoop` that a config describes, for `run --loops`; what is of a fit alone is left out."""
    effective = effective_config(config, env=False)
    from keras_session_ext.loop import SessionLoop

    arguments = _arguments(effective)
    for name in ("witness", "stop_is_final"):
        arguments.pop(name, None)
    loop = SessionLoop(log_dir=(effective.get("tensorboard") or {}).get("log_dir"), **arguments)
    session: Any = loop._session
    session.directory.config = effective
    return loop


def _arguments(effective: Dict[str, Any]) -> Dict[str, Any]:
    arguments = {name: value for name, value in effective.items() if name != "tensorboard"}
    arguments.update(save=joined("save", effective["save"]), keep=joined("keep", effective["keep"]))
    return arguments
