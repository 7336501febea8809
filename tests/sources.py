"""The data sources of the kill matrix: each name makes the arguments of one `fit` on scikit-learn's digits."""

import numpy as np

BATCH, EPOCHS = 32, 3


def digits():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x[:330] / 16).astype("float32"), y[:330].astype("int32")


def _xy():
    x, y = digits()
    return x[:300], y[:300]


def _validation():
    x, y = digits()
    return x[300:], y[300:]


def arrays(**options):
    x, y = _xy()
    return dict(x=x, y=y, batch_size=BATCH, validation_data=_validation(), **options)


def tensors():
    import keras

    x, y = _xy()
    return dict(arrays(), x=keras.ops.convert_to_tensor(x), y=keras.ops.convert_to_tensor(y))


def arrays_validation_split():
    x, y = _xy()
    return {"x": x, "y": y, "batch_size": BATCH, "validation_split": 0.2, "validation_freq": 2}


def arrays_class_weight():
    return arrays(class_weight={label: 1.0 + label / 10 for label in range(10)})


def arrays_sample_weight():
    return arrays(sample_weight=np.linspace(0.5, 1.5, 300).astype("float32"))


def arrays_steps():
    return dict(arrays(), steps_per_epoch=7)


def _dataset(seed=7, **shuffle):
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(_xy())
    return dataset.shuffle(100, seed=seed, **shuffle) if seed is not None or shuffle else dataset.shuffle(100)


def _validation_dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(_validation()).shuffle(30, seed=3).batch(16)


def tf_data():
    return {"x": _dataset().batch(BATCH), "validation_data": _validation_dataset()}


def tf_data_one_order():
    return {"x": _dataset(reshuffle_each_iteration=False).batch(BATCH)}


def tf_data_repeat():
    return {"x": _dataset().batch(BATCH).repeat(), "steps_per_epoch": 7, "validation_data": _validation()}


def tf_data_parallel():
    import tensorflow as tf

    def scale(x, y):
        return x * 0.5, y

    dataset = _dataset().map(scale, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH).prefetch(4)
    return {"x": dataset, "validation_data": _validation()}


def tf_data_unseeded():
    return {"x": _dataset(seed=None).batch(BATCH)}


def _py_dataset(base_options, shuffles_itself=False, draws=False):
    import keras

    class Batches(keras.utils.PyDataset):
        def __init__(self, **options):
            super().__init__(**options)
            self.x, self.y = _xy()
            self.order = np.arange(len(self.x))
            self.epochs_done = 0

        def __len__(self):
            return -(-len(self.x) // BATCH)

        def __getitem__(self, index):
            rows = self.order[index * BATCH:(index + 1) * BATCH]
            x = self.x[rows]
            if draws:
                x = x + np.random.normal(0, 0.01, x.shape).astype("float32")
            return x, self.y[rows]

        def on_epoch_end(self):
            self.epochs_done += 1
            if shuffles_itself:
                self.order = np.random.default_rng(self.epochs_done).permutation(self.order)

    return {"x": Batches(**base_options), "validation_data": _validation()}


def py_dataset():
    return _py_dataset({})


def py_dataset_own_order():
    return dict(_py_dataset({}, shuffles_itself=True), shuffle=False)


def py_dataset_draws():
    return _py_dataset({}, draws=True)


def py_dataset_workers():
    return _py_dataset({"workers": 3, "max_queue_size": 4})


def py_dataset_own_state():
    import keras

    class Batches(keras.utils.PyDataset):
        """Keeps its order to itself and offers get_state and set_state."""

        def __init__(self):
            super().__init__()
            self.hidden = [iter([np.random.default_rng(11)])]
            self.rng = next(self.hidden[0])

        def __len__(self):
            return 9

        def __getitem__(self, index):
            x, y = _xy()
            rows = self.rng.integers(0, len(x), BATCH)
            return x[rows], y[rows]

        def get_state(self):
            return self.rng.bit_generator.state

        def set_state(self, state):
            self.rng.bit_generator.state = state

    return {"x": Batches(), "shuffle": False}


def _endless(rng):
    x, y = _xy()
    while True:
        rows = rng.integers(0, len(x), BATCH) if rng is not None else np.random.randint(0, len(x), BATCH)
        yield x[rows], y[rows]


def generator():
    return {"x": _endless(np.random.default_rng(5)), "steps_per_epoch": 8, "validation_data": _validation()}


def generator_global():
    return {"x": _endless(None), "steps_per_epoch": 8, "validation_data": _validation()}


def generator_unseeded():
    return {"x": _endless(np.random.default_rng()), "steps_per_epoch": 8}


def _torch_dataset():
    import torch

    x, y = _xy()
    return torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))


def dataloader():
    import torch

    return {"x": torch.utils.data.DataLoader(_torch_dataset(), batch_size=BATCH, shuffle=True),
            "validation_data": _validation()}


def dataloader_generator():
    import torch

    return {"x": torch.utils.data.DataLoader(_torch_dataset(), batch_size=BATCH, shuffle=True,
                                             generator=torch.Generator().manual_seed(3))}


def dataloader_workers():
    import torch

    return {"x": torch.utils.data.DataLoader(_torch_dataset(), batch_size=BATCH, shuffle=True, num_workers=2)}


def dataloader_stateful():
    import torch

    class Stateful(torch.utils.data.DataLoader):
        """A loader in the manner of torchdata's StatefulDataLoader."""

        def __init__(self, data):
            super().__init__(data, batch_size=None)
            self.rng = np.random.default_rng(2)
            self.index = self.first = 0

        def __len__(self):
            return 9

        def __iter__(self):
            x, y = _xy()
            self.index, self.first = self.first, 0
            while self.index < 9:
                rows = self.rng.integers(0, len(x), BATCH)
                self.index += 1
                yield torch.from_numpy(x[rows]), torch.from_numpy(y[rows])

        def state_dict(self):
            return {"rng": self.rng.bit_generator.state, "index": self.index}

        def load_state_dict(self, state):
            self.rng.bit_generator.state = state["rng"]
            self.first = state["index"]

    return {"x": Stateful(_torch_dataset())}


class Source:
    """One row of the matrix.

    Args:
        make: returns fit's arguments.
        exact: what the resume report must say.
        seed: for `keras.utils.set_random_seed`; None as most scripts have it.
        why: text that the report's reasons must contain where it is not exact.
        compile: further arguments of `compile`.
        validates: whether fit is given validation data.
        engines: where the source exists.
    """

    def __init__(self, make, exact=True, seed=None, why="", compile=None, validates=True,
                 engines=("tensorflow", "jax", "torch")):
        self.make, self.exact, self.seed, self.why, self.validates = make, exact, seed, why, validates
        self.compile, self.engines = compile or {}, engines


SOURCES = {
    "arrays": Source(arrays),
    "arrays, seeded": Source(arrays, seed=1),
    "arrays, shuffle=False": Source(lambda: arrays(shuffle=False)),
    "arrays, shuffle='batch'": Source(lambda: arrays(shuffle="batch")),
    "arrays, steps_per_epoch": Source(arrays_steps),
    "arrays, steps_per_execution": Source(
        arrays, compile={"steps_per_execution": 3}, engines=("tensorflow", "jax")),
    "arrays, validation_split and _freq": Source(arrays_validation_split),
    "arrays, class_weight": Source(arrays_class_weight),
    "arrays, sample_weight": Source(arrays_sample_weight),
    "tensors": Source(tensors),
    "tf.data": Source(tf_data),
    "tf.data, reshuffle_each_iteration=False": Source(tf_data_one_order, validates=False),
    "tf.data, repeat, steps_per_epoch": Source(tf_data_repeat),
    "tf.data, parallel map, prefetch": Source(tf_data_parallel),
    "tf.data, unseeded shuffle": Source(tf_data_unseeded, exact=False, why="shuffled without a seed", validates=False),
    "PyDataset": Source(py_dataset),
    "PyDataset, own order": Source(py_dataset_own_order),
    "PyDataset, draws from NumPy": Source(py_dataset_draws),
    "PyDataset, own state": Source(py_dataset_own_state, validates=False),
    "PyDataset, workers": Source(py_dataset_workers),
    "generator": Source(generator),
    "generator, global NumPy, seeded": Source(generator_global, seed=1),
    "generator, unseeded": Source(generator_unseeded, exact=False, why="did not repeat its batches", validates=False),
    "DataLoader": Source(dataloader),
    "DataLoader, own generator": Source(dataloader_generator, validates=False),
    "DataLoader, workers": Source(dataloader_workers, validates=False),
    "DataLoader, state_dict": Source(dataloader_stateful, validates=False),
}
