"""Random training loops as source text: nested levels, breaks, early continues, rebound names, closures, drawn orders.

Each ends with `out`, all that it has come to. `tick()` is called once in every innermost iteration, and raises where
the process is to die.
"""

import random

NAMES = ("a", "b", "c", "d")


class Writer:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.in_function = self.random.random() < 0.5
        self.lines = []
        self.count = 0

    def add(self, indent, text):
        self.lines.append("    " * indent + text)

    def statement(self, indent):
        one, other = self.random.choice(NAMES), self.random.choice(NAMES)
        number = self.random.randint(1, 9)
        choices = [
            "{} = {} + {}".format(one, other, number), "{} = ({} * 7 + {}) % 1009".format(one, one, other),
            "h.append({})".format(one), "h = h[-{}:]".format(number), "v = float(np.random.rand())",
            "{} += int(v * 10)".format(one), "arr[{} % 4] += {}".format(one, number),
            "table['{}'] = {}".format(one, other),
            "pair = (pair[1], {})".format(one), "{} += random.randint(0, 5)".format(one),
            "best = {} if best is None else max(best, {})".format(one, one), "{} += add({})".format(one, number),
            "t = {} * 2\n{}{} = t % 1013".format(one, "    " * indent, other), "arr = arr * 2 % 1021",
            "box.push({})".format(one),
            "{} = int(own.integers(100)) + {}".format(one, other), "box.total += {}".format(one),
            "words = words | {{'{}'}}".format(one)]
        self.add(indent, self.random.choice(choices))

    def source(self):
        number = self.random.randint(1, 4)
        return self.random.choice([
            "loop.batches(range({}))".format(number), "loop.batches([3, 1, 4, 1][:{}])".format(number),
            "loop.batches(np.random.permutation({}))".format(number), "loop.batches(drawn({}))".format(number),
            "loop.batches(own.permutation({}))".format(number), "loop.enumerate(range({}))".format(number)])

    def block(self, indent, depth):
        for _ in range(self.random.randint(1, 3)):
            self.statement(indent)
        inner = self.random.randint(0, 2) if depth < 2 else 0
        if depth == 0:
            inner = max(inner, 1)
        for _ in range(inner):
            self.level(indent, depth + 1)
            self.statement(indent)
        if self.random.random() < 0.3:
            self.add(indent, "for j in range(2):")
            self.statement(indent + 1)
        if not inner:
            if self.random.random() < 0.3:
                self.add(indent, "if {} % 3 == 0:".format(self.random.choice(NAMES)))
                self.statement(indent + 1)
                self.add(indent + 1, "tick()")
                self.add(indent + 1, "continue")
            self.statement(indent)
            self.add(indent, "tick()")
        if depth and self.random.random() < 0.3:
            self.add(indent, "if {} % 5 == 0:".format(self.random.choice(NAMES)))
            self.add(indent + 1, "break")
        for _ in range(self.random.randint(0, 2)):
            self.statement(indent)

    def level(self, indent, depth):
        self.count += 1
        source = self.source()
        name = "x{}".format(self.count)
        self.add(indent, "for {} in {}:".format("k, " + name if "enumerate" in source else name, source))
        self.add(indent + 1, "a += int({}) + 1".format(name))
        self.block(indent + 1, depth)

    def program(self):
        indent = 1 if self.in_function else 0
        self.add(0, "np.random.seed(3); random.seed(4)")
        self.add(0, "class Box:\n    made = 0\n    def __init__(self):\n        self.items, self.total = [], 0\n"
                    "    def push(self, item):\n        self.items.append(item)\n        self.total += item\n        "
                    "self.items = self.items[-6:]")
        self.add(0, "def drawn(n):\n    for _ in range(n):\n        yield random.randint(0, 9)")
        if self.in_function:
            self.add(0, "def main():")
        for text in ("a, b, c, d, v, best = 1, 2, 3, 4, 0.0, None", "h, table, pair, words = [], {}, (0, 0), set()",
                     "arr, own, box, hidden = np.arange(4), np.random.default_rng(5), Box(), 0", "k = j = t = 0"):
            self.add(indent, text)
        self.add(indent, "def add(n):")
        self.add(indent + 1, "nonlocal hidden" if self.in_function else "global hidden")
        self.add(indent + 1, "hidden += n")
        self.add(indent + 1, "return hidden % 11")
        for _ in range(self.random.randint(1, 2)):
            self.add(indent, "for epoch in loop.epochs({}):".format(self.random.randint(2, 3)))
            self.block(indent + 1, 0)
            self.statement(indent)
        what = ("[a, b, c, d, v, best, h, table, pair, sorted(words), arr.tolist(), box.items, box.total, hidden, "
                "float(np.random.rand()), random.random(), int(own.integers(1000))]")
        self.add(indent, ("return " if self.in_function else "out = ") + what)
        if self.in_function:
            self.add(0, "out = main()")
        return "\n".join(self.lines) + "\n"


def program(seed):
    """The source of one."""
    return Writer(seed).program()
