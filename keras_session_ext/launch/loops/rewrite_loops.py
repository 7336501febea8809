"""Rewrites a script so that its loops that train are levels of one SessionLoop. Pure: text in, tree out.

```
for step, x in enumerate(data):    for step, x in __session_loops__.level(3, data, 0):
    train(x)                           train(x)
                                   __session_loops__.over(3)
while total < 100:                 for __session_count__ in __session_loops__.level(4, None):
    train()                            if not total < 100 and not __session_loops__.comes_back():
                                           break
                                       train()
                                   __session_loops__.over(4)
```

All else stays, the line numbers included. What `__session_loops__` does is in wrapped_loops.py.
"""

import ast
from typing import Any, Callable, List, NamedTuple, Optional, Set, Tuple

from keras_session_ext.launch.loops.training_calls import Training, last_name, within

#: the name that a rewritten script knows the loops by
NAME = "__session_loops__"
_COUNT = "__session_count__"
#: what shows how far a loop is, around what it reads
_BARS = frozenset(["tqdm", "track"])


class Place(NamedTuple):
    """A loop that was wrapped.

    Attributes:
        line: of the script.
        nested: whether others that train stand within it, so that it counts epochs.
        path: the file.
    """

    line: int
    nested: bool
    path: str


class Rewritten(NamedTuple):
    """A script whose loops are wrapped.

    Attributes:
        tree: to be compiled.
        told: what could not be wrapped: (line, what to write instead).
    """

    tree: ast.Module
    told: List[Tuple[int, str]]


def rewrite(source: Any, path: str, places: List[Place],
            beside: Callable[[str, int], Optional[ast.Module]] = lambda name, level: None) -> Rewritten:
    """Wraps the loops of a script that train.

    Args:
        source: its text.
        path: of it.
        places: gets each loop that is wrapped.
        beside: see `Training`.

    Examples:
        >>> places = []
        >>> made = rewrite("for x in data:\\n    model.train_on_batch(x)\\n", "a.py", places)
        >>> places
        [Place(line=1, nested=False, path='a.py')]
    """
    tree = ast.parse(source, path)
    if any(isinstance(node, (ast.Name, ast.Attribute)) and last_name(node) == "SessionLoop" for node in ast.walk(tree)):
        return Rewritten(tree, [])
    made = _Rewrite(tree, path, places, Training(tree, beside))
    return Rewritten(ast.fix_missing_locations(made.visit(tree)), sorted(set(made.told)))


class _Rewrite(ast.NodeTransformer):
    """Goes through a tree."""

    def __init__(self, tree: ast.Module, path: str, places: List[Place], training: Training):
        self._path, self._places, self._training = path, places, training
        self.told: List[Tuple[int, str]] = []
        self._owner: Optional[str] = None
        self._in_function = self._in_class = False
        self._depth = 0  # of wrapped loops in the function that is visited
        stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        self._is_enumerate = not stored & {"enumerate"}
        self._drawn = self._names_drawn(tree)

    def _names_drawn(self, tree: ast.Module) -> Set[str]:
        """What next() draws from in loops that train, or in functions that do."""
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
        return {last_name(node.args[0]) for node in calls if isinstance(node.func, ast.Name) and node.func.id == "next"}

    # -- where a name belongs

    def visit_FunctionDef(self, node: Any) -> Any:
        if node.name in self._training.traced:  # it is run by what traces it, once for many steps
            return node
        before = self._owner, self._in_function, self._in_class, self._depth
        self._owner = self._owner if self._in_class else None
        self._in_function, self._in_class, self._depth = True, False, 0
        node = self.generic_visit(node)
        self._owner, self._in_function, self._in_class, self._depth = before
        return node

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: Any) -> Any:
        before = self._owner, self._in_class, self._depth
        self._owner, self._in_class, self._depth = node.name, True, 0
        node = self.generic_visit(node)
        self._owner, self._in_class, self._depth = before
        return node

    def _trains(self, node: Any) -> bool:
        return self._training.trains(node, self._owner)

    def _tell(self, node: Any, text: str) -> None:
        self.told.append((node.lineno, text))

    # -- loops

    def visit_For(self, node: Any) -> Any:
        if not self._trains(node) or self._training.asks_for_training(node.iter, self._owner):
            return self.generic_visit(node)
        if self._is_left_alone(node):
            node.iter = ast.copy_location(_call("alone", [node.iter]), node.iter)
            return self.generic_visit(node)
        return self._wrapped(node, node.target, *self._source(node.iter), [])

    def visit_While(self, node: Any) -> Any:
        if not self._trains(node) or self._is_left_alone(node):
            return self.generic_visit(node)
        target = ast.copy_location(ast.Name(_COUNT, ast.Store()), node)
        test = [] if isinstance(node.test, ast.Constant) and node.test.value else [self._leaves(node)]
        node.orelse = []
        nothing = ast.Constant(None)
        return self._wrapped(node, target, lambda call: call, [nothing], test)

    def visit_AsyncFor(self, node: Any) -> Any:
        if self._trains(node):
            self._tell(node, "a loop over what is awaited; write a plain `for`")
        return self.generic_visit(node)

    def _is_left_alone(self, node: Any) -> bool:
        if self._in_class:
            self._tell(node, "a loop in the body of a class; write it in a function")
        elif isinstance(node, ast.For) and node.orelse:
            self._tell(node, "a loop with `else:`, which would run when a loop that was left is started again; write "
                             "what stands there behind the loop")
        elif isinstance(node, ast.While) and node.orelse and any(
                isinstance(one, (ast.Break, ast.Continue)) for part in node.orelse for one in within(part)):
            self._tell(node, "a `while` whose `else:` goes on with a loop around it; write it behind the loop")
        else:
            return False
        return True

    def _wrapped(self, node: Any, target: Any, around: Callable[[Any], Any], arguments: List[Any],
                 test: List[Any]) -> List[Any]:
        number = len(self._places)
        self._places.append(Place(node.lineno, self._training.has_loops(node, self._owner), self._path))
        self._depth += 1
        body = [one for statement in node.body for one in _listed(self.visit(statement))]
        self._depth -= 1
        iterator = around(_call("level", [ast.Constant(number), *arguments]))
        made = ast.For(target=target, iter=iterator, body=[*test, *body], orelse=[])
        made = ast.copy_location(made, node)
        ast.copy_location(made.iter, node)
        return [made, ast.copy_location(ast.Expr(_call("over", [ast.Constant(number)])), node)]

    def _leaves(self, node: Any) -> Any:
        """A `while` is over when its condition does not hold; on the way back to a checkpoint it held."""
        test = ast.BoolOp(ast.And(), [ast.UnaryOp(ast.Not(), node.test),
                                      ast.UnaryOp(ast.Not(), _call("comes_back", []))])
        return ast.copy_location(ast.If(test, [*node.orelse, ast.Break()], []), node.test)

    def _source(self, node: Any) -> Tuple[Callable[[Any], Any], List[Any]]:
        """What stays around a level, and what the level is given: the data, and where it counts the first number."""
        if isinstance(node, ast.Call) and node.args and not isinstance(node.args[0], ast.Starred):
            name = last_name(node.func)
            if name in _BARS:
                around, inner = self._source(node.args[0])

                def bar(level: Any) -> Any:
                    return ast.copy_location(ast.Call(node.func, [around(level), *node.args[1:]], node.keywords), node)

                return bar, inner
            if self._is_enumerate and isinstance(node.func, ast.Name) and name == "enumerate":
                around, inner = self._source(node.args[0])
                starts = [*node.args[1:], *[one.value for one in node.keywords if one.arg == "start"]]
                if len(inner) == 1 and len(starts) < 2:
                    return around, [*inner, *(starts or [ast.Constant(0)])]
        return (lambda level: level), [self.visit(node)]

    # -- what else reads data, or trains

    def visit_Assign(self, node: Any) -> Any:
        value = node.value
        is_iterator = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "iter" and (
            len(value.args) == 1 and any(last_name(target) in self._drawn for target in node.targets))
        if is_iterator and self._depth:
            self._tell(node, "next() of an iterator that is made within a loop; write `for … in` over what it reads")
        elif is_iterator:
            node.value = ast.copy_location(_call("iterator", [value.args[0]]), value)
            return node
        return self.generic_visit(node)

    def _visit_comprehension(self, node: Any) -> Any:
        if self._trains(node) and not self._depth:
            self._tell(node, "a loop that trains within an expression; write a `for`")
        return self.generic_visit(node)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension


def _listed(made: Any) -> List[Any]:
    return made if isinstance(made, list) else [made]


def _call(name: str, arguments: List[Any]) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Name(NAME, ast.Load()), name, ast.Load()), arguments, [])
