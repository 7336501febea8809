"""From one family's variables to another's: pure tables in, a plan out.

The tables are those of `backend/transfer/layer_and_slot_tables.py`. Layers meet by name where
both models use the same names, else in the order of the model; weights within
a layer by position; optimizer slots by the weight they serve.
"""

from typing import Any, Dict, List, NamedTuple, Tuple

Table = List[Dict[str, Any]]


class Plan(NamedTuple):
    """What goes where.

    Attributes:
        moves: (number there, number here) of every array that is carried over.
        problems: why the checkpoint is not of this model; then nothing is carried.
        notes: what has no counterpart, or means something else here.
    """

    moves: List[Tuple[int, int]]
    problems: List[str]
    notes: List[str]


def plan_weights(then: Table, now: Table, shapes_then: List[Tuple[int, ...]],
                 shapes_now: List[Tuple[int, ...]]) -> Plan:
    """Matches two models.

    Args:
        then: the checkpoint's layers.
        now: the model's.
        shapes_then: of the checkpoint's arrays, by number.
        shapes_now: of the model's variables, by number.

    Returns:
        A `Plan`; weights are all carried or none.
    """
    problems: List[str] = []
    notes: List[str] = []
    moves: List[Tuple[int, int]] = []
    if len(then) != len(now):
        problems.append("the checkpoint has {} layers with weights ({}), the model has {} ({})".format(
            len(then), _names(then), len(now), _names(now)))
    for one, other in _meet(then, now):
        problems += _layer(one, other, moves, shapes_then, shapes_now)
        notes += _computes(one, other)
    return Plan([] if problems else moves, problems, notes)


def _computes(then: Dict[str, Any], now: Dict[str, Any]) -> List[str]:
    """Settings, often defaults, by which two versions of a layer compute different things from the same weights."""
    one, other = then.get("computes", {}), now.get("computes", {})
    return ["{}: {} was {}, now it is {}; write it out to compute the same".format(
        now["name"], setting, one[setting], other[setting])
        for setting in sorted(set(one) & set(other)) if not _same(one[setting], other[setting])]


def _same(one: Any, other: Any) -> bool:
    """Equal, as far as float32 can tell: some versions keep settings in variables."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-6 * max(abs(one), abs(other))
    return bool(one == other)


def _names(table: Table) -> str:
    names = [layer["name"] for layer in table]
    return ", ".join(names if len(names) <= 8 else [*names[:8], "…"])


def _meet(then: Table, now: Table) -> List[Tuple[Dict[str, Any], Dict[str, Any]]]:
    by_name = {layer["name"]: layer for layer in now}
    if len(by_name) == len(now) == len(then) and {layer["name"] for layer in then} == set(by_name):
        return [(layer, by_name[layer["name"]]) for layer in then]
    return list(zip(then, now))


def _layer(then: Dict[str, Any], now: Dict[str, Any], moves: List[Tuple[int, int]], shapes_then: Any,
           shapes_now: Any) -> List[str]:
    whose = then["name"] if then["name"] == now["name"] else "{} (was {})".format(now["name"], then["name"])
    if then["class"] != now["class"]:
        return ["{}: the checkpoint has a {}, the model a {}".format(whose, then["class"], now["class"])]
    for setting in ("reset_after", "data_format"):
        one, other = then["layout"].get(setting), now["layout"].get(setting)
        if setting == "reset_after" and now["class"] == "GRU":
            one, other = bool(one), bool(other)  # Keras 2.2 has layers that do not say
        if one is not None and other is not None and one != other:
            return ["{}: {}={} at the checkpoint, {} now; no weights correspond. Write {}={}".format(
                whose, setting, one, other, setting, one)]
    if len(then["weights"]) != len(now["weights"]):
        return ["{}: the checkpoint has {} weights ({}), the model {} ({})".format(
            whose, len(then["weights"]), ", ".join(name for name, _ in then["weights"]), len(now["weights"]),
            ", ".join(name for name, _ in now["weights"]))]
    problems = []
    for (name, number), (_, place) in zip(then["weights"], now["weights"]):
        if shapes_then[number] != shapes_now[place]:
            problems.append("{}/{}: the checkpoint has shape {}, the model has shape {}".format(
                whose, name, shapes_then[number], shapes_now[place]))
        moves.append((number, place))
    return problems


def plan_slots(then: Dict[str, Any], now: Dict[str, Any], weights: Dict[int, int]) -> Plan:
    """Matches two optimizers.

    Args:
        then: the checkpoint's table.
        now: the live optimizer's.
        weights: number of a weight there -> its number here.

    Returns:
        A `Plan` without problems: what does not correspond is a note, and stays as it is here.
    """
    notes: List[str] = []
    moves: List[Tuple[int, int]] = []
    if then["class"] != now["class"]:
        return Plan([], [], ["the optimizer was {}, now it is {}: no slots correspond, it begins anew".format(
            then["class"], now["class"])])
    for name, pairs in then["slots"].items():
        here: Dict[int, int] = dict(now["slots"].get(name, []))
        if not here:
            notes.append("the optimizer's slot {} has no counterpart here".format(name))
            continue
        for weight, slot in pairs:
            place = here.get(weights.get(weight, -1))
            if place is None:
                notes.append("slot {} of weight {} has no counterpart here".format(name, weight))
            else:
                moves.append((slot, place))
    notes += ["the optimizer's slot {} is not in the checkpoint, it begins anew".format(name)
              for name in now["slots"] if name not in then["slots"]]
    forms = {then.get("form", ""), now.get("form", "")}
    computed_alike = len(forms) == 1 or "" in forms
    if not computed_alike:
        notes.append("{} computes its steps in another way here ({} then, {} now)".format(
            now["class"], then["form"], now["form"]))
    for name, number in then["scalars"].items():
        if name in ("u_product", "m_schedule") and not computed_alike:
            notes.append("the optimizer's {} means something else here, it begins anew".format(name))
        elif name in now["scalars"]:
            moves.append((number, now["scalars"][name]))
        elif name != "learning_rate" or "learning_rate" not in now["settings"]:
            notes.append("the optimizer's {} has no counterpart here".format(name))
    notes += ["the optimizer's {} is not in the checkpoint, it begins anew".format(name)
              for name in now["scalars"] if name not in then["scalars"] and name != "learning_rate"]
    notes += ["the optimizer's {} was {}, and has no counterpart here".format(name, then["settings"][name])
              for name in ("decay", "schedule_decay") if then["settings"].get(name) and name not in now["settings"]]
    for name in sorted(set(then["settings"]) & set(now["settings"])):
        if not _same(then["settings"][name], now["settings"][name]):
            notes.append("the optimizer's {} was {}, now it is {}".format(
                name, then["settings"][name], now["settings"][name]))
    return Plan(moves, [], notes)
