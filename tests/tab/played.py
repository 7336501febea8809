"""Journals of runs that were never trained: kills, checkpoints and metrics as they are asked for, written at once."""

import json
import math
import os

START = 1790000000.0


class Played:
    """Writes the journal of a run on a clock of its own.

    Args:
        directory: of the run; made.
    """

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.directory, self.lines = str(directory), []
        self.now, self.began, self.process, self.number, self.pace = START, START, "", 0, 0.3

    def tell(self, kind, **figures):
        seq = int(START * 1000) + len(self.lines)
        self.lines.append(json.dumps({"seq": seq, "time": round(self.now, 3), "kind": kind, "process": self.process,
                                      "figures": figures}))

    def begin(self, **settings):
        """A process begins."""
        self.number, self.began = self.number + 1, self.now
        self.process = "{}-{:06x}".format(4000 + self.number, self.number)
        self.tell("process_started", pid=4000 + self.number, host="node-07", keras="3.15.1", engine="jax")
        self.tell("fit_started", stage=0)
        self.tell("settings", settings=dict({"optimizer": "Adam", "optimizer.learning_rate": "0.001"}, **settings))

    def epoch(self, number, seconds=30.0, steps=100, **metrics):
        place, self.pace = {"stage": 0, "epoch": number, "batch": 0, "step": number * steps}, seconds / steps
        self.tell("epoch_started", **place)
        first = next(iter(metrics.values()), None)
        for at in (0.3, 0.6):
            self.now += 0.3 * seconds
            if isinstance(first, float):
                step = number * steps + int(at * steps)
                self.tell("progress", metrics={next(iter(metrics)): first + 0.02 / at}, metrics_step=step,
                          metrics_time=self.now, **dict(place, batch=int(at * steps), step=step + 2))
        self.now += 0.4 * seconds
        self.tell("epoch_finished", metrics=metrics, **dict(place, step=number * steps + steps))

    def save(self, step, deleted=None, **metrics):
        def id(at):
            return "g000001-s{:010d}-aabbccdd".format(at)

        self.now += 0.2
        self.tell("snapshot_taken", seconds=0.003, step=step)
        self.tell("checkpoint_saved", id=id(step), stage=0, epoch=step // 100, batch=0, step=step, metrics=metrics,
                  elapsed_seconds=self.now - START, reason="EveryEpochs(1)", size_bytes=48123456, stall_seconds=0.004,
                  durable_seconds=0.21, kinds={"variables": 16123456, "optimizer": 32000000, "random": 64},
                  largest=[{"name": "variables/model/block_{}/dense/kernel".format(one), "dtype": "float32",
                            "shape": [1024, 1024], "nbytes": 4194304} for one in range(8)], exact=True, reasons=[],
                  parent=id(step - 100), directory=self.directory, finished=False)
        if deleted is not None:
            self.tell("checkpoint_deleted", id=id(deleted), reason="wanted by none of KeepLast(3)")

    def kill(self, step, idle, back_to, **settings):
        """Dies at a step; another process goes on from a checkpoint."""
        gone, last, born = self.process, self.now, self.began
        self.now += idle
        self.begin(**settings)
        begun = self.lines[-3:]
        del self.lines[-3:]
        self.lines.append(begun[0])
        self.tell("interrupted", vanished=gone, step=step, last_sign=last, seconds=last - born)
        self.lines += begun[1:]
        self.tell("restored", id="g000001-s{:010d}-aabbccdd".format(back_to), step=back_to, epoch=back_to // 100,
                  batch=0, stage=0, lost_steps=step - back_to,
                  lost_seconds=(step - back_to) * self.pace, seconds=0.4, exact=True, reasons=[])

    def end(self, step):
        self.tell("fit_finished", stage=0, step=step, seconds=self.now - self.began)
        self.tell("finished")

    def write(self):
        with open(os.path.join(self.directory, "journal.jsonl"), "w") as handle:
            handle.write("\n".join(self.lines) + "\n")
        return self.directory


def metrics(epoch, rate=1.0):
    loss = math.exp(-rate * epoch / 12) + 0.05 * math.sin(7.0 * epoch) / (1 + epoch)
    return {"loss": loss, "accuracy": 1 - 0.9 * loss, "val_loss": 1.1 * loss + 0.04, "val_accuracy": 0.97 - 0.9 * loss,
            "learning_rate": 0.001 * rate}


def killed_twice(directory, rate=1.0):
    """24 epochs with a checkpoint every fourth; killed at steps 1060 and 1950, after 50 minutes and after 8 hours."""
    run = Played(directory)
    settings = {"optimizer.learning_rate": repr(0.001 * rate)}
    run.begin(**settings)
    done = 0
    for end, back_to, idle in ((10, 8, 3000.0), (19, 16, 28800.0), (24, None, 0.0)):
        for epoch in range(done, end):
            run.epoch(epoch, seconds=90.0, **metrics(epoch, rate))
            if epoch % 4 == 3:
                run.save(100 * epoch + 100, **metrics(epoch, rate))
        if back_to is None:
            run.end(2400)
            continue
        run.now += 40.0
        run.tell("progress", stage=0, epoch=end, batch=50, step=100 * end + 50)
        run.kill(100 * end + 60 if end == 10 else 100 * end + 50, idle, 100 * back_to, **settings)
        done = back_to
    return run.write()


def long(directory, checkpoints=3000, kills=100):
    """A checkpoint at the end of every epoch, and a kill after every few."""
    run = Played(directory)
    run.begin()
    for epoch in range(checkpoints):
        run.epoch(epoch, **metrics(epoch / 60))
        run.save(100 * epoch + 100, deleted=100 * epoch - 200 if epoch > 2 else None, **metrics(epoch / 60))
        if epoch % (checkpoints // kills) == checkpoints // kills - 1 and epoch + 1 < checkpoints:
            run.now += 12.0
            run.kill(100 * epoch + 140, 60.0 + 3600.0 * (epoch % 7 == 0), 100 * epoch + 100)
    run.end(100 * checkpoints)
    return run.write()
