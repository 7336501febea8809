"""Which nodes of a `tf.data` pipeline, and ops within its functions, are known to repeat. All else is not known.

A node *repeats* if a second iterator over the same source gives the same
elements in the same order, in another process, too. Checked by running each in
tests/integration/test_tf_dataset.py on TensorFlow 2.21; the names are those of
TensorFlow 1.15 to 2.21, without a leading underscore, `Experimental`, and the
number of their version.
"""

import re
from typing import Any, Dict, FrozenSet, List, Optional

from keras_session_ext.backend.engines.graph_ops import is_stateful, op_definition

_SHUFFLED = ("if it is seeded; iterators that were made before are made again; one shuffle behind another from "
             "TensorFlow 2.10 on")
#: name -> why it repeats, or under which condition, which walk_tf_dataset.py looks at
NODES: Dict[str, str] = {
    # sources
    "TensorDataset": "its tensors are compared with those of the checkpoint",
    "TensorSliceDataset": "its tensors are compared with those of the checkpoint",
    "SparseTensorSliceDataset": "its tensors are compared with those of the checkpoint",
    "RangeDataset": "counts",
    "ListDataset": "its tensors are compared with those of the checkpoint",
    "RandomDataset": "if it is seeded, and not made anew for every iterator",
    "TextLineDataset": "reads files in order, as long as they are the same",
    "TFRecordDataset": "reads files in order, as long as they are the same",
    "FixedLengthRecordDataset": "reads files in order, as long as they are the same",
    "CsvDataset": "reads files in order, as long as they are the same",
    "CSVDataset": "reads files in order, as long as they are the same",
    # from element to element
    "MapDataset": "if its function repeats",
    "ParallelMapDataset": "if its function repeats, and it is deterministic",
    "MapAndBatchDataset": "if its function repeats, and it is deterministic",
    "FilterDataset": "if its function repeats",
    "FlatMapDataset": "if its function repeats",
    "InterleaveDataset": "if its function repeats",
    "ParallelInterleaveDataset": "if its function repeats, and it is deterministic",
    "ScanDataset": "if its function repeats",
    "TakeWhileDataset": "if its function repeats",
    "GroupByWindowDataset": "if its functions repeat",
    "GroupByReducerDataset": "if its functions repeat",
    "DirectedInterleaveDataset": "if the dataset that selects repeats",
    "ParseExampleDataset": "if it is deterministic",
    # order, length, shape
    "ShuffleDataset": _SHUFFLED,
    "ShuffleAndRepeatDataset": _SHUFFLED,
    "CacheDataset": "in memory, and not behind a shuffle that draws a new order for every iterator",
    "BatchDataset": "in order", "ParallelBatchDataset": "if it is deterministic", "PaddedBatchDataset": "in order",
    "DenseToRaggedDataset": "in order", "DenseToSparseBatchDataset": "in order", "UnbatchDataset": "in order",
    "RebatchDataset": "in order", "LegacyRebatchDataset": "in order", "WindowDataset": "in order",
    "ConcatenateDataset": "if none but its first dataset draws a new order for every iterator",
    "SlidingWindowDataset": "in order", "ZipDataset": "in order",
    "RepeatDataset": "in order", "SkipDataset": "in order", "TakeDataset": "in order", "ShardDataset": "in order",
    "UniqueDataset": "in order", "PrefetchDataset": "in order", "OptionsDataset": "options are looked at",
    "ModelDataset": "changes speed alone", "OptimizeDataset": "changes speed alone",
    "FinalizeDataset": "changes speed alone", "MaxIntraOpParallelismDataset": "changes speed alone",
    "PrivateThreadPoolDataset": "changes speed alone", "AssertCardinalityDataset": "counts",
    "AssertNextDataset": "asserts", "DatasetV1Adapter": "stands for another one",
    "RestructuredDataset": "changes the form alone", "VariantDataset": "stands for one within a function",
    "WrapDatasetVariant": "stands for another one", "UnwrapDatasetVariant": "stands for another one",
}

#: ops of functions that TensorFlow calls stateful and that give the same again
OPS: FrozenSet[str] = frozenset([
    "Assert", "Case", "CheckNumerics", "DecodeCSV", "DeleteMemoryCache", "DeleteRandomSeedGenerator",
    "DeleteSeedGenerator", "AnonymousMemoryCache", "AnonymousRandomSeedGenerator", "AnonymousSeedGenerator",
    "DummyMemoryCache", "DummySeedGenerator", "Empty", "HashTable", "AnonymousHashTable", "If",
    "InitializeTable", "InitializeTableFromTextFile", "LookupTableExport", "LookupTableFind", "LookupTableSize",
    "PartitionedCall", "Print", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "StatefulPartitionedCall",
    "StatelessRandomGetAlg", "StatelessRandomGetKeyCounterAlg", "VarHandleOp", "VarIsInitializedOp", "VariableShape",
    "While",
])

STATELESS = "use tf.random.stateless_* with seeds from dataset.counter or .random(seed=1)"
UNSEEDED = ("the tf.data.Dataset is shuffled without a seed; write .shuffle(n, seed=1), or call "
             "keras.utils.set_random_seed before the dataset is made")
_PYTHON = "the dataset calls Python code, whose state is not seen; pass a generator or a PyDataset to fit instead"
_RANDOM_OPS = ("Random", "Multinomial", "TruncatedNormal", "ParameterizedTruncatedNormal", "SampleDistorted")
_PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
#: ops with "Dataset" in their name that are no nodes
_NO_NODES = ("DatasetCardinality", "DatasetToSingleElement", "ReduceDataset", "DatasetFingerprint")


def plain_name(name: str) -> str:
    """The name of a node, class or op, whatever the version of TensorFlow.

    Examples:
        >>> plain_name("_ParallelMapDataset"), plain_name("ExperimentalScanDataset"), plain_name("ShuffleDatasetV3")
        ('ParallelMapDataset', 'ScanDataset', 'ShuffleDataset')
    """
    name = re.sub(r"V\d+$", "", name.lstrip("_"))
    return name[len("Experimental"):] if name.startswith("Experimental") else name


def unknown_node(name: str) -> str:
    """The reason for a node that stands in no table."""
    return ("the tf.data.Dataset contains {}, which is not known to repeat; use another node, or pass a generator or a "
            "PyDataset to fit instead".format(name))


def op_reasons(node: Any, named: Dict[str, Any]) -> List[str]:
    """Reasons why an op within a function gives something else when the function is called again.

    Args:
        node: a `NodeDef` of the function.
        named: all of the function's, by name.

    Returns:
        Sentences for the user; none if the op is known to repeat.
    """
    name = plain_name(node.op)
    if "Dataset" in node.op and name not in _NO_NODES:
        return _node_reasons(name, node, named)
    if node.op in _PYTHON_OPS:
        return [_PYTHON]
    if name in OPS or not is_stateful(node.op):
        return []
    if node.op.startswith(_RANDOM_OPS):
        return ["a function of the dataset uses the random op {}, whose state is hidden; {}".format(
            node.op, STATELESS)]
    return ["a function of the dataset uses {}, which is not known to repeat; take it out of the pipeline".format(
        node.op)]


def _node_reasons(name: str, node: Any, named: Dict[str, Any]) -> List[str]:
    """A dataset that is made within a function."""
    if name == "GeneratorDataset":
        return [_PYTHON]
    reasons = [] if name in NODES else [unknown_node(name)]
    if node.attr["deterministic"].s == b"false" or node.attr["sloppy"].b:
        reasons.append("the dataset's {} has deterministic=False; leave it out".format(name))
    if name.startswith(("Shuffle", "Random")):
        seeds = [_constant(given, named) for argument, given in zip(op_definition(node.op).input_arg, node.input)
                 if argument.name in ("seed", "seed2")]
        if seeds and seeds[0] is None:  # the second one is computed: tf.data sees to it that not both are zero
            reasons.append("a {} within a function of the dataset has a seed that is not known; write it as a "
                           "number".format(name))
        elif seeds and all(seed == 0 for seed in seeds):
            reasons.append(UNSEEDED)
    if node.op == "RandomDatasetV2":
        reasons.append("the dataset's random numbers are drawn anew for every iterator; leave "
                       "rerandomize_each_iteration out")
    return reasons


def _constant(name: str, named: Dict[str, Any]) -> Optional[int]:
    """The value of a whole number that is written in a function."""
    node = named.get(name.split(":")[0])
    if node is None or node.op != "Const" or "value" not in node.attr:
        return None
    from tensorflow.python.framework import tensor_util

    value = tensor_util.MakeNdarray(node.attr["value"].tensor)
    return int(value) if value.ndim == 0 and value.dtype.kind in "iu" else None


