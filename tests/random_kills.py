"""Real trainings killed from outside at a random instant, resumed, and compared with one that was never interrupted.

`python random_kills.py FOLDER ENGINE SEED COUNT` draws COUNT trainings: every second one is killed again while it
resumes, or later, up to three times; every second one writes its saves as large ones are written, by a thread, piece
by piece. ENGINE is tensorflow, jax or torch. It prints one JSON line for each, and one of counts; it ends with status 1
where a resumed run was another one.

With KSE_FAMILY set to a member of tests/families, in its environment, that member's trainings are killed.
"""

import collections
import json
import os
import random
import shutil
import signal
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MEMBER = os.environ.get("KSE_FAMILY")
sys.path[:0] = [HERE] + ([os.path.join(HERE, "families")] if MEMBER else [])

import harness  # noqa: E402

#: what each engine trains: name -> task
TASKS = {
    "tensorflow": {
        "compiled": {"source": "arrays, seeded"}, "tf.data": {"source": "tf.data", "seed": 3},
        "run_eagerly": {"source": "arrays, seeded", "compile": {"run_eagerly": True}}},
    "jax": {"arrays": {"source": "arrays, seeded"}, "PyDataset": {"source": "PyDataset", "seed": 3}},
    "torch": {"DataLoader with workers": {"source": "DataLoader, workers", "seed": 3},
              "arrays": {"source": "arrays, seeded"}},
    "member": {"arrays": {"source": "arrays", "seed": 3}, "Sequence": {"source": "Sequence", "seed": 3}},
}
COMPARED = ("sha256", "history", "epochs", "peers")


def case(engine, task, folder, random_, reference):
    """Kills one training up to three times at random moments; returns what was found."""
    task = dict(task, directory=os.path.join(folder, "killed"), every=1, result=os.path.join(folder, "killed.json"),
                piece_bytes=random_.choice([None, 4096]))
    kills, moments = 0, []
    for _ in range(random_.choice([1, 1, 2, 3])):
        if random_.random() < 0.3:  # while it starts, or resumes
            moments.append("start:{:.4f}".format(random_.uniform(0, reference["seconds"])))
        else:
            moments.append("training:{:.4f}".format(random_.uniform(0, 0.5)))
        status, result, output = harness.start(engine, dict(task, kill=moments[-1]))
        if status == -signal.SIGKILL:
            kills += 1
        elif result is None:
            return {"kills": kills, "moments": moments, "failed": output[-1500:]}
        else:
            break
    status, result, output = harness.start(engine, task)
    if result is None:
        return {"kills": kills, "moments": moments, "failed": output[-1500:]}
    differs = [name for name in COMPARED if result[name] != reference[name]]
    return {"kills": kills, "moments": moments, "differs": differs, "exact": result["exact"],
            "resumed": result["checkpoint"] is not None, "witnessed": result["witnessed"],
            "diverged": result["diverged_at"]}


def main(folder, engine, seed, count):
    """Prints a line for each training."""
    kind, references, counts = ("member" if MEMBER else engine), {}, collections.Counter(failed=0)
    if MEMBER:
        import members

        members.prepare()
        harness.Server.script = os.path.join(HERE, "families", "train.py")
    for name, task in TASKS[kind].items():
        whole = dict(task, directory=os.path.join(folder, "whole " + name), every=1,
                     result=os.path.join(folder, name + ".json"))
        if not references:
            harness.finish(engine, dict(whole, directory=os.path.join(folder, "warm")))  # imports are no part of it
        began = time.monotonic()
        references[name] = dict(harness.finish(engine, whole), name=name, seconds=time.monotonic() - began)
        shutil.rmtree(whole["directory"])
    for number in range(seed, seed + count):
        random_ = random.Random("{} of random_kills".format(number))  # numbers alone give like draws
        name = random_.choice(sorted(references))
        inside = os.path.join(folder, str(number))
        os.makedirs(inside)
        found = case(engine, TASKS[kind][name], inside, random_, references[name])
        wrong = "failed" in found or found["differs"] or not found["exact"] or found["diverged"]
        counts.update(trainings=1, kills=found["kills"], killed=found["kills"] > 0, nested=found["kills"] > 1,
                      resumed=found.get("resumed", False), witnessed=found.get("witnessed", 0), failed=bool(wrong))
        print(json.dumps(dict(found, number=number, engine=MEMBER or engine, training=name, wrong=bool(wrong))),
              flush=True)
        if not wrong:
            shutil.rmtree(inside)
    print(json.dumps(dict(counts, engine=MEMBER or engine)), flush=True)
    return counts["failed"]


if __name__ == "__main__":
    folder, engine, seed, count = sys.argv[1:]
    sys.exit(1 if main(folder, engine, int(seed), int(count)) else 0)
