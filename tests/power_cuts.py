"""Power cuts: a file system that loses all that was not synced, while checkpoints are saved on it.

`python power_cuts.py FOLDER SEED COUNT` mounts an ext4 file system of its own on a loop device (Linux, root), lets a
process save checkpoints there, shuts the file system down at a random moment without a flush, mounts it again, and
looks at what is left; COUNT times, in turn with three ways of mounting. It prints a JSON line for each, and ends with
status 1 if an acknowledged checkpoint was lost, a deleted one came back, or a broken one stood under a name.

The ioctl is the one that xfstests cuts the power with: the kernel drops what is not in the journal, and all later calls
fail. https://git.kernel.org/pub/scm/fs/xfs/xfstests-dev.git, src/godown.c
"""

import fcntl
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "contract"), os.path.dirname(HERE)]

import one_save  # noqa: E402

from keras_session_ext import verify_checkpoint  # noqa: E402
from keras_session_ext.checkpoint.encoder import Encoder  # noqa: E402
from keras_session_ext.policies.keep import KeepLast  # noqa: E402
from keras_session_ext.store.run_directory import RunDirectory  # noqa: E402

#: FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: nothing more reaches the disk
SHUTDOWN, NO_FLUSH = 0x8004587D, 2
MOUNTS = ("data=ordered", "data=writeback", "nodelalloc")
KEPT = 2


def save_for_ever(path, first, out):
    """Saves until it is stopped; tells of each step that is durable, and of each that retention has deleted."""
    directory, encoder = RunDirectory(path), Encoder()
    directory.acquire()
    for step in range(first, first + 100000):
        one_save.save(directory, encoder, step)
        os.write(out, "saved {}\n".format(step).encode())
        infos = directory.infos()
        directory.retain(KeepLast(KEPT).plan(infos))
        left = " ".join(os.listdir(directory.checkpoints))  # a tombstone that is still there was not deleted
        for info in infos:
            if info.id not in left:
                os.write(out, "gone {}\n".format(info.progress.step).encode())

def cut(point, seconds, first):
    """One process, one power cut; returns the steps that were acknowledged, and those that were deleted."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(reads)
        try:
            save_for_ever(os.path.join(point, "run"), first, writes)
        finally:
            os._exit(1)
    os.close(writes)
    time.sleep(seconds)
    folder = os.open(point, os.O_RDONLY)
    fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_FLUSH))
    os.close(folder)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    told = b""
    while True:
        piece = os.read(reads, 1 << 16)
        if not piece:
            break
        told += piece
    os.close(reads)
    lines = [line.split() for line in told.decode().splitlines()]
    return ([int(step) for what, step in lines if what == "saved"],
            [int(step) for what, step in lines if what == "gone"])


def look(point, acknowledged, deleted):
    """What is wrong with what is left."""
    directory, rejected, wrong = RunDirectory(os.path.join(point, "run")), [], []
    infos = directory.infos(rejected)
    if rejected:
        wrong.append("refused under a checkpoint's name: {}".format(rejected))
    steps = [verify_checkpoint(info.path).progress.step for info in infos]
    if acknowledged and max(steps, default=-1) < max(acknowledged):
        wrong.append("acknowledged {}, found {}".format(max(acknowledged), steps))
    if set(steps) & set(deleted):
        wrong.append("came back: {}".format(sorted(set(steps) & set(deleted))))
    return steps, wrong


def main(folder, seed, count):
    """Prints a line for each power cut; returns how many lost something."""
    random_, bad, first = random.Random(seed), 0, 1
    image, point = os.path.join(folder, "disk.img"), os.path.join(folder, "mounted")
    os.makedirs(point)
    with open(image, "wb") as handle:
        handle.truncate(256 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    mounted = False
    try:
        for number in range(count):
            how = MOUNTS[number % len(MOUNTS)]
            subprocess.run(["mount", "-o", "loop," + how, image, point], check=True)
            mounted = True
            acknowledged, deleted = cut(point, random_.uniform(0.05, 0.4), first)
            subprocess.run(["umount", point], check=True)
            subprocess.run(["mount", "-o", "loop", image, point], check=True)
            steps, wrong = look(point, acknowledged, deleted)
            subprocess.run(["umount", point], check=True)
            mounted = False
            bad += bool(wrong)
            first = max(steps + acknowledged, default=first) + 1
            print(json.dumps({"number": number, "mount": how, "acknowledged": len(acknowledged),
                              "deleted": len(deleted), "left": len(steps), "wrong": wrong}), flush=True)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", point], check=False)
    return bad


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])) else 0)
