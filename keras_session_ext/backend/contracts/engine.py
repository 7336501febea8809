"""What an engine offers."""

import abc
import contextlib
from typing import Any, Callable, ContextManager, Dict, List, Optional, Sequence, Tuple

import numpy as np

from keras_session_ext.errors import StateMismatch


class Engine(abc.ABC):
    """What a Keras computes on: reads and writes of variables, and the random state that is the engine's own.

    Attributes:
        name: as Keras calls it: "tensorflow", "jax", "torch".
        traces_each_shape: whether a step is traced for each shape of batches, and not once for all.
        copies: whether `hold` copies the values, and not only refers to them.
        tensors_carry_more: whether tensors have gradients, and others may be views of them: `tensors_in` finds them.
        any_thread: whether another thread may look at variables and traced functions while a step runs.
    """

    name: str
    traces_each_shape = False
    copies = False
    any_thread = False
    tensors_carry_more = False

    @abc.abstractmethod
    def hold(self, variables: Sequence[Any], places: Optional[Sequence[np.ndarray]] = None) -> List[Any]:
        """Values of variables at this moment, as cheaply as the engine has them.

        Called on the training thread, between two batches.

        Args:
            variables: whose.
            places: where the engine `copies`: an array for each variable, of its shape and dtype, to copy to.

        Returns:
            For each variable something that `np.asarray` makes an array of its shape and dtype, on any thread. The
            values stay as they are while training goes on; they may be the engine's memory, never to be written to.
        """

    def dtype_name(self, variable: Any) -> str:
        """The dtype of the value of a variable of Keras 3."""
        return str(variable.dtype)

    def prepare(self, variables: Sequence[Any]) -> None:  # noqa: B027  (most have nothing to do)
        """Does what the first `hold` of these variables would wait for; called on another thread, and reads at most."""

    def read(self, variables: Sequence[Any]) -> List[np.ndarray]:
        """Arrays of what `hold` returns."""
        return list(map(np.asarray, self.hold(variables)))

    def assign(self, variables: Sequence[Any], arrays: Sequence[np.ndarray]) -> None:
        """Gives variables new values; each array has the shape and dtype of its variable."""
        for variable, array in zip(variables, arrays):
            variable.assign(array)

    def inside(self, model: Any) -> ContextManager[Any]:
        """Where variables are made that belong to a model."""
        return contextlib.ExitStack()

    def replicas(self, model: Any) -> int:
        """How many replicas of a model this process trains, each with components of its own."""
        return 1

    def components(self, variable: Any) -> List[Any]:
        """The components of a variable, in the order of the replicas; where there is one replica the variable."""
        return [variable]

    def hold_further(self, variables: Sequence[Any]) -> List[List[Any]]:
        """Values of the components behind the first one at this moment; see `hold`."""
        return [[] for _ in variables]

    def reduction(self, variable: Any) -> str:
        """How the components of a variable become one: "sum", "mean" or "first"."""
        return "first"

    def value(self, variable: Any) -> np.ndarray:
        """A copy of the value of one variable, such as one that a callback holds."""
        return np.array(self.read([variable])[0])

    @abc.abstractmethod
    def release(self) -> None:
        """Lets go of what was kept of a model; called when its fit is over."""

    @abc.abstractmethod
    def random_state(self) -> Dict[str, Any]:
        """The engine's global random state, as plain values; empty where it has none."""

    @abc.abstractmethod
    def set_random_state(self, state: Dict[str, Any]) -> None:
        """Puts back what `random_state` returned, in this process or in another."""

    def eagerly(self) -> ContextManager[Any]:
        """Out of the graphs that the caller stands in."""
        return contextlib.ExitStack()

    def is_tracing(self) -> bool:
        """Whether the code that runs is being traced: it runs once for many steps."""
        return False

    def global_seed(self) -> Optional[int]:
        """The seed that the user has set for the whole engine; None where there is none."""
        return None

    def several(self) -> Dict[str, str]:
        """How many replicas or processes there are, for `describe`; empty where there is one of each."""
        return {}

    def why_no_fit(self, model: Any) -> str:
        """Why a fit on several devices or processes could not be resumed, and what to do; empty where it can."""
        return ""

    def layout(self, model: Any, variables: Sequence[Any], distribution: Any) -> str:
        """How a model lies on several devices, in words that two processes have in common; empty where on one.

        Args:
            model: the model.
            variables: its own, and its optimizers'.
            distribution: what Keras was told of it, if anything.
        """
        return ""

    def why_not_whole(self, variables: Sequence[Any]) -> str:
        """Why this process, by its rank, holds only a part of these variables; empty where it holds all of them."""
        return ""

    def own_state(self, value: Any) -> Optional[Tuple[Callable[[], Any], Callable[[Any], None]]]:
        """Functions that get and set, as plain values, the state of an object of the engine's; None for others."""
        return None

    def variables_of(self, value: Any) -> Optional[List[Any]]:
        """The variables within an object of the engine's that is no variable, such as a generator; None for others."""
        return None

    def tensor_like(self, array: np.ndarray, live: Any, make: Callable[[np.ndarray], Any]) -> Any:
        """A tensor with this value, to take the place of one that a variable of the script holds.

        Args:
            array: the value.
            live: what the variable holds now; None where that is no tensor.
            make: the family's `to_tensor`.

        Returns:
            `live` itself where tensors are changed in place, and others may hold it, too; else a new one.
        """
        return make(array)

    def tensors_in(self, value: Any) -> List[Tuple[str, Any, bool]]:
        """Tensors that carry more than values, or share memory: of a tensor, a variable, an engine's object.

        Args:
            value: anything.

        Returns:
            (name within it, tensor, whether the object's own state holds the tensor's value).
        """
        return []

    def attributes_of(self, value: Any) -> List[Tuple[str, Any, List[str]]]:
        """Attributes of an object of the engine's, and of what it consists of, that its own state leaves out.

        Returns:
            (name within it and a dot, a part, names of attributes of that).
        """
        return []

    def beside_value(self, tensor: Any) -> Any:
        """What a tensor of `tensors_in` carries beside its value, as a plain value; None where that is nothing."""
        return None

    def set_beside_value(self, tensor: Any, state: Any) -> None:  # noqa: B027  (most have nothing to do)
        """Puts back what `beside_value` returned."""

    def value_of(self, tensor: Any) -> np.ndarray:
        """A copy of the value of a tensor of `tensors_in`."""
        return np.array(tensor)

    def has_history(self, tensor: Any) -> bool:
        """Whether a tensor knows what it was computed from, so that a gradient can flow on through it."""
        return False

    def memory_of(self, value: Any) -> Optional[Tuple[int, Any]]:
        """Where the data of an array or tensor begin, and its place and form in them; None where it shares none."""
        if not isinstance(value, np.ndarray) or not value.nbytes:
            return None
        owner = value
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        begin, here = (one.__array_interface__["data"][0] for one in (owner, value))
        return int(begin), (int(here - begin), value.shape, value.strides)

    def unsealed(self, value: Any) -> Optional[Tuple[np.ndarray, str]]:
        """What is within a value that NumPy cannot hold, and how to seal it again; None for others."""
        return None

    def sealed(self, array: np.ndarray, how: str) -> Any:
        """The inverse of `unsealed`."""
        raise TypeError(how)

    def traces(self, functions: Sequence[Any]) -> int:
        """How many graphs or programs were made of these functions."""
        return 1

    def buffers(self, subject: Any, known: Sequence[Any]) -> Dict[str, Any]:
        """Tensors that a layer keeps beside its variables, by name, where the engine has such.

        Args:
            subject: a layer.
            known: the variables that are captured.
        """
        return {}

    def set_buffers(self, subject: Any, values: Dict[str, np.ndarray]) -> None:
        """Gives what `buffers` returned new values, in place.

        Raises:
            StateMismatch: the engine has no such tensors, and `buffers` never returned any.
        """
        raise StateMismatch("The checkpoint holds tensors beside variables ({}), and {} has none.".format(
            ", ".join(sorted(values)), self.name))

    def hidden_random_ops(self, functions: Sequence[Any]) -> List[str]:
        """Random ops in train and test functions whose state no one can read, by name; asked after the first step."""
        return []

    def unlisted_variables(self, functions: Sequence[Any], known: Sequence[Any]) -> List[str]:
        """Variables that train and test functions write to and nobody listed, by name; asked after the first step.

        Args:
            functions: the model's, traced where the engine traces.
            known: the variables that are captured, or that no resume needs.
        """
        return []
