"""The tests of the tab in one TensorBoard: KSE_TENSORBOARD says which, if it was declared."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from tensorboard import version


def pytest_report_header(config):
    return "tensorboard {}".format(version.VERSION)


def pytest_sessionstart(session):
    declared = os.environ.get("KSE_TENSORBOARD", version.VERSION)
    if not version.VERSION.startswith(declared):
        raise RuntimeError("TensorBoard {} was declared, and {} is installed.".format(declared, version.VERSION))
