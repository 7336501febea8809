"""Which functions of a script train, as its text says: they update a variable, or call one that does. Pure: text in.

An update is a call of an optimizer, of Keras's own training methods, or of what
makes gradients; whose optimizer it is stands in no text, so a loop that has one
is taken to train.
"""

import ast
import re
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

#: they train, whoever is asked
_UPDATES = frozenset(["apply_gradients", "stateless_apply", "train_on_batch", "fit", "fit_generator", "backward",
                      "gradient", "apply_updates", "batch_gradient"])
#: they train if they are an optimizer's
_OF_AN_OPTIMIZER = frozenset(["apply", "step", "minimize"])
#: they make a function that gives gradients
_MAKES_GRADIENTS = frozenset(["grad", "value_and_grad", "vjp"])
#: they make a function of a function, traced or compiled
TRACES = frozenset(["function", "jit", "pmap", "compile", "scan", "fori_loop", "while_loop", "shard_map", "checkpoint",
                    "remat", *_MAKES_GRADIENTS])
_MAKES = frozenset([*TRACES, "partial", "vmap", "wraps"])
_OPTIMIZER_NAME = re.compile(r"optim|(^|_)opt(_|\d*$)", re.IGNORECASE)
_OPTIMIZERS = frozenset(["Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "NAdam", "Ftrl",
                         "Lion", "Lamb", "Muon", "Adafactor", "RAdam", "LBFGS"])
_ARRAYS = frozenset(["np", "numpy", "jnp", "scipy"])
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.While, ast.AsyncFor)

Key = Tuple[Optional[str], str]  # the class it is a method of, or None; its name


def last_name(node: Any) -> str:
    """What an expression is called at its end.

    Examples:
        >>> last_name(ast.parse("self.steps.train", mode="eval").body)
        'train'
    """
    while isinstance(node, (ast.Subscript, ast.Call, ast.Starred)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def within(node: Any) -> Iterator[Any]:
    """A node and what runs when it runs: not the bodies of functions and classes that are defined there."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*_FUNCTIONS, ast.ClassDef)):
            yield from within(child)


def body_of(function: Any) -> Iterator[Any]:
    """What runs when a function is called."""
    for statement in function.body:
        if not isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
            yield from within(statement)


class Training:
    """What is known of a script, or of a module beside it.

    Args:
        tree: of its text.
        beside: gives the tree of a module that stands beside the script, by its name and how relative that is; or None.
        seen: those that were looked at.
    """

    def __init__(self, tree: ast.Module, beside: Callable[[str, int], Optional[ast.Module]] = lambda name, level: None,
                 seen: Optional[Dict[str, "Training"]] = None):
        self._functions: List[Tuple[Key, Any]] = []
        self._classes: Dict[str, List[str]] = {}
        self._instances: Dict[str, str] = {}
        self._optimizers: Set[str] = set()
        self._no_models: Set[str] = set()
        self._known: Set[Key] = set()
        self._loopers: Set[Key] = set()
        self._names: Set[str] = set()  # variables that hold a function that trains
        self._factories: Set[Key] = set()
        self.traced: Set[str] = set()
        self._read(tree, None)
        self._assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
        self._imports(tree, beside, {} if seen is None else seen)
        self._look(tree)
        self._follow(tree)

    # -- what there is

    def _read(self, node: Any, owner: Optional[str]) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _FUNCTIONS):
                self._functions.append(((owner, child.name), child))
                self._read(child, None)
            elif isinstance(child, ast.ClassDef):
                self._classes[child.name] = [last_name(base) for base in child.bases]
                self._read(child, child.name)
            else:
                self._read(child, owner)

    def _imports(self, tree: ast.Module, beside: Any, seen: Dict[str, "Training"]) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                wanted = [(alias.name, 0) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                wanted = [(node.module or "", node.level), *[(".".join(filter(None, [node.module, alias.name])),
                                                              node.level) for alias in node.names]]
            else:
                continue
            for name, level in wanted:
                key = "." * level + name
                other = beside(name, level) if key not in seen else None
                if other is not None:
                    seen[key] = self  # one that imports this one in turn
                    seen[key] = Training(other, beside, seen)
                if key in seen and seen[key] is not self:
                    self._take(seen[key])

    def _take(self, other: "Training") -> None:
        self._functions += [one for one in other._functions if one not in self._functions]
        self._known |= other._known
        self._loopers |= other._loopers
        self._factories |= other._factories
        self._names |= other._names
        self._classes.update(other._classes)

    def _look(self, tree: ast.Module) -> None:
        learned = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
                   and str(node.module).startswith("sklearn") for alias in node.names}
        for made in self._assignments:
            if not isinstance(made.value, ast.Call):
                continue
            name, targets = last_name(made.value.func), self._targets(made)
            if name in _OPTIMIZERS or "optim" in ast.dump(made.value.func):
                self._optimizers |= targets
            if name in learned:
                self._no_models |= targets
            if name in self._classes:
                self._instances.update(dict.fromkeys(targets, name))
        for node in ast.walk(tree):
            if isinstance(node, _FUNCTIONS) and any(
                    last_name(inner) in TRACES for one in node.decorator_list for inner in ast.walk(one)):
                self.traced.add(node.name)
            if isinstance(node, ast.Call) and last_name(node.func) in TRACES:
                self.traced |= {last_name(one) for one in node.args}

    @staticmethod
    def _targets(node: Any) -> Set[str]:
        found = [inner for target in node.targets for inner in (
            target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target])]
        return {last_name(one) for one in found} - {""}

    # -- what follows

    def _follow(self, tree: ast.Module) -> None:
        before = -1
        while before != self._known_so_far():
            before = self._known_so_far()
            for key, function in self._functions:
                self._follow_function(key, function)
            for one in self._assignments:
                made = isinstance(one.value, ast.Call) and self._keys(one.value.func, None) & self._factories
                if made or self._is_trainer(one.value, None):
                    self._names |= self._targets(one)
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    self._follow_arguments(node)

    def _known_so_far(self) -> int:
        return len(self._known) + len(self._loopers) + len(self._names) + len(self._factories)

    def _follow_function(self, key: Key, function: Any) -> None:
        nodes = list(body_of(function))
        decorated = any(last_name(inner) in _MAKES_GRADIENTS for one in function.decorator_list
                        for inner in ast.walk(one))
        if decorated or any(self.is_update(node, key[0]) for node in nodes):
            self._known.add(key)
        if any((isinstance(node, LOOPS) and self.trains(node, key[0])) or self._calls(
                node, key[0], self._loopers) for node in nodes):
            self._loopers.add(key)
        if any(isinstance(node, ast.Return) and node.value is not None and self._is_trainer(
                node.value, key[0]) for node in nodes):
            self._factories.add(key)

    def _follow_arguments(self, call: ast.Call) -> None:
        """What a function of the script is given and trains, trains under the name that it has there."""
        keys = self._keys(call.func, None)
        for key, function in self._functions:
            if key not in keys:
                continue
            names = [one.arg for one in function.args.args][1 if key[0] else 0:]
            given = [*zip(names, call.args), *[(one.arg, one.value) for one in call.keywords]]
            self._names |= {name for name, value in given if name and self._is_trainer(value, None)}

    def _keys(self, function: Any, owner: Optional[str]) -> Set[Key]:
        """The functions of the script that a call may mean."""
        name = last_name(function)
        if isinstance(function, ast.Name):
            if name in self._classes:
                return {(name, "__init__")}
            return {(self._instances[name], "__call__")} if name in self._instances else {(None, name)}
        if not isinstance(function, ast.Attribute):
            return set()
        base = last_name(function.value)
        whose = owner if base in ("self", "cls") else self._instances.get(base)
        keys = {key for key, _ in self._functions if key[1] == name}
        if whose is None:
            return keys
        family, todo = set(), [whose]
        while todo:
            one = todo.pop()
            if one not in family:
                family.add(one)
                todo += self._classes.get(one, [])
        return {key for key in keys if key[0] in family} or {key for key in keys if key[0] is None and base not in (
            "self", "cls")}

    def _calls(self, node: Any, owner: Optional[str], wanted: Set[Key]) -> bool:
        return isinstance(node, ast.Call) and bool(self._keys(node.func, owner) & wanted)

    def _is_trainer(self, value: Any, owner: Optional[str]) -> bool:
        """Whether a value is a function that trains, or is made of one."""
        if isinstance(value, (ast.Name, ast.Attribute)):
            own = isinstance(value, ast.Attribute) or value.id not in self._classes
            return last_name(value) in self._names or (own and bool(self._keys(value, owner) & self._known))
        if isinstance(value, ast.IfExp):
            return self._is_trainer(value.body, owner) or self._is_trainer(value.orelse, owner)
        if isinstance(value, ast.Lambda):
            return any(self.is_update(node, owner) for node in within(value.body))
        if isinstance(value, ast.Call) and last_name(value.func) in _MAKES:
            return last_name(value.func) in _MAKES_GRADIENTS or any(
                self._is_trainer(one, owner) for one in [*value.args, value.func])
        return isinstance(value, ast.Call) and self._is_trainer(getattr(value.func, "value", None), owner) and not (
            isinstance(value.func, ast.Name))

    # -- what is asked

    def is_update(self, node: Any, owner: Optional[str]) -> bool:
        """Whether a node is a call that trains.

        Args:
            node: of the tree.
            owner: the class in whose method it stands, or None.
        """
        if not isinstance(node, ast.Call):
            return False
        function = node.func
        name, base = last_name(function), last_name(getattr(function, "value", None))
        if isinstance(function, ast.Call):  # value_and_grad(loss)(x)
            return last_name(function.func) in _MAKES_GRADIENTS or self._is_trainer(function, owner)
        if name in _UPDATES and isinstance(function, ast.Attribute):
            return base not in _ARRAYS and base not in self._no_models
        if name == "grad" and base == "autograd":
            return True
        if name in _OF_AN_OPTIMIZER and (base in self._optimizers or _OPTIMIZER_NAME.search(base)):
            return True
        if name in self._names or self._calls(node, owner, self._known):
            return True
        if name in _MAKES and name not in ("scan", "fori_loop", "while_loop"):
            return False
        given = [*node.args, *[one.value for one in node.keywords]]
        return any(self._is_trainer(one, owner) for one in given)

    def trains(self, node: Any, owner: Optional[str]) -> bool:
        """Whether a statement trains when it runs."""
        return any(self.is_update(one, owner) for one in within(node))

    def asks_for_training(self, node: Any, owner: Optional[str]) -> bool:
        """Whether an expression has a generator of the script that trains: its own loops are levels then."""
        wanted = {key for key, function in self._functions if key in self._known and any(
            isinstance(one, (ast.Yield, ast.YieldFrom)) for one in body_of(function))}
        return any(self._calls(one, owner, wanted) for one in within(node))

    def has_loops(self, node: Any, owner: Optional[str]) -> bool:
        """Whether a loop has others within it that train, in itself or in functions that it calls."""
        inner = [one for one in within(node) if one is not node]
        return any((isinstance(one, LOOPS) and self.trains(one, owner)) or self._calls(one, owner, self._loopers) or (
            isinstance(one, ast.Call) and last_name(one.func) in ("fit", "fit_generator")) for one in inner)
