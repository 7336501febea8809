"""The command keras-session on real files: what it says, where, and with which exit status."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from contract.files_of_ours import write
from test_timeline import RUN

import keras_session_ext
from keras_session_ext import file_locks
from keras_session_ext.cli import commands_page, output, readable
from keras_session_ext.cli import main as cli
from keras_session_ext.lifecycle import journal
from keras_session_ext.store.find_checkpoints import list_checkpoints
from keras_session_ext.store.run_directory import RunDirectory

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(HERE), "families", "golden", "jax-fit.h5")
COMMAND = [sys.executable, "-c", "from keras_session_ext.cli.main import main; main()"]
#: a metric and a reason that want to take the terminal over
HOSTILE = "\x1b[31mloss\x07[red]\u202e\x9b1m"


def save(folder, step, generation=1, **changes):
    """A checkpoint in a run directory, under its right name."""
    os.makedirs(folder + "/checkpoints", exist_ok=True)
    id = "g{:06d}-s{:010d}-{}".format(generation, step, changes.pop("digits", os.urandom(4).hex()))
    progress = {"stage": 0, "epoch": step // 10, "batch": step % 10, "step": step, "elapsed_seconds": step / 2.0}
    progress.update(changes.pop("progress", {}))
    return write("{}/checkpoints/{}.h5".format(folder, id), **dict(
        {"id": id, "generation": generation, "progress": progress, "reason": "EverySteps(10)",
         "created": time.time() - 500 + step, "metrics": {"loss": 1.0 / step}}, **changes))


def tell(folder, events=RUN):
    with open(folder + "/journal.jsonl", "ab") as handle:
        handle.write(b"".join(map(journal.line_of, events)))


@pytest.fixture
def run(tmp_path):
    folder = str(tmp_path / "runs" / "a")
    for step in (10, 20, 30, 40):
        save(folder, step, reasons=["it drew ahead"] if step == 20 else [])
    tell(folder)
    return folder


def ids(folder):
    return [info.id for info in list_checkpoints(folder)]


def spoil(path):
    """Flips a bit of a tensor."""
    from keras_session_ext.checkpoint import reader

    row = next(row for row in reader.read_header(path).rows if row.nbytes)
    with open(path, "r+b") as handle:
        handle.seek(row.offset)
        byte = handle.read(1)[0]
        handle.seek(row.offset)
        handle.write(bytes([byte ^ 1]))


def cut(path):
    os.truncate(path, 5000)


def on_terminal(*arguments, answer=b"", **variables):
    """Runs a command on a terminal; returns its exit status and all that it showed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    environment.update({"TERM": "xterm-256color", "COLUMNS": "140"}, **variables)
    pid, terminal = pty.fork()
    if not pid:
        os.execve(sys.executable, COMMAND + list(map(str, arguments)), environment)
    shown = b""
    while True:
        ready, _, _ = select.select([terminal], [], [], 30)
        assert ready, shown
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        if answer and shown.endswith(b"[y/N]: "):
            time.sleep(0.3)  # Python misses a Ctrl-C in the instant before it begins to read
            os.write(terminal, answer)
            answer = b""
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status), shown.decode()


# -- ls


def test_ls(run, call):
    status, out, err = call("ls", run)
    lines = out.splitlines()
    assert status == 0 and not err
    assert lines[0].split() == ["id", "epoch", "batch", "step", "age", "size", "exact", "finished", "loss", "reason"]
    assert [line.split()[0] for line in lines[1:-1]] == ids(run), "newest first"
    assert [line.split()[3] for line in lines[1:-1]] == ["40", "30", "20", "10"]
    assert [" no " in line for line in lines[1:-1]] == [False, False, True, False]
    assert lines[1].split()[-2:] == ["0.025", "EverySteps(10)"]
    assert re.fullmatch(r"4 checkpoints, \d+\.\d KiB", lines[-1])


def test_ls_as_json(run, call):
    status, out, _ = call("ls", run, "--json")
    value = json.loads(out)
    infos = list_checkpoints(run)
    assert status == 0 and value["count"] == 4 and value["damaged"] == [] and value["directory"] == run
    assert value["size_bytes"] == sum(info.size_bytes for info in infos)
    first = value["checkpoints"][0]
    assert first["id"] == infos[0].id and first["progress"]["step"] == 40 and first["metrics"] == {"loss": 0.025}
    assert value["checkpoints"][2]["exact"] is False and value["checkpoints"][2]["reasons"] == ["it drew ahead"]


def test_ls_names_the_damaged_and_lists_the_others(run, call):
    cut(list_checkpoints(run)[0].path)
    status, out, err = call("ls", run)
    assert status == 0 and "3 checkpoints" in out and "1 damaged" in out and "Damaged: Cannot use" in err
    status, out, _ = call("ls", run, "--json")
    assert status == 0 and "5000 bytes" in json.loads(out)["damaged"][0] and json.loads(out)["count"] == 3


def test_ls_shows_stages_where_there_are_some(run, call):
    save(run, 50, finished=True, progress={"stage": 1})
    _, out, _ = call("ls", run)
    assert "stage" in out.splitlines()[0] and out.splitlines()[1].split()[1] == "1"


def test_ls_of_a_directory_above_runs(run, call, tmp_path):
    save(str(tmp_path / "runs" / "deep" / "b"), 70, finished=True)
    os.makedirs(str(tmp_path / "runs" / "something else"))
    status, out, _ = call("ls", tmp_path / "runs")
    lines = out.splitlines()
    assert status == 0 and len(lines) == 4 and "2 runs, 5 checkpoints" in lines[-1]
    assert lines[1].split()[:3] == ["a", "4", "100"], "how far the journal knows it came"
    assert lines[2].split()[:3] == [os.path.join("deep", "b"), "1", "70"] and lines[2].endswith("finished")
    value = json.loads(call("ls", tmp_path / "runs", "--json")[1])
    assert [(os.path.basename(one["directory"]), one["checkpoints"]) for one in value["runs"]] == [("a", 4), ("b", 1)]


def test_ls_without_an_argument_looks_here(run, call, monkeypatch):
    monkeypatch.chdir(run)
    assert "4 checkpoints" in call("ls")[1]
    monkeypatch.chdir(run + "/checkpoints")
    assert "4 checkpoints" in call("ls")[1]


def test_ls_says_what_a_run_is_doing(run, call, tmp_path):
    holder = hold(run)
    try:
        assert json.loads(call("ls", tmp_path / "runs", "--json")[1])["runs"][0]["status"] == "running (pid {})".format(
            holder.pid)
    finally:
        let_go(holder)
    assert json.loads(call("ls", tmp_path / "runs", "--json")[1])["runs"][0]["status"] == "stopped"
    tell(run, [event._replace(process="c", seq=event.seq + 50) for event in RUN[:5]])
    assert json.loads(call("ls", tmp_path / "runs", "--json")[1])["runs"][0]["status"] == "interrupted"


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_ls_of_what_is_no_run(what, tmp_path, call):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    status, out, err = call("ls", tmp_path / what)
    assert status == 3 and not out and str(tmp_path / what) in err
    status, out, err = call("ls", tmp_path / what, "--json")
    assert status == 3 and json.loads(out)["error"]["type"] == "CheckpointNotFound" and not err


# -- show


def test_show(call):
    status, out, err = call("show", GOLDEN)
    assert status == 0 and not err
    for text in ("g000001-s0000000006-0d7cc024", "epoch 2, batch 0 (step 6)", "yes, the end of stage 0", "loss  ",
                 "2.17016", "engine ", "jax", "optimizer.beta_1", "EarlyStopping.patience"):
        assert text in out
    kinds = {line.split()[0]: line.split()[1] for line in out.splitlines()[-3:]}
    assert kinds == {"variables": "23", "optimizer": "36", "random": "2"}
    assert "conv2d_2_kernel_momentum" not in out
    assert "optimizer/arrays/0002/conv2d_2_kernel_momentum  optimizer  float32  3×3×1×3" in re.sub(
        "  +", "  ", call("show", GOLDEN, "--tensors")[1])


def test_show_as_json(call):
    value = json.loads(call("show", GOLDEN, "--json")[1])
    assert value["progress"]["step"] == 6 and value["versions"]["engine"] == "jax" and value["exact"] is True
    assert value["kinds"]["random"] == {"tensors": 2, "size_bytes": 4996} and value["script"]["loss"]
    assert value["lacks"] and "tensors" not in value
    assert len(json.loads(call("show", GOLDEN, "--json", "--tensors")[1])["tensors"]) == 61


def test_show_finds_a_checkpoint_by_each_of_its_names(run, call, monkeypatch):
    newest, second = ids(run)[:2]
    for arguments, expected in (
            ((run,), newest), ((run + "/checkpoints/" + second + ".h5",), second), ((run + "/" + second,), second),
            ((run + "/checkpoints/" + second,), second), ((second, "--directory", run), second),
            ((second + ".h5", "-d", run), second)):
        status, out, _ = call("show", *arguments)
        assert status == 0 and out.splitlines()[0] == expected, arguments
    os.symlink(run + "/checkpoints/" + second + ".h5", run + "/link.h5")
    assert call("show", run + "/link.h5")[1].splitlines()[0] == second
    monkeypatch.chdir(run)
    assert call("show", second)[1].splitlines()[0] == second


def test_show_finds_a_short_id_and_the_best(run, call, monkeypatch):
    newest, second = ids(run)[:2]
    best = os.path.basename(save(run, 50, metrics={"loss": 1.0, "val_loss": 0.25, "acc": 0.5}))[:-3]
    save(run, 60, metrics={"loss": 0.5, "val_loss": "inf", "acc": 0.75})
    last = ids(run)[0]
    for name, expected in ((second.rsplit("-", 1)[1], second), (second[:-4], second), ("best", best),
                           ("best:val_loss", best), ("best:acc", last), ("best:loss", newest)):
        for arguments in ((name, "-d", run), (run + "/" + name,)):
            status, out, err = call("show", *arguments)
            assert status == 0 and out.splitlines()[0] == expected, (arguments, err)
    for name, message in (("g000001", "6 checkpoints 'g000001'"), ("best:val_los", "did you mean 'val_loss'?"),
                          ("abc", "no checkpoint"), ("best:", "val_loss")):
        status, out, err = call("show", name, "-d", run)
        assert (status, not out) == (3, True) or name == "best:", name
        assert message in err + out
    monkeypatch.chdir(run)
    assert call("show", "best")[1].splitlines()[0] == best


def test_ls_sorts_by_a_metric(run, call):
    save(run, 50, metrics={"loss": 0.5, "val_loss": 0.25})
    save(run, 60, metrics={"loss": 0.5, "val_loss": 0.125})
    order = [line.split()[0] for line in call("ls", run, "--sort", "val_loss")[1].splitlines()[1:-1]]
    assert order == [ids(run)[0], ids(run)[1], *ids(run)[2:]], "what has none comes last"
    head = call("ls", run, "--sort", "val_loss")[1].splitlines()[0].split()
    assert head[-3:] == ["val_loss", "loss", "reason"]
    status, out, err = call("ls", run, "--sort", "los")
    assert status == 3 and not out and "did you mean 'loss'?" in err


def test_show_names_the_nearest_for_a_wrong_id(run, call):
    newest = ids(run)[0]
    wrong = newest[:-1] + ("0" if newest[-1] != "0" else "1")
    for arguments in ((run + "/" + wrong,), (wrong, "-d", run), (run + "/checkpoints/" + wrong + ".h5",)):
        status, out, err = call("show", *arguments)
        assert status == 3 and not out and "The nearest: " + newest in err
    status, _, err = call("show", "no-such-thing")
    assert status == 3 and "DIRECTORY/ID" in err


def test_show_passes_over_a_damaged_newest_and_says_so(run, call):
    newest, second = list_checkpoints(run)[:2]
    cut(newest.path)
    status, out, err = call("show", run)
    assert status == 0 and out.splitlines()[0] == second.id and newest.id in err
    status, out, err = call("show", newest.path)
    assert status == 1 and not out and "5000 bytes" in err


# -- log


def test_log(run, call):
    status, out, err = call("log", run)
    lines = out.splitlines()
    assert status == 0 and not err and len(lines) == len(RUN)
    assert [line.split()[3] for line in lines] == [event.kind for event in RUN]
    saved = lines[3]
    assert "step 40" in saved and "id=c1" in saved and "size_bytes=1000" in saved and readable.when(5) in saved
    assert call("log", run, "--tail", "2")[1].splitlines() == lines[-2:]
    assert call("log", run, "-n", "0")[1] == ""
    assert call("log", run, "-n", "2", "-k", "checkpoint_saved", "--kind", "restored")[1].splitlines() == [
        lines[8], lines[11]]


def test_log_as_json_is_one_line_per_event(run, call):
    _, out, _ = call("log", run, "--json")
    assert [json.loads(line) for line in out.splitlines()] == [event._asdict() for event in RUN]


def test_log_counts_what_it_cannot_read(run, call):
    with open(run + "/journal.jsonl", "a") as handle:
        handle.write("nonsense\n")
    status, out, err = call("log", run)
    assert status == 0 and len(out.splitlines()) == len(RUN) and "1 line could not be read" in err


def test_log_refuses_what_cannot_be(run, call, tmp_path):
    status, _, err = call("log", run, "--kind", "checkpoint_save")
    assert status == 2 and "Did you mean checkpoint_saved?" in err
    os.remove(run + "/journal.jsonl")
    assert call("log", run)[0] == 3
    assert call("log", tmp_path / "missing")[0] == 3


def lines_of(process, count):
    return [process.stdout.readline().decode() for _ in range(count)]


def test_log_follows_through_a_summary_until_ctrl_c(run):
    process = subprocess.Popen([*COMMAND, "log", run, "--follow", "-n", "1", "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        assert json.loads(lines_of(process, 1)[0])["kind"] == "finished"
        writer = journal.Journal(run + "/journal.jsonl")
        writer.append("progress", {"step": 1})
        with open(run + "/journal.jsonl", "ab") as handle:
            handle.write(b'{"seq": 5, "time"')  # torn: the next writer cuts it
        writer.append("progress", {"step": 2})
        assert [json.loads(line)["figures"]["step"] for line in lines_of(process, 2)] == [1, 2]
        writer._summarise()
        writer.append("progress", {"step": 3})
        assert [json.loads(line)["figures"]["step"] for line in lines_of(process, 1)] == [3], "nothing twice"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 130 and err == b""
    finally:
        process.kill()
        process.wait()


def test_a_journal_that_is_not_there_yet_can_be_followed(tmp_path):
    with journal.Tail(str(tmp_path / "journal.jsonl")) as tail:
        assert tail.read() == []
        tell(str(tmp_path), RUN[:3])
        assert tail.read() == RUN[:3] and tail.read() == []
        tell(str(tmp_path), RUN[3:])
        os.remove(str(tmp_path / "journal.jsonl"))
        assert tail.read() == RUN[3:], "what was added before it went"
        tell(str(tmp_path), RUN[-1:])
        assert tail.read() == [], "told before"


# -- verify


def test_verify(run, call):
    status, out, err = call("verify", run)
    assert status == 0 and not err and out.startswith("valid") and ids(run)[0] in out and len(out.splitlines()) == 1
    status, out, _ = call("verify", run, "--all")
    assert status == 0 and [line.split("/")[-1].split(".")[0] for line in out.splitlines()] == ids(run)
    assert call("verify", GOLDEN, run + "/" + ids(run)[1])[0] == 0


def test_verify_finds_what_is_damaged(run, call):
    infos = list_checkpoints(run)
    spoil(infos[2].path)
    assert call("verify", run)[0] == 0, "the newest alone"
    status, out, _ = call("verify", run, "--all")
    assert status == 1 and [line.split()[0] for line in out.splitlines()] == ["valid", "valid", "DAMAGED", "valid"]
    assert "was altered (checksum differs)" in out
    value = json.loads(call("verify", run, "--all", "--json")[1])
    assert value["damaged"] == 1 and [one["valid"] for one in value["checkpoints"]] == [True, True, False, True]
    cut(infos[0].path)
    status, out, _ = call("verify", run)
    assert status == 1 and infos[0].id in out, "a newest that is damaged is not passed over"


def test_verify_checks_what_belongs_to_no_tensor(run, call):
    path = list_checkpoints(run)[0].path
    with open(path, "r+b") as handle:
        handle.seek(-1, 2)
        byte = handle.read(1)[0]
        handle.seek(-1, 2)
        handle.write(bytes([byte ^ 1]))
    status, out, _ = call("verify", path)
    assert status == 1 and "HDF5 structure" in out


def test_verify_of_nothing(call, tmp_path):
    assert call("verify", tmp_path / "missing.h5")[0] == 3
    os.makedirs(str(tmp_path / "checkpoints"))
    tell(str(tmp_path))
    assert call("verify", tmp_path)[0] == 3


# -- prune


HOLD = ("import sys; from keras_session_ext.store.run_directory import RunDirectory\n"
        "d = RunDirectory(sys.argv[1]); d.acquire(); print(d.generation, flush=True); sys.stdin.readline()\n")


def hold(run):
    """A process that trains in the directory, as far as anybody can see."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.generation = int(process.stdout.readline())
    return process


def let_go(process):
    process.stdin.close()
    process.wait(20)


def test_a_dry_run_says_the_same_as_the_deed(run, call):
    before = ids(run)
    wanted = ("prune", run, "--keep-last", "1", "--keep-every-steps", "30")
    status, dry, err = call(*wanted, "--dry-run")
    assert status == 0 and ids(run) == before and "This was a dry run" in err
    status, done, err = call(*wanted, "--yes")
    assert status == 0 and done == dry and "1 checkpoint removed." in err
    assert ids(run) == [before[0], before[1], before[3]]
    rows = [line.split() for line in dry.splitlines()[1:-1]]
    assert [(row[0], row[1]) for row in rows] == [
        ("keep", before[0]), ("keep", before[1]), ("remove", before[2]), ("keep", before[3])]
    assert not [name for name in os.listdir(run + "/checkpoints") if name.startswith(".")]


def test_prune_as_json(run, call):
    before = ids(run)
    dry = json.loads(call("prune", run, "--keep-last", 2, "--dry-run", "--json")[1])
    done = json.loads(call("prune", run, "--keep-last", 2, "--yes", "--json")[1])
    assert dry.pop("dry_run") and not done.pop("dry_run")
    assert dry.pop("removed") == [] and done.pop("removed") == before[2:]
    assert dry == done and [one["id"] for one in dry["remove"]] == before[2:] and dry["remove"][0]["reasons"]


def test_prune_asks_on_a_terminal(run):
    before = ids(run)
    status, shown = on_terminal("prune", run, "--keep-last", 1, answer=b"n\n")
    assert status == 1 and "Remove 3 checkpoints? [y/N]" in shown and "Nothing was removed" in shown
    assert ids(run) == before
    status, shown = on_terminal("prune", run, "--keep-last", 1, answer=b"\x03")
    assert status == 130 and "Traceback" not in shown and ids(run) == before
    status, _ = on_terminal("prune", run, "--keep-last", 1, answer=b"y\n")
    assert status == 0 and ids(run) == before[:1]


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_prune_without_anybody_to_ask(run, call, more):
    before = ids(run)
    status, out, err = call("prune", run, "--keep-last", 1, *more)
    assert status == 2 and "--yes" in out + err and ids(run) == before


@pytest.mark.parametrize("arguments, words_", [
    ((), "--keep-last"), (("--keep-best", 1), "--monitor"), (("--keep-last", 1, "--monitor", "loss"), "--keep-best"),
    (("--keep-last", 0), "0"), (("--keep-every", "10 weeks"), "1h30m"), (("--keep-size", "20 parsecs"), "20GB"),
    (("--keep-best", 1, "--monitor", "los"), "They have: loss"), (("--keep-every", "0s"), "duration")])
def test_prune_refuses(run, call, arguments, words_):
    before = ids(run)
    status, out, err = call("prune", run, *arguments, "--yes")
    assert status == 2 and not out and words_ in err and ids(run) == before


@pytest.mark.parametrize("arguments, kept", [
    (("--keep-last", 2), [40, 30]), (("--keep-best", 1, "--monitor", "loss"), [40]),
    (("--keep-best", 2, "--monitor", "loss", "--mode", "max"), [40, 20, 10]),
    (("--keep-every-epochs", 2), [40, 20, 10]), (("--keep-every-steps", 20), [40, 20, 10]),
    (("--keep-every", "10s"), [40, 20, 10]),
    (("--keep-size", "15kB"), [40]), (("--keep-size", "25kB"), [40, 30])])
def test_prune_keeps_what_the_policies_want(run, call, arguments, kept):
    assert call("prune", run, *arguments, "-y")[0] == 0
    assert [info.progress.step for info in list_checkpoints(run)] == kept


def test_prune_looks_at_each_run_by_itself_and_spares_where_one_branched_off(run, call):
    origin = ids(run)[2]
    for step in (21, 31):
        save(run, step, generation=2, run="another", branch_of=origin)
    status, out, _ = call("prune", run, "--keep-last", 1, "--yes")
    assert status == 0 and "a run branched off from it" in out
    assert sorted(info.progress.step for info in list_checkpoints(run)) == [20, 31, 40]


def test_prune_spares_the_ends_of_stages_and_what_is_damaged(run, call):
    save(run, 5, finished=True)
    damaged = list_checkpoints(run)[1].path
    cut(damaged)
    status, _, err = call("prune", run, "--keep-last", 1, "--yes")
    assert status == 0 and "left alone" in err and os.path.exists(damaged)
    assert [info.progress.step for info in list_checkpoints(run)] == [40, 5]


@pytest.mark.parametrize("how", ["--yes", "--dry-run"])
def test_prune_leaves_a_live_run_alone(run, call, how):
    before = ids(run)
    holder = hold(run)
    try:
        status, out, err = call("prune", run, "--keep-last", 1, how)
        assert status == 4 and not out and str(holder.pid) in err
        status, out, _ = call("prune", run, "--keep-last", 1, how, "--json")
        assert status == 4 and json.loads(out)["error"]["type"] == "DirectoryBusy"
        assert ids(run) == before
    finally:
        let_go(holder)
    assert call("prune", run, "--keep-last", 1, how)[0] == 0


def test_a_run_that_started_after_the_listing_is_left_alone(run, monkeypatch, call):
    from keras_session_ext.cli.commands import prune

    before, holders = ids(run), []
    show = prune._show
    monkeypatch.setattr(prune, "_show", lambda out, plan: (show(out, plan), holders.append(hold(run))))
    try:
        status, _, err = call("prune", run, "--keep-last", 1, "--yes")
        assert status == 4 and "in use by another run" in err and ids(run) == before
    finally:
        let_go(holders[0])


def test_prune_never_removes_what_it_did_not_list(run, monkeypatch, call):
    from keras_session_ext.cli.commands import prune

    before = ids(run)
    show = prune._show
    monkeypatch.setattr(prune, "_show", lambda out, plan: (show(out, plan), save(run, 35), save(run, 50)))
    assert call("prune", run, "--keep-last", 2, "--yes")[0] == 0
    left = [info.progress.step for info in list_checkpoints(run)]
    assert left == [50, 40, 35, 30] and before[1] in ids(run), "30 was to stay when it was listed"


def test_prune_leaves_no_trace_that_a_start_could_stumble_over(run, call):
    first = hold(run)
    let_go(first)
    with open(run + "/LOCK", "r+b") as handle:
        handle.write(json.dumps({"process": "b", "time": 5.5, "step": 7, "pid": 1, "host": "x"}).encode().ljust(256))
    names = sorted(os.listdir(run + "/checkpoints"))
    assert call("prune", run, "--keep-last", 1, "--yes")[0] == 0
    left = sorted(os.listdir(run + "/checkpoints"))
    assert set(left) < set(names) and "g000002.claim" in left, "no generation was claimed"
    note = file_locks.read_owner(run + "/LOCK")
    assert (note["process"], note["time"], note["step"]) == ("b", 5.5, 7), "the last sign of life is still there"
    second = hold(run)
    try:
        assert (first.generation, second.generation) == (2, 3)
    finally:
        let_go(second)


def test_what_is_held_is_fenced_off_by_a_newer_start_where_locks_do_not_work(run):
    """On some network mounts there is no lock: the run that trains must win, not the one that tidies up."""
    from keras_session_ext.errors import DirectoryBusy
    from keras_session_ext.policies.keep import KeepLast

    trainer, tidy = RunDirectory(run), RunDirectory(run)
    with tidy.held():
        trainer._claim()
        with pytest.raises(DirectoryBusy):
            tidy.retain(KeepLast(1).plan(tidy.infos()))
        trainer._check_fence()
    with tidy.held():
        pass
    trainer._check_fence()


def test_the_journal_knows_what_was_pruned(run, call):
    from keras_session_ext.lifecycle.timeline import timeline

    gone = ids(run)[-1]
    tell(run, [RUN[3]._replace(figures=dict(RUN[3].figures, id=gone), seq=90)])
    call("prune", run, "--keep-last", 3, "--yes")
    told = journal.read_journal(run).events[-3:]
    assert [event.kind for event in told] == ["process_started", "checkpoint_deleted", "finished"]
    assert told[1].figures == {"id": gone, "reason": "wanted by none of KeepLast(3)"}
    assert timeline(journal.read_journal(run).events)["checkpoints"][gone]["deleted"]


# -- schema, report, doctor


def test_schema(call):
    status, out, _ = call("schema")
    assert status == 0 and json.loads(out)["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert call("schema", "--json")[1] == out


def test_report(run, call, tmp_path):
    page = str(tmp_path / "a.html")
    status, out, _ = call("report", run, "-o", page)
    assert status == 0 and out.startswith(page) and os.path.getsize(page) > 10000
    value = json.loads(call("report", tmp_path / "runs", "--output", page, "--json")[1])
    assert value == {"path": page, "size_bytes": os.path.getsize(page)}
    assert call("report", tmp_path / "missing", "-o", page)[0] == 3
    assert call("report", run, "-o", tmp_path / "no" / "a.html")[0] == 2
    assert call("report")[0] == 2


def test_doctor(tmp_path, call):
    status, out, err = call("doctor", tmp_path)
    assert status == 0 and not err and "nothing stands in the way" in out
    for text in ("Keras 3", "family keras3", "xxhash", "hard links", "locks", "several replicas", "docs/exactness.md"):
        assert text in out
    assert os.listdir(str(tmp_path)) == [], "nothing is left"
    value = json.loads(call("doctor", tmp_path / "not" / "there", "--json")[1])
    found = {(one["section"], one["name"]): one for one in value["checks"]}
    assert value["problems"] == 0 and found["file system", "locks"]["value"] == "yes"
    assert "is not there yet" in found["file system", "directory"]["value"] and os.listdir(str(tmp_path)) == []


def test_doctor_says_what_stands_in_the_way(tmp_path, call, monkeypatch):
    from keras_session_ext.backend import installed

    monkeypatch.setattr(installed, "versions", lambda: {"keras": "3.15.1"})
    monkeypatch.setattr(installed, "version_of", lambda *names: None if "h5py" in names else "1.0")
    status, out, _ = call("doctor", tmp_path)
    assert status == 1 and "✗ h5py" in out and "needs one of tensorflow, jax, torch" in out
    if sys.platform == "linux":
        value = json.loads(call("doctor", "/proc", "--json")[1])
        problems = {one["name"] for one in value["checks"] if one["state"] == "problem"}
        assert {"writable", "h5py", "supported"} <= problems


def test_doctor_looks_at_the_engine(tmp_path, call, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "theano")
    status, out, _ = call("doctor", tmp_path)
    assert status == 1 and "KERAS_BACKEND" in out


@pytest.mark.parametrize("found, expected", [
    ({"keras": "3.15.1", "jax": "0.10", "torch": "2.13"}, [("keras3", "jax", ""), ("keras3", "torch", "")]),
    ({"keras": "3.0.5", "tensorflow": "2.15.1", "jax": "0.4"},
     [("keras3", "tensorflow", "2.16 or later"), ("keras3", "jax", ""), ("eager", "tensorflow", "")]),
    ({"keras": "3.15.1", "tensorflow": "2.21.0", "tf_keras": "2.21.0"},
     [("keras3", "tensorflow", ""), ("eager", "tensorflow", "")]),
    ({"keras": "2.15.0", "tensorflow": "2.15.1"}, [("eager", "tensorflow", "")]),
    ({"tensorflow": "1.15.5"}, [("graph", "tensorflow", "")]),
    ({"keras": "2.3.1", "tensorflow": "1.15.5"}, [("graph", "tensorflow", ""), ("graph", "tensorflow", "")]),
    ({"keras": "2.3.1", "tensorflow": "2.4.0"}, [("graph", "tensorflow", "1.15"), ("eager", "tensorflow", "")]),
    ({"keras": "2.2.4", "tensorflow": "1.14.0"},
     [("graph", "tensorflow", "before 2.2.5"), ("", "tensorflow", "before 1.15")]),
    ({"tf_keras": "2.21.0"}, [("eager", "tensorflow", "needs TensorFlow")]),
    ({"keras": "3.15.1"}, [("keras3", "", "needs one of")]), ({}, [])])
def test_which_kerases_are_made_by_what_is_installed(found, expected):
    from keras_session_ext.backend import installed

    made = installed.kerases(found)
    assert [(one.family, one.engine, bool(one.problem)) for one in made] == [
        (family, engine, bool(problem)) for family, engine, problem in expected]
    assert all(problem in one.problem for one, (_, _, problem) in zip(made, expected))


def test_the_limits_of_old_kerases_are_told():
    from keras_session_ext.backend import installed
    from keras_session_ext.cli import doctor_checks

    said = {version: doctor_checks._exact(installed.kerases({"keras": version, "tensorflow": "1.15.5"})[0])
            for version in ("2.2.5", "2.3.1")}
    assert said["2.2.5"][0].startswith("no: ") and said["2.2.5"][1] == doctor_checks.WARNING
    assert said["2.3.1"] == ("exact with a session of one thread", doctor_checks.OK, "See docs/families.md.")


# -- all commands


@pytest.fixture
def wrong(tmp_path):
    """For every command, arguments that end in an error, and its exit status."""
    missing = str(tmp_path / "missing")
    return {"ls": ([missing], 3), "show": ([missing], 3), "log": ([missing], 3), "verify": ([missing], 3),
            "diff": ([missing, missing], 3), "mirror": ([missing, "memory://runs/a"], 3),
            "prune": ([missing, "--keep-last", "1"], 3),
            "export": ([missing, missing + ".npz"], 3), "run": ([missing + ".py"], 2), "prove": ([missing + ".py"], 2),
            "report": ([missing], 3), "schema": (["--nonsense"], 2), "doctor": (["--nonsense"], 2)}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_errors_of_every_command(name, wrong, call):
    arguments, expected = wrong[name]
    status, out, err = call(name, *arguments)
    assert status == expected and not out and "Error: " in err and "Traceback" not in err
    status, out, err = call(name, "--json", *arguments)
    assert status == expected and not err
    error = json.loads(out)["error"]
    assert set(error) == {"type", "message"} and error["message"]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_and_json(name, call):
    status, out, err = call(name, "--help")
    assert status == 0 and not err and "--json" in out and out.startswith("Usage: keras-session " + name)
    assert call(name, "-h")[1] == out
    assert cli.load(name).name == name


def test_every_command_answers_in_json(run, call, tmp_path):
    told = {"ls": [run], "show": [run], "log": [run, "-n", 1], "verify": [run], "diff": [run, run],
            "prune": [run, "--keep-last", 1, "--dry-run"], "export": [run, tmp_path / "a.npz", "--all"],
            "report": [run, "-o", tmp_path / "a.html"], "schema": [], "doctor": [tmp_path],
            "mirror": [run, "memory://runs/of-every-command"]}
    assert set(cli.COMMANDS) - set(told) == {"run", "prove"}  # these have tests of their own
    for name, arguments in told.items():
        status, out, err = call(name, *arguments, "--json")
        assert status == 0 and not err and isinstance(json.loads(out), dict), name


def test_help_and_version(call):
    status, out, err = call("--help")
    assert status == 0 and not err and all("\n  " + name in out for name in cli.COMMANDS)
    assert call()[:2] == (0, out) and call("-h")[1] == out
    assert call("--version")[1] == "keras-session {}\n".format(keras_session_ext.__version__)


@pytest.mark.parametrize("arguments, suggestion", [
    (["verfy"], "verify"), (["shwo", "x"], "show"), (["ls", "--jsn"], "--json"), (["log", "--folow"], "--follow"),
    (["prune", "x", "--keep-lst"], "--keep-last")])
def test_did_you_mean(arguments, suggestion, call):
    status, out, err = call(*arguments)
    assert status == 2 and not out and suggestion in err.split("Error:")[1] and "--help" in err
    status, out, err = call(*arguments, "--json")
    assert status == 2 and suggestion in json.loads(out)["error"]["message"] and not err


def test_json_behind_two_dashes_is_not_ours():
    assert cli.wants_json(["ls", "--json"]) and not cli.wants_json(["run", "--", "--json"])


def test_a_fault_of_ours_shows_where_and_is_json_too(run, call, monkeypatch):
    monkeypatch.setattr(RunDirectory, "infos", lambda *arguments: 1 // 0)
    status, out, err = call("ls", run)
    assert status == 1 and not out and "ZeroDivisionError" in err and "Traceback" in err
    status, out, err = call("ls", run, "--json")
    assert status == 1 and json.loads(out)["error"]["type"] == "ZeroDivisionError" and "Traceback" in err


def test_the_page_of_the_commands_is_up_to_date():
    path = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs", "cli.md")
    with open(path, encoding="utf-8") as handle:
        assert handle.read() == commands_page.page(), "python -m keras_session_ext.cli.commands_page > docs/cli.md"


def test_every_exit_status_stands_in_the_table():
    statuses = {number for number, _ in output.STATUSES}
    assert set(output.END_STATUSES.values()) <= statuses == {0, 1, 2, 3, 4, 130, 141}
    from keras_session_ext import errors

    expected = {"CheckpointNotFound": 3, "CheckpointCorrupt": 1, "StateMismatch": 1, "DirectoryBusy": 4,
                "UnsupportedBackend": 1, "ConfigError": 2, "SessionError": 1}
    assert {name: output.status_of(getattr(errors, name)("x")) for name in expected} == expected
    assert output.status_of(PermissionError()) == 1 and output.status_of(KeyError()) is None


# -- terminals and pipes


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_switched_off(run, variables):
    spoil(list_checkpoints(run)[0].path)
    for arguments in (("ls", run), ("verify", run, "--all"), ("prune", run, "--keep-last", "1", "--dry-run")):
        coloured, plain = on_terminal(*arguments)[1], on_terminal(*arguments, **variables)[1]
        assert re.search(r"\x1b\[[0-9;]*3[0-9]m", coloured) and not re.search(r"\x1b\[[0-9;]*3[0-9]m", plain)


def test_a_table_fits_its_terminal(run):
    wide = on_terminal("ls", run, NO_COLOR="1")[1]
    narrow = on_terminal("ls", run, NO_COLOR="1", COLUMNS="72")[1]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", narrow).replace("\r", "").splitlines()
    assert "loss" in wide and max(map(len, plain)) <= 72 and len(plain) == 6
    assert plain[1].startswith(ids(run)[0] + " "), "what a line begins with is whole"


@pytest.mark.parametrize("terminal", [False, True])
def test_hostile_texts_are_shown_not_obeyed(run, call, terminal):
    save(run, 50, metrics={HOSTILE: 1.0}, reason=HOSTILE, reasons=[HOSTILE], script={HOSTILE: HOSTILE})
    tell(run, [RUN[3]._replace(figures={"id": HOSTILE, "step": 5, HOSTILE: HOSTILE}, process=HOSTILE, seq=99)])
    escaped = "\\x1b[31mloss\\x07[red]\\u202e\\x9b1m"
    for arguments in (["ls", run], ["show", run], ["log", run], ["prune", run, "--keep-last", 1, "--dry-run"]):
        shown = on_terminal(*arguments, NO_COLOR="1", COLUMNS="400")[1] if terminal else call(*arguments)[1]
        for character in ("\x1b[31m", "\x07", "\u202e", "\x9b"):
            assert character not in shown, arguments
        if arguments[0] != "prune":
            assert escaped in shown.replace("\r\n ", ""), arguments
    for name, place in (("ls", lambda value: value["checkpoints"][0]["reason"]),
                        ("show", lambda value: value["reason"]), ("log", lambda value: value["process"])):
        out = call(name, run, "--json")[1]
        assert out.isascii() and place(json.loads(out.splitlines()[-1])) == HOSTILE


def test_hostile_texts_in_errors(tmp_path, call):
    status, _, err = call("show", str(tmp_path / HOSTILE))
    assert status == 3 and "\x1b" not in err and "\\x1b[31mloss" in err


@pytest.mark.parametrize("text, shown", [
    ("plain ü ✓ 漢", "plain ü ✓ 漢"), ("a\x1b[0m", "a\\x1b[0m"), ("a\nb\tc", "a\\nb\\tc"), ("\udc80", "\\udc80"),
    ("\u200b\u2066", "\\u200b\\u2066"), ("\x7f\x85", "\\x7f\\x85"), ("[bold]", "[bold]")])
def test_clean(text, shown):
    assert readable.clean(text) == shown


def test_a_reader_that_goes_away(run):
    for number in range(300):
        tell(run, [RUN[3]._replace(seq=1000 + number, figures={"text": "x" * 500})])
    for arguments in (["log", run], ["log", run, "--json"], ["show", GOLDEN, "--tensors", "--json"], ["--help"],
                      ["schema"]):
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        assert process.wait(20) == 141 and err == b"", arguments


@pytest.mark.parametrize("encoding, shown", [("ascii", "größe漢".encode()), ("latin-1", b"gr\xf6\xdfe\\u6f22")])
def test_an_old_encoding_is_no_reason_to_fail(run, encoding, shown):
    save(run, 50, metrics={"größe漢": 1.0})
    done = subprocess.run([*COMMAND, "ls", run], capture_output=True,
                          env=dict(os.environ, PYTHONIOENCODING=encoding))
    assert done.returncode == 0 and done.stderr == b""
    assert shown in done.stdout, "click takes ASCII for a mistake, and writes UTF-8"


def complete(*words_):
    done = subprocess.run(COMMAND, stdout=subprocess.PIPE, env=dict(
        os.environ, _KERAS_SESSION_COMPLETE="bash_complete", COMP_WORDS=" ".join(words_),
        COMP_CWORD=str(len(words_) - 1)))
    return [line.split(",")[1] for line in done.stdout.decode().splitlines()]


def test_completion():
    for shell, mark in (("bash", "complete -o nosort"), ("zsh", "#compdef keras-session"), ("fish", "complete --")):
        done = subprocess.run(COMMAND, stdout=subprocess.PIPE,
                              env=dict(os.environ, _KERAS_SESSION_COMPLETE=shell + "_source"))
        assert mark in done.stdout.decode() and "keras-session" in done.stdout.decode()
    assert complete("keras-session", "l") == ["ls", "log"]
    assert complete("keras-session", "prune", "--keep-every-") == ["--keep-every-epochs", "--keep-every-steps"]


@pytest.mark.parametrize("arguments, more", [
    (["--help"], ()), (["--version"], ()), (["ls", "RUN"], ()), (["ls", "."], ()), (["show", "RUN"], ()),
    (["log", "RUN"], ()), (["schema"], ()), (["prune", "RUN", "--keep-last", "1", "--dry-run"], ()),
    (["doctor", "RUN"], ()), (["report", "RUN", "-o", "RUN/a.html"], ()), (["verify", "RUN"], ("xxhash",)),
    (["diff", "RUN", "RUN"], ("numpy", "xxhash"))])
def test_nothing_heavy_is_imported(run, arguments, more):
    heavy = ["tensorflow", "keras", "tf_keras", "jax", "torch", "numpy", "h5py", "xxhash", "rich", "yaml",
             "jsonschema", "tensorboard", "google.protobuf", "importlib.metadata"]
    script = ("import sys\nfrom keras_session_ext.cli.main import main\n"
              "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    status = end.code\n"
              "print(status, [m for m in {!r} if m in sys.modules], file=sys.stderr)".format(heavy))
    done = subprocess.run([sys.executable, "-c", script, *[one.replace("RUN", run) for one in arguments]],
                          capture_output=True, cwd=os.path.dirname(run))
    status, _, found = done.stderr.decode().strip().splitlines()[-1].partition(" ")
    allowed = {*more, *(["importlib.metadata"] if arguments[0] == "doctor" else [])}
    assert status == "0" and set(eval(found)) <= allowed, found


def test_a_bar_with_bytes_on_a_terminal_and_none_elsewhere(tmp_path, call):
    import numpy as np

    from keras_session_ext.checkpoint.encoder import Tensor

    folder = str(tmp_path / "run")
    os.makedirs(folder + "/checkpoints")
    for digits in "01":
        id = "g000001-s0000000001-0000000" + digits
        write("{}/checkpoints/{}.h5".format(folder, id), [Tensor("x", "variables", np.zeros(3 << 20))], id=id)
    status, shown = on_terminal("verify", folder, "--all")
    assert status == 0 and "verifying" in shown and "MiB" in shown and "━" in shown
    assert "━" not in on_terminal("verify", folder, "--all", "--json")[1]
    status, out, err = call("verify", folder, "--all")
    assert status == 0 and len(out.splitlines()) == 2 and err == ""
