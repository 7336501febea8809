"""A run's log directory without any training, and a TensorBoard that shows it."""

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request

from keras_session_ext.lifecycle.journal import Journal
from keras_session_ext.tensorboard.event_writer import EventWriter

HOSTILE = '<img src=x onerror="window.pwned=1"></script><script>window.pwned=1</script>|`*_[x](javascript:1)'


def tell(journal, rows, log_dir=None):
    """Appends events to a journal, and writes them for TensorBoard as the same process would."""
    writer = None
    if log_dir is not None:
        writer = EventWriter(log_dir)
        writer.open(journal.path)
    for kind, figures in rows:
        event = journal.append(kind, figures)
        if writer is not None:
            writer.write(event)
    return writer


def saved(step, **more):
    return "checkpoint_saved", dict({
        "id": "g000001-s{:010d}-aabbccdd".format(step), "stage": 0, "epoch": step // 40, "batch": step % 40,
        "step": step, "reason": "EverySteps(10)", "size_bytes": 1000 + step, "stall_seconds": 0.004,
        "durable_seconds": 0.05, "metrics": {"loss": 0.5}, "kinds": {"variables": 600, "optimizer": 400},
        "largest": [{"name": "variables/kernel", "dtype": "float32", "shape": [64, 2], "nbytes": 512}], "exact": True,
        "reasons": []}, **more)


def killed_twice(folder, count=150):
    """The log directory of a run of three processes, with `count` events in it."""
    journal, log_dir = os.path.join(folder, "journal.jsonl"), os.path.join(folder, "tensorboard")
    written, last = 0, None
    for number in range(3):
        process = Journal(journal)
        rows = [("process_started", {"pid": 100 + number, "host": "node"})]
        if last is not None:
            rows += [("interrupted", {"vanished": last, "step": 500 * number + 7, "seconds": 1.0})]
        rows += [("fit_started", {"stage": 0})]
        if last is not None:
            rows += [("restored", {"id": "x", "step": 500 * number, "lost_steps": 7, "lost_seconds": 0.1,
                                   "seconds": 0.01, "exact": True, "reasons": []})]
        share = count // 3 if number < 2 else count - written
        rows += [saved(500 * number + step + 1) for step in range(share - len(rows))]
        tell(process, rows, log_dir)
        written, last = written + len(rows), process.process
    return log_dir


@contextlib.contextmanager
def tensorboard(logdir, *flags):
    """A TensorBoard on `logdir`; yields its address, and stops it by its own process id."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--host", "127.0.0.1", "--port", "0",
               "--reload_interval", "1", *flags]
    made = dict(os.environ, CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=made)
    try:
        said = b""
        while True:
            line = process.stdout.readline()
            said += line
            found = re.search(rb"http://127\.0\.0\.1:(\d+)", line)
            if found:
                break
            assert line, "TensorBoard ended: " + said.decode(errors="replace")
        yield "http://127.0.0.1:{}".format(found.group(1).decode())
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
        process.stdout.close()


def get(address, route, **arguments):
    query = "?" + urllib.parse.urlencode(arguments) if arguments else ""
    with urllib.request.urlopen(address + route + query, timeout=30) as answer:
        return answer.headers, answer.read()


def get_json(address, route, **arguments):
    return json.loads(get(address, route, **arguments)[1].decode())


if __name__ == "__main__":
    print(killed_twice(sys.argv[1]))
