"""What others must offer us, written down once, as abstract classes with types.

An *engine* computes, a *feed* follows the data of one fit or loop, a *family*
is a kind of Keras. A new one derives from the class here; mypy names what it
lacks.
"""

from keras_session_ext.backend.contracts.engine import Engine
from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.contracts.feed import Feed, FeedListener
from keras_session_ext.backend.contracts.session_access import GraphSessionAccess, SessionAccess, StandInSessionAccess

__all__ = ["Engine", "Family", "Feed", "FeedListener", "GraphSessionAccess", "SessionAccess",
           "StandInSessionAccess"]
