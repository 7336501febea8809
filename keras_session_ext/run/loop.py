"""The driver of loops of the script's own: from the `for` that asks for its next item to the session.

```
open         the `for` asks for its first item; the outermost level begins a stage, and restores
step         it asks for the next one: the iteration before is over, this is where a snapshot may be taken
left         it will ask no more: `break`, `return`, an exception
over         there are no more items; of the outermost level the stage ends
```

A snapshot holds every open level. To resume, each level is given the random
state its pass began with, draws the items it has had and drops them; then the
running iteration begins again, under the random state it began with, until the
innermost level of the snapshot opens. There all state comes back, the random
state last. Within an iteration nothing is saved behind an inner loop that is
over: what it has left in variables would be missing on the way back.
"""

import time
from types import FrameType
from typing import Any, Dict, List, Optional, Set

from keras_session_ext.backend.contracts.family import Family
from keras_session_ext.backend.feeds.followed_data import Pass
from keras_session_ext.backend.hooks.fit_frames import frames
from keras_session_ext.errors import ConfigError, StateMismatch
from keras_session_ext.lifecycle.curves import logged
from keras_session_ext.run.loop_feed import ITERATOR_WITHIN, PASSED, Level, LoopFeed, check_logs
from keras_session_ext.run.loop_iterator import LoopIterator
from keras_session_ext.run.loop_watch import LoopWatch
from keras_session_ext.run.session import Session
from keras_session_ext.state.data import SEED_IT


class LoopDriver:
    """Calls the session for one `SessionLoop`.

    Args:
        session: what is called.
        watch: looks at what it leads to.

    Attributes:
        history: a Keras History, of what was logged.
        data_of, check_wrapped: of what is looked at.
    """

    def __init__(self, session: Session, watch: LoopWatch):
        self.session, self._watch = session, watch
        self.data_of, self.check_wrapped = self._watch.data_of, self._watch.check_wrapped
        self._feed: Optional[LoopFeed] = None
        self._logs: Dict[str, Any] = {}
        self._broken = self._over = self._is_saved = False
        self._epochs = 0
        self._passed: Set[str] = set()
        self.history: Any = session.family.keras.callbacks.History()
        self.history.history, self.history.epoch = {}, []

    @property
    def _family(self) -> Family:
        return self.session.family

    @property
    def levels(self) -> List[Level]:
        """The open ones, the outermost first."""
        return self._feed.levels if self._feed is not None else []

    def is_running(self, frame: Optional[FrameType]) -> bool:
        """Whether the outermost loop stands on the stack that ends in this frame; called by signal handlers."""
        outer = self.levels[0].frames[-1] if self.levels and not self._broken else None
        return frame is not None and outer is not None and any(one is outer for one in frames(frame))

    # -- a level opens

    def open(self, level: Level, epochs: int) -> bool:
        """A `for` asks for its first item.

        Args:
            level: of it.
            epochs: how many iterations the outermost one has; 0 where that is not known.

        Returns:
            False if there is nothing left to do in it.
        """
        if not self.levels or self._broken:
            if not self._begin_stage(level, epochs):
                return False
        else:
            parent = self.levels[-1]
            level.saves = parent.saves and not parent.inner_done
            parent.has_inner = True
        feed = self._feed
        assert feed is not None
        feed.levels.append(level)
        stored = self._stored_of(level)
        if stored is None:
            self._begin_pass(level)
        else:
            self._repeat_pass(level, stored)
        level.bound = self._watch.bound() if len(feed.levels) > 1 else None
        return True

    def _begin_stage(self, level: Level, epochs: int) -> bool:
        if self._family.fit_running(level.frame):
            raise ConfigError("A loop begins within a fit of Keras's, which drives the training. Leave the loop out, "
                              "and give fit a SessionCheckpoint.")
        if self._broken:
            self._broken = False
            self.session.give_up()
        session = self.session
        earlier = session.run.report.reasons if session.has_run else []
        self._over = self._is_saved = False
        self._epochs = epochs
        feed = self._feed = LoopFeed(self._family)
        feed.iterators_of_loop = self._watch.iterators
        self._watch.follow_session(level.frames)
        model = self._watch.first_model(level.frames)
        self.history.history, self.history.epoch = {}, []
        session.attach(model, [self.history])
        session.run.feed, session.run.stopping = feed, False
        view = session.run.loop = self._watch.begin(feed)
        feed.levels.append(level)  # variables are looked at from its place
        session.begin_stage(again=False)
        for reason in earlier:  # of a stage before, from which this one follows
            session.run.report.because(reason)
        resumes = session.follow_data(feed, epochs)
        found = view.begin()
        self._watch.remember(found)
        if resumes:
            self._family.build_optimizers(model, session.resume.meet())
            session.restore(time.monotonic())
            if session.run.report.kinds["data"].startswith("finished"):
                return self._is_finished()
            session.epoch_starts()
        feed.levels.pop()
        session.begin_training()
        if not resumes and not session.stage:
            session.tell("\n".join(found.told()))
        return True

    def _is_finished(self) -> bool:
        assert self._feed is not None
        self._passed |= self._feed.moved()
        self.session.run.loop.session_goes_on()
        self._iterators_go_on(self._feed.stored or {})
        self._feed.levels.clear()
        self.session.settle()
        self.session.begin_training()
        self.session.end_stage()
        self._over, self._feed.stored = True, None
        return False

    def _begin_pass(self, level: Level) -> None:
        feed, data = self._feed, level.data
        assert feed is not None
        stored = (feed.stored or {}).get("read", {}).pop(level.name, None)
        if stored is not None:  # it was read before the checkpoint, and is over there
            data.advance(stored["made"])  # a loader's generators came back with the variables
        elif data.kind in self._passed and self._watch.is_held(level):
            self.session.run.report.because(PASSED)
        level.made, level.start = data.made, self._random()
        feed.read[level.name] = data
        level.pass_ = Pass(data)
        if stored is not None and data.is_iterator and self._watch.is_bound_outside(data.source):
            level.pass_.drop(stored["drawn"])
            level.pass_.index = 0
        level.pass_.before = level.pass_.before if stored is None else stored["drawn"]

    # -- on the way back

    def _stored_of(self, level: Level) -> Optional[Dict[str, Any]]:
        """What the checkpoint says of this level; None if it is not on the way to where it stood."""
        feed = self._feed
        assert feed is not None
        depth = len(feed.levels) - 1
        if feed.stored is None or depth >= len(feed.stored["levels"]):
            return None
        stored: Dict[str, Any] = feed.stored["levels"][depth]
        if stored["name"] != level.name:
            feed.levels.clear()
            raise StateMismatch("The checkpoint {} was taken within {}, and the script comes to {} there. Undo the "
                                "change, or start in a new directory.".format(
                                    self.session.resume.candidate.info.path, stored["name"], level.name))
        return stored

    def _repeat_pass(self, level: Level, stored: Dict[str, Any]) -> None:
        feed, data = self._feed, level.data
        assert feed is not None and feed.stored is not None
        data.advance(stored["made"])
        data.set_generators(stored["generators"])
        self._set_random(stored["start"])
        level.made, level.start = data.made, stored["start"]
        feed.read[level.name] = data
        feed.stored["read"].pop(level.name, None)
        level.pass_ = Pass(data)
        if data.is_iterator and stored["before"] and self._watch.is_bound_outside(data.source):
            level.pass_.drop(stored["before"])
            level.pass_.index = 0
        level.pass_.before = stored["before"]
        bottom = len(feed.levels) == len(feed.stored["levels"])
        level.pass_.drop(stored["drawn"] - (not bottom))
        level.index = stored["index"]
        if not level.is_like(stored["content"]) or (bottom and level.pass_.chain(stored["drawn"]) != stored["chain"]):
            self.session.run.report.because(
                "the {} of {} did not give what it gave before; {}".format(data.kind, level.name, SEED_IT))
        if bottom:
            if len(feed.levels) == 1 and level.word != "epochs" and level.index:
                self._begin_epoch(level)
            self._arrive()

    def _arrive(self) -> None:
        """All open levels of the snapshot are there again."""
        session, feed = self.session, self._feed
        assert feed is not None and feed.stored is not None
        told = len(session.run.report.reasons)
        self._iterators_go_on(feed.stored)
        session.run.loop.is_complete = True
        session.resume.apply()
        for level in feed.levels[:-1]:
            level.has_inner = True
            level.steps = session.run.progress.step - session.run.progress.batch
        feed.stored = {"levels": [], "read": feed.stored["read"]}
        session.settle()
        for reason in session.run.report.reasons[told:]:
            session.tell("Session: exact: no, because " + reason)

    def _iterators_go_on(self, stored: Dict[str, Any]) -> None:
        for name, state in stored.get("iterators_of_loop", {}).items():
            if name in self._watch.iterators:
                self._watch.iterators[name].go_on(state)

    # -- an item is asked for

    def step(self, level: Level) -> Any:
        """The next item of a level.

        Raises:
            StopIteration: there is none.
        """
        feed = self._feed
        assert feed is not None and level.pass_ is not None
        if level not in feed.levels:
            raise StopIteration
        del feed.levels[feed.levels.index(level) + 1:]
        if level.running:
            self._iteration_ends(level)
        try:
            item = level.pass_.draw()
        except StopIteration:
            self._ends(level)
            raise
        self._iteration_begins(level)
        return item

    def _iteration_begins(self, level: Level) -> None:
        feed, session = self._feed, self.session
        assert feed is not None
        depth = feed.levels.index(level)
        if not depth and (level.word == "epochs" or not level.has_begun):
            self._begin_epoch(level)
        stored = feed.stored["levels"] if feed.stored is not None else []
        level.running, level.inner_done, level.iteration = True, False, None
        comes_back = depth + 1 < len(stored)  # to an inner loop, which has not opened yet
        if comes_back:
            level.iteration = stored[depth]["iteration"]
            if level.iteration is not None:
                self._watch.begin_again(level.iteration)
                self._set_random(level.iteration["random"])
        elif not depth or level.has_inner or not level.index:
            level.iteration = {"random": self._random(), **self._watch.begun_with()}
        if not depth:
            level.begun = self._watch.bound() if level.has_inner or not level.index or comes_back else None
        level.steps = session.run.progress.step

    def _begin_epoch(self, level: Level) -> None:
        level.has_begun = True
        if not self.session.resume.within_epoch:
            self._feed.steps = 0  # type: ignore[union-attr]
        self.session.begin_epoch(level.index if level.word == "epochs" else 0)

    def _iteration_ends(self, level: Level) -> None:
        feed, session = self._feed, self.session
        assert feed is not None
        if feed.stored is not None and len(feed.stored["levels"]) > len(feed.levels):
            raise StateMismatch("The checkpoint was taken within {}, which the script did not come to in that "
                                "iteration of {}. Undo the change, or start in a new directory.".format(
                                    feed.stored["levels"][len(feed.levels)]["name"], level.name))
        level.index += 1
        level.running = False
        logs, self._logs = self._logs, {}
        run = session.run
        depth = feed.levels.index(level)
        if session.run.progress.step == level.steps:  # nothing within it has counted
            feed.steps += 1
        if not depth and level.word == "epochs":
            self._epoch_ends(level, logs)
            return
        session.move(run.progress.epoch, feed.steps)
        session.record.step(run.progress.step, logs)
        session.record.beat(run.progress)
        session.witness.step(run.progress.step, logs)
        if not depth:
            self._note(level.index - 1, logs)
        if level.saves:
            session.poll({})

    def _epoch_ends(self, level: Level, logs: Dict[str, Any]) -> None:
        self._note(level.index - 1, logs)
        self.session.witness.epoch_ends(logs)
        self.session.end_epoch(level.index - 1, logs)
        self._is_saved = 0 < self._epochs <= level.index

    def _note(self, epoch: int, logs: Dict[str, Any]) -> None:
        if logs:
            self.history.epoch.append(epoch)
            for name, value in logged(logs).items():
                self.history.history.setdefault(name, []).append(value)

    # -- a level is over

    def _ends(self, level: Level) -> None:
        feed = self._feed
        assert feed is not None
        if len(feed.levels) > 1:
            self._close(level)
            return
        self._end_stage()

    def _close(self, level: Level) -> None:
        feed = self._feed
        assert feed is not None
        place = feed.levels.index(level)
        del feed.levels[place:]
        if place:
            feed.levels[place - 1].inner_done = True
        if level.data.kind not in ("tf.data.Dataset", "DataLoader") and not level.data.is_iterator:
            self._watch.known.pop(id(level.data.source), None)

    def _end_stage(self) -> None:
        """The outermost loop is over: all of it is saved, if that was not done behind its last iteration."""
        session, feed = self.session, self._feed
        assert feed is not None
        outermost = feed.levels[0]
        if outermost.word != "epochs":
            session.end_epoch(0, {})
        elif not self._is_saved:
            session.poll({}, finished=True)
        feed.levels.clear()
        self._over = True
        session.end_stage()

    def left(self, level: Level) -> None:
        """A `for` will ask no more, by `break`, `return` or an exception."""
        feed = self._feed
        if feed is None or level not in feed.levels:
            return
        outermost = feed.levels[0] is level
        if outermost:
            self._broken = True
        else:
            self._close(level)

    def finish(self) -> None:
        """The loop that was left by `break` is over."""
        if self._broken and self._feed is not None and self._feed.levels:
            self._broken = False
            self.session.run.stopping = True  # as a callback stops a fit: later starts train no more
            self._end_stage()

    def give_up(self) -> None:
        """The loop was left by an exception."""
        if self._feed is not None and self._feed.levels and not self._over:
            self._broken = False
            self._feed.levels.clear()
            self.session.give_up()

    # -- what is looked at

    def iterator(self, source: Any) -> LoopIterator:
        """An iterator whose draws are counted."""
        if self.levels:
            raise ConfigError(ITERATOR_WITHIN)
        name = "loop.iterator {}".format(len(self._watch.iterators))
        made = self._watch.iterators[name] = LoopIterator(
            name, self.data_of(source), lambda: self._family.random_state(self._watch.model), self._set_random,
            lambda reason: self.session.run.report.because(reason))
        return made

    def log(self, metrics: Dict[str, Any]) -> None:
        """Of the iteration that runs."""
        check_logs(metrics)
        self._logs.update(metrics)

    def _random(self) -> Dict[str, Any]:
        return self._family.random_state(self.session.run.model)

    def _set_random(self, random: Dict[str, Any]) -> None:
        for reason in self._family.set_random_state(random, self.session.run.model):
            self.session.run.report.because(reason)
