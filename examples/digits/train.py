"""Trains the two networks of the demonstration on scikit-learn's handwritten digits.

    pip install tensorflow scikit-learn
    python examples/digits/train.py

The digits are real scans (UCI ML hand-written digits, 1,797 images of 8 x 8 pixels, values 0 to
16) and ship inside scikit-learn. A fixed stratified half trains both networks; the other half,
which the demonstration measures on, is never shown to them. Both are converted to full int8.

The device's network is deliberately tiny, so that the cloud has something to gain.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HERE = Path(__file__).parent
SPLIT_SEED = 7  # edgesdk/demo/digits.py has the same
layers = tf.keras.layers


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training images and labels, test images and labels; images are [n, 8, 8, 1] in 0 ... 1."""
    digits = load_digits()
    images = (digits.images[..., np.newaxis] / 16.0).astype(np.float32)
    train, test, of_train, of_test = train_test_split(
        images, digits.target, test_size=0.5, stratify=digits.target, random_state=SPLIT_SEED
    )
    return train, of_train, test, of_test


def device_network() -> tf.keras.Model:
    """360 parameters: what a sensor node might have room for."""
    return tf.keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.Conv2D(6, 1, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
            layers.Softmax(),
        ]
    )


def cloud_network() -> tf.keras.Model:
    """34,074 parameters, with a residual connection."""
    image = layers.Input((8, 8, 1))
    x = layers.Conv2D(24, 3, padding="same", activation="relu")(image)
    y = layers.Conv2D(24, 3, padding="same", activation="relu")(x)
    x = layers.Add()([x, layers.Conv2D(24, 3, padding="same")(y)])
    x = layers.ReLU()(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(48, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(64, activation="relu")(x)
    return tf.keras.Model(image, layers.Softmax()(layers.Dense(10)(layers.Dropout(0.3)(x))))


def shifted(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Each image moved by up to one pixel: the scans are centred only roughly."""
    moved = [np.roll(image, tuple(generator.integers(-1, 2, 2)), axis=(0, 1)) for image in images]
    return np.stack(moved)


def train(network: tf.keras.Model, epochs: int, *, augment: bool) -> None:
    images, labels, _, _ = data()
    generator = np.random.default_rng(0)
    rate = tf.keras.optimizers.schedules.CosineDecay(3e-3, epochs * (len(images) // 32))
    network.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    for _ in range(epochs):
        shown = shifted(images, generator) if augment else images
        network.fit(shown, labels, batch_size=32, epochs=1, verbose=0)


def convert(network: tf.keras.Model) -> bytes:
    """Full int8: weights, activations, input and output."""
    images, _, _, _ = data()
    # One image at a time: with an open batch size the converter adds shape arithmetic.
    image = layers.Input(batch_shape=(1, 8, 8, 1), name="image")
    single = tf.keras.Model(image, network(image, training=False))
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images[:400])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def accuracy(model: bytes) -> float:
    _, _, images, labels = data()
    interpreter = tf.lite.Interpreter(model_content=model)
    interpreter.allocate_tensors()
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = entry["quantization"]
    right = 0
    for image, label in zip(images, labels, strict=True):
        steps = np.clip(np.rint(image / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], steps[np.newaxis])
        interpreter.invoke()
        right += int(np.argmax(interpreter.get_tensor(out["index"])) == label)
    return right / len(labels)


def main() -> None:
    for name, make, epochs, augment in (
        ("digits_device", device_network, 40, False),
        ("digits_cloud", cloud_network, 60, True),
    ):
        tf.keras.utils.set_random_seed(1)
        network = make()
        train(network, epochs, augment=augment)
        model = convert(network)
        (HERE / f"{name}.tflite").write_bytes(model)
        print(
            f"{name}.tflite: {network.count_params()} parameters, {len(model)} bytes, "
            f"{100 * accuracy(model):.1f} % of the test half"
        )


if __name__ == "__main__":
    main()
