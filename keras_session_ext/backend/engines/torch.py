"""torch."""

import sys
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from keras_session_ext.backend import several_processes
from keras_session_ext.backend.contracts.engine import Engine


class Torch(Engine):
    """torch updates in place, so values are copied."""

    name = "torch"
    copies = True

    def __init__(self) -> None:
        import torch

        self._torch = torch
        self._tracked: Tuple[Sequence[Any], Set[int]] = ((), set())

    def hold(self, variables: Sequence[Any], places: Optional[Sequence[np.ndarray]] = None) -> List[Any]:
        tensors = [variable.value.detach() for variable in variables]
        if places is None:
            return list(map(self._copy, tensors))
        over = [self._over(place if place.flags.aligned else np.empty_like(place)) for place in places]
        with self._torch.no_grad():  # one call, on as many threads as torch uses
            self._torch._foreach_copy_(over, tensors)
        for place, tensor in zip(places, tensors):
            if not place.flags.aligned:  # torch takes no such memory
                place[...] = self._copy(tensor)
        return list(places)

    def _over(self, array: np.ndarray) -> Any:
        """A tensor of torch over the memory of an array."""
        half = array.dtype.name == "bfloat16"  # which torch does not take from NumPy
        tensor = self._torch.from_numpy(array.view(np.int16) if half else array)
        return tensor.view(self._torch.bfloat16) if half else tensor

    def _copy(self, tensor: Any) -> np.ndarray:
        names = {self._torch.bfloat16: ("int16", "bfloat16")}
        if tensor.dtype in names:  # NumPy has no bfloat16 of its own
            import ml_dtypes

            bits, name = names[tensor.dtype]
            return tensor.view(getattr(self._torch, bits)).cpu().numpy().copy().view(getattr(ml_dtypes, name))
        return tensor.cpu().numpy().copy()

    def own_state(self, value: Any) -> Optional[Tuple[Callable[[], Any], Callable[[Any], None]]]:
        """Of generators, modules, optimizers and schedulers of torch."""
        for names in (("get_state", "set_state"), ("state_dict", "load_state_dict")):
            if all(hasattr(value, name) for name in names):
                get, put = (getattr(value, name) for name in names)
                return lambda get=get: self._arrays(get()), lambda state, put=put: self._load(put, state)
        return None

    def _load(self, put: Callable[[Any], Any], state: Any) -> None:
        put(self._tensors(state))

    def _arrays(self, value: Any) -> Any:
        """A state with arrays in the place of tensors."""
        if isinstance(value, self._torch.Tensor):
            return self._copy(value.detach())
        if isinstance(value, dict):
            return {key: self._arrays(item) for key, item in value.items()}
        return type(value)(map(self._arrays, value)) if type(value) in (list, tuple) else value

    def _tensors(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._over(np.array(value))
        if isinstance(value, dict):
            return {key: self._tensors(item) for key, item in value.items()}
        return type(value)(map(self._tensors, value)) if type(value) in (list, tuple) else value

    def tensor_like(self, array: np.ndarray, live: Any, make: Callable[[np.ndarray], Any]) -> Any:
        made = self._over(np.array(array))
        if not isinstance(live, self._torch.Tensor):
            return made
        whole = live.untyped_storage().nbytes() == live.numel() * live.element_size()
        if not whole or live.shape != made.shape or live.dtype != made.dtype or not live.is_leaf:
            return made.to(live.device)  # a part of other data is left alone
        with self._torch.no_grad():
            return live.copy_(made)

    def buffers(self, subject: Any, known: Sequence[Any]) -> Dict[str, Any]:
        """Buffers of the layer and of modules of torch in it, parameters that Keras does not track, and gradients."""
        if self._tracked[0] is not known:  # the same for all layers, of which there may be a thousand
            self._tracked = known, {id(variable.value) for variable in known}
        tracked = self._tracked[1]
        found = {name: tensor for name, tensor in self._beside(subject).items() if id(tensor) not in tracked}
        found.update((name, one.grad) for name, one in self._never_zeroed(subject).items() if one.grad is not None)
        return {name: self._copy(tensor.detach()) for name, tensor in found.items()}

    def _never_zeroed(self, subject: Any) -> Dict[str, Any]:
        """Parameters of a model that share their path: its trainer knows one of them, and the others' gradients add up.

        https://github.com/keras-team/keras/blob/v3.15.0/keras/src/backend/torch/layer.py (_track_variables)
        """
        if not hasattr(subject, "train_step"):
            return {}
        zeroed = {id(parameter) for parameter in subject.parameters()}
        return {"gradient {}".format(number): variable.value for number, variable in enumerate(
            subject.trainable_variables) if id(variable.value) not in zeroed}

    def _beside(self, subject: Any) -> Dict[str, Any]:
        if not isinstance(subject, self._torch.nn.Module):
            return {}
        found = dict(subject.named_buffers(recurse=False))
        for name, module in subject.named_children():
            if not hasattr(module, "compute_output_spec"):  # layers of Keras are looked at by themselves
                found.update(("{}.{}".format(name, inner), tensor)
                             for inner, tensor in [*module.named_buffers(), *module.named_parameters()])
        return found

    def set_buffers(self, subject: Any, values: Dict[str, np.ndarray]) -> None:
        beside, without_zero = self._beside(subject), self._never_zeroed(subject)
        with self._torch.no_grad():
            for name, value in values.items():
                if name in without_zero:
                    without_zero[name].grad = self._tensors(value).to(without_zero[name].device)
                else:
                    beside[name].copy_(self._tensors(value))

    def release(self) -> None:
        self._tracked = ((), set())

    def random_state(self) -> Dict[str, Any]:
        cuda = self._torch.cuda
        return {"cuda": [state.cpu().numpy() for state in cuda.get_rng_state_all()] if cuda.is_available() else []}

    def set_random_state(self, state: Dict[str, Any]) -> None:
        if state["cuda"]:
            self._torch.cuda.set_rng_state_all([self._torch.from_numpy(np.array(one)) for one in state["cuda"]])

    def several(self) -> Dict[str, str]:
        count, rank = self._world()
        return {"processes": "{}, this is rank {}".format(count, rank)} if count > 1 else {}

    def why_no_fit(self, model: Any) -> str:
        count, rank = self._world()
        return several_processes.torch_processes(count, rank) if count > 1 else ""

    def why_not_whole(self, variables: Sequence[Any]) -> str:
        parts = [str(variable.path) for variable in variables if hasattr(variable.value, "full_tensor")]  # DTensor
        count, rank = self._world()
        return several_processes.not_whole("torch.distributed", rank, count, ", ".join(parts[:3])) if parts else ""

    @staticmethod
    def _world() -> Tuple[int, int]:
        """How many processes there are, and which of them this is."""
        distributed = sys.modules.get("torch.distributed")
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return 1, 0
        return int(distributed.get_world_size()), int(distributed.get_rank())
