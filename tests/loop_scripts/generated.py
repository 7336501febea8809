"""Runs generated loops: they die by an exception, and are started again in one process; seeds as arguments.

A real kill costs seconds to start again; here the objects of the loop that died are let go of, and its directory is
opened anew by another one.
"""

import json
import os
import random
import sys
import tempfile

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from generated_loops import program

import keras_session_ext as kse


class Killed(BaseException):
    pass


def run(seed, folder, kill, every):
    made = [0]

    def tick():
        made[0] += 1
        if made[0] == kill:
            raise Killed

    loop = kse.SessionLoop(folder, save=kse.EverySteps(every) | kse.EveryEpochs(1), background=False, verbose=0)
    scope = {"__name__": "__main__", "loop": loop, "tick": tick, "np": np, "random": random}
    try:
        exec(compile(program(seed), "<program {}>".format(seed), "exec"), scope)
    except Killed:
        return None, made[0], loop
    return scope["out"], made[0], loop


def killed_thrice(seed):
    chance = random.Random(seed * 7 + 1)
    folder = tempfile.mkdtemp()
    whole, steps, _ = run(seed, folder + "/whole", 0, chance.randint(1, 3))
    every = chance.randint(1, 3)
    for kill in [chance.randint(1, steps) for _ in range(3)] + [0]:
        out, _, loop = run(seed, folder + "/cut", kill, every)
        if out is not None:
            break
    return {"seed": seed, "same": out == whole, "exact": loop.resume_report.exact,
            "reasons": loop.resume_report.reasons}


for number in range(int(sys.argv[1]), int(sys.argv[2])):
    print("RESULT " + json.dumps(killed_thrice(number)), flush=True)
