"""The table of the nodes of tf.data: names are plain, and the docs have all of them."""

import os

from keras_session_ext.backend.feeds.dataset_op_table import NODES, OPS, plain_name

DOCS = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "exactness.md")


def test_names_are_plain():
    for name in [*NODES, *OPS]:
        assert plain_name(name) == name


def test_names_of_all_versions_meet():
    for names in (("_ShuffleDataset", "ShuffleDataset", "ShuffleDatasetV2", "ShuffleDatasetV3"),
                  ("_ScanDataset", "ExperimentalScanDataset"), ("TFRecordDatasetV1", "_TFRecordDataset")):
        assert len({plain_name(name) for name in names}) == 1


def test_the_docs_have_every_node_with_its_condition():
    with open(DOCS) as handle:
        rows = [line.split("|") for line in handle if line.startswith("| `")]
    told = {name.strip("`"): row[2].strip() for row in rows for name in row[1].split()}
    assert {name: told.get(name) for name in NODES} == NODES
