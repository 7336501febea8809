"""For scripts that know nothing of this package: where their processes die, and a digest of what came out.

`LOOP_KILLS` are the steps at which the first process dies, the second, and so on; each has its line in the file
`LOOP_STARTS`. The counts stand in the environment, where no checkpoint holds them.
"""

import hashlib
import json
import os
import signal

import common

arrays, digits = common.arrays, common.digits
with open(os.environ["LOOP_STARTS"], "a") as file:
    file.write("\n")
with open(os.environ["LOOP_STARTS"]) as file:
    os.environ["LOOP_KILL"] = (os.environ["LOOP_KILLS"] + ",0" * 9).split(",")[len(file.read()) - 1]
file = None


def trained():
    """Called once a step."""
    os.environ["LOOP_MADE"] = str(int(os.environ.get("LOOP_MADE", "0")) + 1)
    if os.environ["LOOP_MADE"] == os.environ["LOOP_KILL"]:
        os.kill(os.getpid(), signal.SIGKILL)


def result(**values):
    """Prints a digest of each value."""
    made = {}
    for name, value in values.items():
        state = hashlib.sha256()
        common._update(state, value)
        made[name] = state.hexdigest()
    print("RESULT " + json.dumps({"values": made, "steps": int(os.environ.get("LOOP_MADE", "0"))}))
