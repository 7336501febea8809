"""The values that travel between the floors: progress, checkpoint info, resume report."""

import html
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple


class Progress(NamedTuple):
    """How far a run has come.

    Attributes:
        stage: which `fit` call of the callback this is, from 0.
        epoch: finished epochs of this stage.
        batch: finished batches of the running epoch.
        step: finished batches since the run began, over all stages.
        elapsed_seconds: time spent inside `fit`, over all processes.

    Examples:
        >>> Progress(epoch=2, batch=5, step=61).epoch
        2
    """

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0
    elapsed_seconds: float = 0.0

    def __str__(self) -> str:
        stage = "stage {}, ".format(self.stage) if self.stage else ""
        return "{}epoch {}, batch {} (step {})".format(stage, self.epoch, self.batch, self.step)


class CheckpointInfo(NamedTuple):
    """What the header of a checkpoint says.

    Attributes:
        id: the file's name without its suffix.
        path: where the file is.
        progress: the `Progress` of the snapshot.
        generation: which start of the run wrote it, from 1.
        created: seconds since the epoch.
        size_bytes: the size of the file.
        metrics: the logs known at the snapshot.
        reason: which save policy asked for it.
        exact: whether a resume from here is expected to be bit-identical.
        reasons: why not, where `exact` is false.
        run: the lineage it belongs to; keep policies look at one run only.
        parent: id of the checkpoint the process resumed from or wrote before.
        branch_of: the checkpoint a run was started from by `restore=<id>`.
        finished: whether it is the last checkpoint of a finished stage.
    """

    id: str
    path: str
    progress: Progress
    generation: int
    created: float
    size_bytes: int
    metrics: Dict[str, Any]
    reason: str
    exact: bool
    reasons: Tuple[str, ...] = ()
    run: str = ""
    parent: Optional[str] = None
    branch_of: Optional[str] = None
    finished: bool = False

    @property
    def order(self) -> Tuple[int, int, int, int]:
        """Age: (generation, step), and what tells two saves at one step apart. File times are never looked at."""
        return (self.generation, self.progress.step, self.progress.stage, self.progress.epoch)


def metric_names(infos: Sequence[CheckpointInfo], first: Optional[str] = None) -> List[str]:
    """The metrics of some checkpoints: the one that is asked for, the losses, then the others by name."""
    names = {name for info in infos for name in info.metrics}
    leading = [name for name in (first, "val_loss", "loss") if name in names]
    return list(dict.fromkeys(leading + sorted(names)))


class CheckpointList(list):
    """A list of `CheckpointInfo`, shown as a table in notebooks."""

    def _repr_html_(self) -> str:
        metrics = metric_names(self)
        names = ["id", "epoch", "batch", "step", *metrics, "size", "created", "reason", "exact"]
        rows = ["<tr>{}</tr>".format("".join("<th>{}</th>".format(html.escape(name)) for name in names))]
        for info in self:
            values = ["{:.6g}".format(float(info.metrics[name])) if name in info.metrics else "" for name in metrics]
            cells = (info.id, info.progress.epoch, info.progress.batch, info.progress.step, *values,
                     "{:,} bytes".format(info.size_bytes),
                     time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.created)), info.reason,
                     "yes" if info.exact else "no: " + "; ".join(info.reasons))
            rows.append("<tr>{}</tr>".format("".join("<td>{}</td>".format(html.escape(str(cell))) for cell in cells)))
        return "<table>{}</table>".format("".join(rows))


class ResumeReport:
    """What a resume brought back, and whether it can be believed.

    Attributes:
        checkpoint: id of the checkpoint, or None for a fresh start.
        progress: where the run goes on.
        kinds: one entry per state kind: "restored", "replayed …" or "not captured: …".
        exact: True if the rest of the run is bit-identical to the run that was
            never interrupted. It may still turn false while skipped batches are
            replayed; the report is final at the first trained batch.
        reasons: why not, each naming the source and what to change.
        changes: what the script says differently from when the checkpoint was taken.
        rejected: checkpoints that were refused on the way, with the reason.
        witnessed: how many steps were trained again and gave what they had given before the interruption; it grows
            while they are trained.
        diverged_at: the first step that gave something else (finished steps, over all stages), or None. Then `exact`
            is false.
    """

    def __init__(self, checkpoint: Optional[str] = None, progress: Optional[Progress] = None):
        self.checkpoint: Optional[str] = checkpoint
        self.progress: Progress = progress or Progress()
        self.kinds: Dict[str, str] = {}
        self.reasons: List[str] = []
        self.changes: List[str] = []
        self.rejected: List[str] = []
        self.witnessed = 0
        self.diverged_at: Optional[int] = None

    @property
    def exact(self) -> bool:
        return not self.reasons

    def because(self, reason: str) -> None:
        """Notes why the resume is not exact, once per reason."""
        if reason not in self.reasons:
            self.reasons.append(reason)

    @property
    def is_news(self) -> bool:
        """Whether it says more than that all begins as ever."""
        return self.checkpoint is not None or bool(self.rejected) or not self.exact

    def __str__(self) -> str:
        if self.checkpoint is None:
            lines = ["Session: a fresh start"]
        else:
            lines = ["Session: resumed from {} at {}".format(self.checkpoint, self.progress)]
            lines += ["  {:<10} {}".format(kind, what) for kind, what in self.kinds.items()]
            lines += ["  changed    " + change for change in self.changes]
        if self.checkpoint is not None or not self.exact:
            lines.append("  exact: yes" if self.exact else "  exact: no, because " + "; ".join(self.reasons))
        if self.witnessed:
            lines.append("  witnessed: {} steps trained again, all as before".format(self.witnessed))
        return "\n".join(lines + ["  rejected   " + line for line in self.rejected])

    def _repr_html_(self) -> str:
        return "<pre>{}</pre>".format(html.escape(str(self)))

    def __repr__(self) -> str:
        return "<ResumeReport {} exact={}>".format(self.checkpoint, self.exact)
