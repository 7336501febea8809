"""What is known to repeat in a `tf.data` pipeline: the nodes, and the ops within its functions. All else is not known.

A node *repeats* if a second iterator over the same source gives the same
elements in the same order, in another process, too. Checked by running each in
tests/integration/test_tf_dataset.py on TensorFlow 2.21; the names are those of
TensorFlow 1.15 to 2.21, without a leading underscore, `Experimental`, and the
number of their version.
"""

import re
from typing import Dict, FrozenSet

#: name -> why it repeats, or under which condition, which tf_dataset.py looks at
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
    "ShuffleDataset": "if it is seeded; iterators that were made before are made again",
    "ShuffleAndRepeatDataset": "if it is seeded; iterators that were made before are made again",
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


def plain_name(name: str) -> str:
    """The name of a node, class or op, whatever the version of TensorFlow.

    Example:
        >>> plain_name("_ParallelMapDataset"), plain_name("ExperimentalScanDataset"), plain_name("ShuffleDatasetV3")
        ('ParallelMapDataset', 'ScanDataset', 'ShuffleDataset')
    """
    name = re.sub(r"V\d+$", "", name.lstrip("_"))
    return name[len("Experimental"):] if name.startswith("Experimental") else name
