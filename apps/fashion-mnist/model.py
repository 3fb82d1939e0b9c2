"""Fashion-MNIST: 70,000 pictures of clothing in ten classes (Xiao, Rasul and Vollgraf, 2017; MIT licence)."""

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data import DatasetMissing, Examples

if TYPE_CHECKING:
    import keras
    import numpy as np

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
VALIDATION_ROWS = 5_000


def load() -> dict[str, Any]:
    """All pictures with their labels; the set's own test part stays the test part."""
    import numpy as np

    train_images, train_labels, test_images, test_labels = _read_debian() if DEBIAN_FOLDER.is_dir() else _download()
    fitted = len(train_labels) - VALIDATION_ROWS
    part = ["train"] * fitted + ["validation"] * VALIDATION_ROWS + ["test"] * len(test_labels)
    return {
        "image": np.concatenate([train_images, test_images]),
        "label": np.concatenate([train_labels, test_labels]).astype("int64"),
        "part": np.array(part, dtype=object),
    }


def train(train: Examples, validation: Examples, params: dict[str, Any], seed: int) -> "keras.Model":
    """A small convolutional network; the scaling is its first layer, so that it takes raw pixels."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            layers.Rescaling(1 / 255),
            layers.Reshape((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(params["learning_rate"]),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        train.columns["image"].astype("float32"),
        train.target,
        validation_data=(validation.columns["image"].astype("float32"), validation.target),
        epochs=params["epochs"],
        batch_size=params["batch_size"],
        verbose=2,
    )
    return model


def _read_debian() -> tuple["np.ndarray", ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(_read_idx(DEBIAN_FOLDER / f"{name}-ubyte.gz") for name in names)


def _read_idx(path: Path) -> "np.ndarray":
    """The IDX format: two zero bytes, a type byte, the number of axes, each axis as a big-endian int32, then uint8."""
    import numpy as np

    content = gzip.decompress(path.read_bytes())
    axes = content[3]
    shape = np.frombuffer(content, ">i4", count=axes, offset=4)
    return np.frombuffer(content, "uint8", offset=4 + 4 * axes).reshape(shape)


def _download() -> tuple["np.ndarray", ...]:
    from keras.datasets import fashion_mnist

    try:
        (train_images, train_labels), (test_images, test_labels) = fashion_mnist.load_data()
    except Exception as error:
        raise DatasetMissing(
            f"Fashion-MNIST is not on this machine and could not be downloaded: {error}",
            hint="on Debian or Ubuntu: `sudo apt-get install dataset-fashion-mnist`; elsewhere connect once, "
            "Keras then keeps a copy in ~/.keras/datasets",
        ) from error
    return train_images, train_labels, test_images, test_labels
