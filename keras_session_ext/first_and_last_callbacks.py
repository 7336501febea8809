"""The callbacks that stand around all others in the list of a fit."""

from typing import Any, Dict, Optional

from keras_session_ext.run.fit import FitDriver


class First:
    """Stands before all peers: what must happen before any of them is asked."""

    driver: FitDriver

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_begin()

    def on_epoch_begin(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.epoch_begin(epoch)

    def on_train_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_batch_begin(batch)

    def on_train_batch_end(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_batch_end(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.epoch_ends(logs)

    def on_test_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.test_begin()

    def on_test_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.test_batch_begin()

    def on_test_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.test_end(logs)

    def on_predict_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.predict_begin()

    def on_predict_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.predict_end()


class Passing:
    """Stands alone in the list while a loop passes over batches that were trained on."""

    driver: FitDriver

    def on_train_batch_end(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.passed_over()


class Last:
    """Stands behind all peers, History included: what must happen after each of them had its turn."""

    driver: FitDriver

    def on_train_begin(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_began()

    def on_epoch_begin(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.epoch_began()

    def on_train_batch_begin(self, batch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_batch_began()

    def on_epoch_end(self, epoch: int, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.epoch_end(epoch, logs)

    def on_train_end(self, logs: Optional[Dict[str, Any]] = None) -> None:
        self.driver.train_end()
