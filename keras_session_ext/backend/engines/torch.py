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
    tensors_carry_more = True

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
        if isinstance(value, self._torch.nn.Module):
            return lambda: self._module_state(value), lambda state: self._set_module_state(value, state)
        for names in (("get_state", "set_state"), ("state_dict", "load_state_dict")):
            if all(hasattr(value, name) for name in names):
                get, put = (getattr(value, name) for name in names)
                return lambda get=get: self._arrays(get()), lambda state, put=put: self._load(put, state)
        return None

    def _module_state(self, module: Any) -> Dict[str, Any]:
        """Its `state_dict`; and what that leaves out: modes, buffers that are not to be saved, what tensors carry."""
        beside = {"evaluates": [number for number, one in enumerate(module.modules()) if not one.training],
                  "buffers": {name: self._copy(tensor.detach()) for name, tensor, kept in self.tensors_in(module)
                              if not kept},
                  "tensors": {name: self.beside_value(tensor) for name, tensor, _ in self.tensors_in(module)}}
        return {"state": self._arrays(module.state_dict()), "beside": beside}

    def _set_module_state(self, module: Any, state: Dict[str, Any]) -> None:
        beside = state.get("beside")
        if not isinstance(beside, dict):  # of a version that kept the state_dict alone
            self._load(module.load_state_dict, state)
            return
        self._load(module.load_state_dict, state["state"])
        for number, one in enumerate(module.modules()):
            one.training = number not in beside["evaluates"]
        with self._torch.no_grad():
            for name, tensor, _ in self.tensors_in(module):
                if name in beside["buffers"]:
                    tensor.copy_(self._tensors(beside["buffers"][name]))
        for name, tensor, _ in self.tensors_in(module):
            self.set_beside_value(tensor, beside["tensors"].get(name))

    def tensors_in(self, value: Any) -> List[Tuple[str, Any, bool]]:
        torch = self._torch
        if isinstance(value, torch.Tensor):
            return [("", value, True)]
        if isinstance(value, torch.nn.Module):
            try:
                kept = {id(one) for one in value.state_dict(keep_vars=True).values()}
            except TypeError:  # the script's own state_dict, which takes no arguments
                kept = set()
            found = [*value.named_parameters(), *value.named_buffers()]
            return [(name, tensor, id(tensor) in kept) for name, tensor in found]
        if isinstance(value, torch.optim.Optimizer):
            return [("parameter {}.{}".format(number, at), tensor, False)
                    for number, group in enumerate(value.param_groups) for at, tensor in enumerate(group["params"])]
        is_variable = hasattr(type(value), "assign") and hasattr(type(value), "value")  # of Keras's
        inner = value.value if is_variable else None
        return [("", inner, True)] if isinstance(inner, torch.Tensor) else []

    def attributes_of(self, value: Any) -> List[Tuple[str, Any, List[str]]]:
        if not isinstance(value, self._torch.nn.Module):
            return []
        bare, made = set(vars(self._torch.nn.Module())), []
        for path, part in value.named_modules():
            ours = type(part).__module__.startswith("torch.")
            names = [name for name, item in sorted(vars(part).items()) if name not in bare and not (
                ours and type(item) not in (bool, int, float, str))]
            made.append((path + "." if path else "", part, names))
        return made

    def beside_value(self, tensor: Any) -> Any:
        grad = tensor.grad if tensor.is_leaf else None
        if not tensor.requires_grad and grad is None:
            return None
        return {"requires": tensor.requires_grad, "gradient": None if grad is None else self._copy(grad.detach())}

    def set_beside_value(self, tensor: Any, state: Any) -> None:
        if not tensor.is_leaf:
            return
        tensor.requires_grad_(state is not None and state["requires"])
        gradient = None if state is None else state["gradient"]
        tensor.grad = None if gradient is None else self._tensors(gradient).to(tensor.device)

    def value_of(self, tensor: Any) -> np.ndarray:
        return self._copy(tensor.detach())

    def has_history(self, tensor: Any) -> bool:
        return tensor.grad_fn is not None and tensor.requires_grad

    def memory_of(self, value: Any) -> Optional[Tuple[int, Any]]:
        if isinstance(value, np.ndarray) and isinstance(value.base, self._torch.Tensor) and value.nbytes:
            place = self.memory_of(value.base)
            return place and (place[0], (value.__array_interface__["data"][0] - place[0], value.shape, value.strides))
        if not isinstance(value, self._torch.Tensor):
            return super().memory_of(value)
        if value.layout is not self._torch.strided or not value.numel():
            return None
        size = value.element_size()
        return value.untyped_storage().data_ptr(), (value.storage_offset() * size, tuple(value.shape), tuple(
            step * size for step in value.stride()))

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
        if live.shape != made.shape or live.dtype != made.dtype or not live.is_leaf:
            return made.to(live.device)
        try:
            with self._torch.no_grad():
                return live.copy_(made)
        except RuntimeError:  # of one that was expanded: several of its elements are one
            return made.to(live.device)

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
