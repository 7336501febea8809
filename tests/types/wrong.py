"""What editors must mark: each line that ends with the comment, and no other."""

import keras_session_ext as kse

kse.SessionCheckpoint("runs/a", restore=3)  # wrong
kse.SessionCheckpoint("runs/a", background="yes")  # wrong
kse.SessionCheckpoint("runs/a", save="epoch")  # wrong
kse.SessionCheckpoint("runs/a", save=lambda: True)  # wrong
kse.SessionCheckpoint("runs/a", keep=3)  # wrong
kse.SessionCheckpoint("runs/a", keep=kse.EveryEpochs(1))  # wrong
kse.SessionCheckpoint("runs/a", verbose="auto")  # wrong
kse.SessionCheckpoint("runs/a", save_freq=5)  # wrong
kse.SessionCheckpoint("runs/a", on_error="ignore")  # wrong
kse.SessionCheckpoint()  # wrong
kse.SessionLogger(5)  # wrong
kse.EverySteps("3")  # wrong
kse.EveryEpochs(step=1)  # wrong
kse.EverySeconds([1])  # wrong
kse.OnBest("loss", "best")  # wrong
kse.KeepBest(1)  # wrong
kse.KeepSize(1.5)  # wrong
kse.KeepLast(1) | kse.EveryEpochs(1)  # wrong
kse.OnSignal(1.5)  # wrong
kse.best_checkpoint("runs/a", 3)  # wrong
kse.restore_session("model.h5")  # wrong
kse.list_checkpoints("runs/a")[0].steps  # wrong
kse.SessionCheckpoint("runs/a").resume_report.exactly  # wrong
kse.Checkpoint("runs/a")  # wrong
