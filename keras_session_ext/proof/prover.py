"""Runs a script twice, once in peace and once killed again and again, and compares everything."""

import hashlib
import json
import os
import random
import shutil
import time
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional

from keras_session_ext import files
from keras_session_ext.errors import SessionError
from keras_session_ext.launch.child_process import Child, adopt_orphans, end_orphans
from keras_session_ext.launch.supervisor import ending
from keras_session_ext.lifecycle.journal import read_journal
from keras_session_ext.proof import run_differences
from keras_session_ext.proof.working_copies import WorkingCopies

#: saves of the killed run between two kills
_SAVES_PER_KILL = 3
_KINDS = ("variables", "optimizer", "loop", "history", "callbacks", "random", "data", "returned")


class ScriptFailed(SessionError):
    """The script itself failed, or does nothing that could be proved."""


class Verdict(NamedTuple):
    """What came out.

    Attributes:
        exact: whether nothing differed.
        steps: batches of the uninterrupted run.
        killed: the steps at which the other run was killed.
        resumed: the checkpoints it went on from.
        fresh: why two fresh starts differ, where they do; the killed run then began with the other's first checkpoint.
        difference: the first state that diverged, where one did.
        reasons: what it comes from and what to change.
        rows: kind -> the SHA-256 of the uninterrupted run's states at the end, and of the other's.
    """

    exact: bool
    steps: int
    killed: List[int]
    resumed: List[str]
    fresh: str
    difference: str
    reasons: List[str]
    rows: Dict[str, List[str]]


class Proof:
    """One comparison.

    Args:
        command: makes the command of supervisor.py's `Child` from the settings of note_states.py.
        folder: an empty folder to work in.
        tell: takes a line for the user.
        kills: how often the second run is killed.
        seed: of the moments.
        ignore: parts of the paths of states that may differ.
        loops: whether the script's own loops are wrapped.
    """

    def __init__(self, command: Callable[[Dict[str, Any]], List[str]], folder: str, tell: Callable[[str], None],
                 kills: int = 5, seed: int = 0, ignore: Iterable[str] = (), loops: bool = False):
        self._command = command
        self._folder = folder
        self._tell = tell
        self._kills = kills
        self._draw = random.Random(seed)  # noqa: S311
        self._ignore = list(ignore)
        self._loops = loops
        self._processes = 0
        self._fresh = ""
        self._steps = 0
        self._copies = WorkingCopies(folder)
        self._in_copies = False

    def prove(self) -> Verdict:
        """Runs and compares.

        A script that cannot be started a second time in one folder (`os.makedirs`) is run in a copy of it each time.

        Raises:
            ScriptFailed: the script failed, or called no fit.
        """
        self._copies.keep()
        try:
            return self._prove()
        except ScriptFailed as error:
            if self._processes < 2 or not self._copies.is_kept:
                raise
            self._tell("The script fails when it is started again in the folder it has written to, and so it would "
                       "when it is resumed: {}\nIt is proved with a copy of the folder for each process.".format(
                           str(error).splitlines()[-1]))
        self._in_copies, self._processes, self._fresh = True, 0, ""
        self._folder = os.path.join(self._folder, "in-copies")
        files.make_directory(self._folder, 0o700)
        return self._prove()

    def _prove(self) -> Verdict:
        whole = self._uninterrupted()
        self._steps = max(note.step for note in whole)
        kills = min(self._kills, self._steps - 2)
        if kills < 1:
            raise ScriptFailed("The script trains {} steps; to be killed between two of them, behind a checkpoint, it "
                               "has to train 3. Give it more epochs.".format(self._steps))
        if kills < self._kills:
            self._tell("The script trains {} steps: it is killed {} times.".format(self._steps, kills))
        # not the first step: a kill that no checkpoint precedes would prove nothing
        moments = sorted(self._draw.sample(range(2, self._steps), kills))
        directory = os.path.join(self._folder, "killed")
        killed: List[int] = []
        resumed: List[run_differences.Note] = []
        difference = None
        for moment in moments + [0]:
            before = self._keep(directory)
            notes = self._notes(directory, moment, killed)
            found = run_differences.first_difference(whole, notes)
            if found is not None and not before and not self._fresh:  # nothing was resumed yet
                self._fresh = run_differences.explain_fresh(found)
                self._tell("Two fresh starts differ: {}. {}.\nThe killed run begins with the first checkpoint of the "
                           "other.".format(found, self._fresh[0].upper() + self._fresh[1:]))
                directory = self._begin_like_the_whole()
                notes, found = [], None
            resumed += notes
            if found is not None:
                difference = found
                break
        return self._verdict(whole, resumed, difference, directory, before, killed)

    # -- the runs

    def _uninterrupted(self) -> List[run_differences.Note]:
        began = time.monotonic()
        directory = os.path.join(self._folder, "whole")
        notes = self._notes(directory, 0, [], every=0)
        if not notes:
            raise ScriptFailed("The script never called fit{}, so there is nothing to prove.{}".format(*(
                (", and came to no loop that trains", "") if self._loops else
                ("", " Loops of its own are proved by prove --loops."))))
        self._tell("uninterrupted: {} steps in {:.0f} s".format(
            max(note.step for note in notes), time.monotonic() - began))
        return notes

    def _notes(self, directory: str, moment: int, killed: List[int],
               every: Optional[int] = None) -> List[run_differences.Note]:
        """Runs one process, killed at step `moment` unless that is 0; returns what it noted."""
        self._processes += 1
        name = os.path.join(self._folder, "process-{}".format(self._processes))
        if every is None:
            every = max(1, self._steps // (_SAVES_PER_KILL * max(1, self._kills)))
        settings = {"directory": directory, "notes": name + ".jsonl", "every": every, "kill_at": moment,
                    "delay": self._draw.random()}
        status = self._run(settings, name + ".txt")
        if status == -9 and moment:
            killed.append(moment)
            self._tell("killed with SIGKILL at step {}".format(moment))
        elif status:
            raise ScriptFailed("The script {} {}. Its last words:\n{}".format(
                ending(status), "after {} resumes".format(len(killed)) if killed else "by itself",
                _tail(name + ".txt")))
        if not files.exists(name + ".jsonl"):
            return []
        notes = run_differences.read(files.read_all(name + ".jsonl").split(b"\n")[:-1])
        return run_differences.ignoring(notes, self._ignore)

    def _run(self, settings: Dict[str, Any], output: str) -> int:
        fd = files.create(output)
        adopts = adopt_orphans()
        child = Child(self._command(settings), fd, cwd=self._copies.fresh() if self._in_copies else None)
        try:
            while child.process.poll() is None:
                child.listen()
                time.sleep(0.02)
        finally:
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()
            child.close()
            files.close(fd)
            if adopts:
                end_orphans()
        return int(child.process.returncode)

    def _keep(self, directory: str) -> str:
        """A copy of the run before it goes on; "" where there is nothing yet."""
        if not _checkpoints(directory):
            return ""
        copy = os.path.join(self._folder, "before-{}".format(self._processes + 1))
        shutil.copytree(directory, copy)
        return copy

    def _begin_like_the_whole(self) -> str:
        """A run that has nothing but the first checkpoint of the uninterrupted one."""
        directory = os.path.join(self._folder, "killed-from-first")
        shutil.copytree(os.path.join(self._folder, "whole"), directory)
        for path in _checkpoints(directory)[1:]:
            files.remove(path)
        return directory

    # -- the verdict

    def _verdict(self, whole: List[run_differences.Note], resumed: List[run_differences.Note],
                 difference: Optional[run_differences.Difference], directory: str, before: str,
                 killed: List[int]) -> Verdict:
        reasons: List[str] = []
        reports = [event.figures for run in _runs(directory) for event in read_journal(run).events
                   if event.kind in ("restored", "replayed")]
        if difference is not None:
            said = list(dict.fromkeys(reason for one in reports for reason in one.get("reasons") or ()))
            repeats = None
            if not said and before:
                repeats = self._repeats(before, difference)
            reasons = run_differences.explain(difference, said, repeats)
        if difference is None and not _resumed(reports):
            raise ScriptFailed("No start went on from a checkpoint, so nothing was proved. Give the script more steps.")
        rows = _rows(whole, resumed) if difference is None else {}
        if difference is None and any(one != other for one, other in rows.values()):
            kind = next(kind for kind, (one, other) in rows.items() if one != other)
            return Verdict(False, self._steps, killed, _resumed(reports), self._fresh, kind + " at the end", reasons,
                           rows)
        return Verdict(difference is None, self._steps, killed, _resumed(reports), self._fresh,
                       "" if difference is None else str(difference), reasons, rows)

    def _repeats(self, before: str, difference: run_differences.Difference) -> bool:
        """Whether a second resume from the same checkpoint does the same."""
        self._tell("resuming once more from the same checkpoint, to see whether that repeats itself")
        again = os.path.join(self._folder, "again")
        shutil.copytree(before, again)
        notes = self._notes(again, difference.note.step + 1, [])
        same = [note for note in notes if (note.at, note.place) == (difference.note.at, difference.note.place)]
        return bool(same) and same[0].states == difference.note.states


def _runs(directory: str) -> List[str]:
    """The run itself, and that of fits outside of wrapped loops."""
    return [one for one in (directory, os.path.join(directory, "fits")) if os.path.isdir(os.path.join(
        one, "checkpoints"))]


def _checkpoints(directory: str) -> List[str]:
    """Those of a run, the oldest first."""
    found = [os.path.join(run, "checkpoints", name) for run in _runs(directory)
             for name in sorted(files.names(os.path.join(run, "checkpoints"))) if name.endswith(".h5")]
    return sorted(found, key=os.path.getmtime)


def _resumed(reports: List[Dict[str, Any]]) -> List[str]:
    return [str(one["id"]) for one in reports if "id" in one]


def _rows(whole: List[run_differences.Note], resumed: List[run_differences.Note]) -> Dict[str, List[str]]:
    """kind -> SHA-256 over its states at the end of every stage, of both runs."""
    made: Dict[str, List[str]] = {}
    trained = {note.place[0] for note in resumed if note.at == "step"}
    finished = {note.place[0] for note in resumed} - trained  # before the killed run began: only their ends are known
    for notes in (whole, resumed):
        notes = [note for note in notes if note.at == "end" or note.place[0] not in finished]
        states = run_differences.final(notes)
        for kind in _KINDS:
            mine = {path: value for path, value in states.items() if path.split("/")[1] == kind}
            digest = hashlib.sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()
            made.setdefault(kind, []).append(digest if mine else "")
    return made


def _tail(path: str) -> str:
    return files.read_all(path, 2000).decode(errors="replace").strip()
