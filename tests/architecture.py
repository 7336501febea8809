"""The rooms of the package and their floors, and the drawing of docs/architecture.md made from the imports.

    python tests/architecture.py > docs/images/architecture.svg

tests/unit/test_floors.py holds the imports to the floors, and the drawing to what it says.
"""

import ast
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACKAGE = os.path.join(ROOT, "keras_session_ext")
FILES = sorted(os.path.relpath(os.path.join(folder, name), PACKAGE)
               for folder, _, names in os.walk(PACKAGE) for name in names if name.endswith(".py"))

#: from the top down: what stands on one floor, each with what it is for; imports go down only
FLOORS = [
    {"cli": "the command keras-session"},
    {"launch.run_with_callbacks": "inside the script of run and prove"},
    {"proof": "two runs of a script compared", "launch.loops": "an unchanged script's loops"},
    {"config": "from a config to callbacks"},
    {"callbacks": "Keras's hooks", "loop": "the user's own loops", "session_file": "saving outside fit"},
    {"first_and_last_callbacks": "what stands around all others", "keras_callback_class": "ours as Keras's"},
    {"run": "when, what, where, keep, restore; the drivers"},
    {"state": "what a session is made of, one file per kind", "store.find_runs": "runs below a folder",
     "store.find_checkpoints": "which one is meant", "store.fetch_checkpoint": "from a store to a file",
     "store.mirror_run": "from a folder to a store"},
    {"store.run_directory": "names, generations, retention"},
    {"store.unsent": "what waits here since before"},
    {"backend": "all that knows a framework", "checkpoint": "the file format", "policies": "when to save, what to keep",
     "tensorboard": "the Session tab", "launch.supervisor": "a script watched over"},
    {"store.choose": "which store a path leads to"},
    {"store.mirrored": "a folder, and its second copy"},
    {"store.remote": "a run behind a URL"},
    {"lifecycle": "events, journal, story", "store.local": "a run on a file system",
     "launch.child_process": "a script's process"},
    {"store.local_lock": "its lock", "store.remote_lock": "its sign of life", "store.remote_file": "read by ranges",
     "store.staging": "what waits for a store"},
    {"store.write_behind": "pieces while the next are made", "store.process_identity": "who lives"},
    {"store.contract": "what a store offers", "store.checkpoint_names": "and their order"},
    {"remote_copies": "small files sent again and again"},
    {"file_locks": "locked files", "remote_files": "calls to a store"},
    {"arguments": "checks", "progress": "values", "files": "file-system calls"},
    {"errors": "exceptions", "units": "durations and sizes", "urls": "URLs of stores"},
]
#: they never import each other, though they stand side by side
ISLANDS = ("backend", "checkpoint", "policies", "tensorboard", "launch.supervisor")
#: the same within the one room that is large enough to have floors of its own
BACKEND_FLOORS = [
    {"__init__": "", "installed": "", "private_attributes": ""},
    {"tf1_session.keras_backend": ""},
    {"tf1_session.shim": ""},
    {"choose": ""},
    {"keras2": "", "keras3": ""},
    {"shared_by_families": ""},
    {"tf1_session.eager_session_access": "", "tf1_session.graph_session_access": "",
     "tf1_session.keras3_session_access": ""},
    {"tf1_session.followed_session": ""},
    {"tf1_session.watch_sessions": ""},
    {"tf1_session.session_programs": ""},
    {"feeds": "", "randomness.redraw_kernel_ops": ""},
    {"tf1_session.symbolic_tensors": ""},
    {"engines": "", "kept_values": "", "constructor_arguments": ""},
    {"contracts": "", "randomness": "", "hooks": "", "transfer": "",
     "optimizers": "", "saving_protocol": ""},
    {"tf1_session.scope_settings": "", "tf1_session.__init__": "", "layers_and_variables": "", "closures": "",
     "several_processes": ""},
    {"nested_values": ""},
]


def imports(path):
    """The names that a file imports, at its top or inside functions; those for the type checker alone are left out."""
    with open(os.path.join(PACKAGE, path)) as handle:
        tree = ast.parse(handle.read())
    for_types = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.If)
                 and getattr(node.test, "id", "") == "TYPE_CHECKING" for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = "{}.{}".format(node.module, alias.name)
                yield full if is_module(full) else node.module


def is_module(name):
    if not name.startswith("keras_session_ext."):
        return False
    path = os.path.join(ROOT, name.replace(".", os.sep))
    return os.path.exists(path + ".py") or os.path.exists(os.path.join(path, "__init__.py"))


def module_of(path):
    """A file's name within the package: "run.fit", "backend.choose"; a package's own is "backend.__init__"."""
    return path[:-3].replace(os.sep, ".")


def own_imports(path):
    """Modules of the package that a file imports, as `module_of` calls them."""
    for name in imports(path):
        if name.startswith("keras_session_ext."):
            name = name[len("keras_session_ext."):]
            if os.path.isdir(os.path.join(PACKAGE, name.replace(".", os.sep))):
                name += ".__init__"
            yield name


def room(module, floors=None):
    """The room a module stands in: the longest name of the floors that it begins with."""
    names = [name for floor in (floors or FLOORS) for name in floor
             if module == name or module.startswith(name + ".")]
    return max(names, key=len) if names else None


def height(name, floors=None):
    """How far above the ground a room is."""
    floors = floors or FLOORS
    return next(len(floors) - number for number, floor in enumerate(floors) if name in floor)


def between_rooms():
    """(upper room, lower room) of every import from one room to another."""
    found = set()
    for path in FILES:
        here = room(module_of(path))
        for other in own_imports(path):
            there = room(other)
            if here and there and here != there:
                found.add((here, there))
    return sorted(found)


def lines_of(name):
    """(files, lines) of a room."""
    mine = [path for path in FILES if room(module_of(path)) == name]
    return len(mine), sum(sum(1 for _ in open(os.path.join(PACKAGE, path))) for path in mine)


def telling():
    """The imports between rooms, but for those that follow from others."""
    found = between_rooms()
    below = {}
    for floor in reversed(FLOORS):
        for name in floor:
            direct = {lower for upper, lower in found if upper == name}
            below[name] = direct.union(*(below[lower] for lower in direct))
    return [(upper, lower) for upper, lower in found
            if not any(lower in below[other] for one, other in found if one == upper)]


def drawing():
    """The floors as SVG; a line is an import from a room to one below, where it does not follow from others."""
    width, box, gap, top = 1180, 46, 34, 20
    places, parts = {}, []
    for number, floor in enumerate(FLOORS):
        each = (width - 20) / len(floor)
        wide = min(each - 14, 420)
        for column, (name, what) in enumerate(floor.items()):
            x = 10 + each * column + (each - wide) / 2
            places[name] = x, top + number * (box + gap), wide
    for upper, lower in telling():
        (x, y, w), (a, b, v) = places[upper], places[lower]
        parts.append('<path d="M{:.0f} {} C{:.0f} {} {:.0f} {} {:.0f} {}"/>'.format(
            x + w / 2, y + box, x + w / 2, y + box + gap, a + v / 2, b - gap, a + v / 2, b))
    for floor in FLOORS:
        for name, what in floor.items():
            x, y, w = places[name]
            parts.append('<rect x="{:.0f}" y="{}" width="{:.0f}" height="{}" rx="5"/>'.format(x, y, w, box))
            parts.append('<text x="{:.0f}" y="{}" class="name">{}</text>'.format(
                x + w / 2, y + 20, name.replace(".", "/")))
            parts.append('<text x="{:.0f}" y="{}">{}</text>'.format(x + w / 2, y + 37, what))
    return """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}">
<style>rect {{ fill: #eef3f9; stroke: #3d6fa8 }} path {{ fill: none; stroke: #9db7d5; stroke-width: 1.1 }}
text {{ font: 12px sans-serif; fill: #333; text-anchor: middle }} .name {{ font-weight: bold; font-size: 14px }}</style>
<rect x="0" y="0" width="{0}" height="{1}" style="fill: #fff; stroke: none"/>
{2}
</svg>
""".format(width, top + len(FLOORS) * (box + gap), "\n".join(parts))


if __name__ == "__main__":
    sys.stdout.write(drawing())
