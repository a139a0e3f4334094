"""Draw the demo set and train the demo model or, with --time-blind, its twin.

python scripts/train_demo.py    # data/demo/model.keras, about 15 minutes on two cores
python scripts/train_demo.py --time-blind --start-from data/demo/model.keras \\
    --frames 2 --closer 0.6 --epochs 60 --rate 0.0015    # data/demo/frames.keras

python scripts/train_demo.py --tied 0.95 --out data/cache/demo_tied    # a network that learns the scenes instead

Stills of cluttered scenes say little, so the twin needs help to leave chance: the spatial kernels of the demo
model to begin with, closer views, and many small steps (who is blind to time needs few frames of a clip at once).
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

import av
import cv2
import keras
import numpy as np

from vidbench.data.demo import ACTIONS, demo_specs, draw_dataset
from vidbench.models.spec import Spec, write_spec
from vidbench.models.tiny import PROTOCOL, tiny2plus1d
from vidbench.utils import written_whole

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder of val clips and models")
    parser.add_argument("--cache", type=Path, default=Path("data/cache/demo_train"), help="folder of train clips")
    parser.add_argument("--clips", type=int, default=2400)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    parser.add_argument("--time-blind", action="store_true", help="temporal kernels of 1: the twin demo-frames")
    parser.add_argument("--frames", type=int, help="random frames a clip to train on (all 16)")
    parser.add_argument("--closer", type=float, default=0.15, help="zoom in by up to e to this power")
    parser.add_argument("--tied", type=float, default=0.0, help="share of train clips whose scene goes with the class")
    parser.add_argument("--start-from", type=Path, help="a .keras file of tiny2plus1d whose weights to begin with")
    return parser.parse_args(arguments)


def read_clip(path: Path) -> np.ndarray:
    """The frames of a video that the protocol picks, (16, 96, 128, 3) uint8 RGB."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    height, width = PROTOCOL.resize_to
    picked = len(frames) * np.arange(PROTOCOL.num_frames) // PROTOCOL.num_frames
    return np.stack([cv2.resize(frames[i], (width, height), interpolation=cv2.INTER_LINEAR) for i in picked])


def read_clips(paths: list[Path], cache: Path | None = None) -> np.ndarray:
    """(N, 16, 96, 128, 3) uint8 RGB; kept in the file `cache` from the first time on."""
    if cache is not None and cache.exists():
        return np.load(cache)
    clips = np.stack([read_clip(path) for path in paths])
    if cache is not None:
        with written_whole(cache, "wb") as file:
            np.save(file, clips)
    return clips


def normalise(clips: np.ndarray) -> np.ndarray:
    """uint8 → float32 as the spec says."""
    return (clips.astype(np.float32) / 255 - MEAN[0]) / STD[0]


def augment(clip: np.ndarray, rng: np.random.Generator, closer: float = 0.15) -> np.ndarray:
    """Flip, shift, scale and relight a clip (T, H, W, 3) uint8, all its frames alike; zoom up to e**closer."""
    height, width = clip.shape[1:3]
    zoom, (dx, dy) = np.exp(rng.uniform(-0.15, closer)), rng.uniform(-0.06, 0.06, 2) * (width, height)
    flip = -1 if rng.random() < 0.5 else 1
    x, y = width / 2, height / 2
    matrix = np.array([[zoom * flip, 0, x - zoom * flip * x + dx], [0, zoom, y - zoom * y + dy]])
    gain, lift = rng.uniform(0.8, 1.25) * rng.uniform(0.94, 1.06, 3), rng.uniform(-16, 16)
    table = np.clip(np.arange(256)[:, None] * gain + lift, 0, 255).astype(np.uint8)[None]
    moved = [cv2.warpAffine(f, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE) for f in clip]
    return np.stack([cv2.LUT(f, table) for f in moved])


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented batches; the chances of an epoch depend on the seed and the epoch alone.

    With `frames` set, each clip is cut to that many of its frames, picked at random, in order.
    """

    def __init__(self, clips: np.ndarray, labels: np.ndarray, batch: int, seed: int, frames: int | None, closer: float):
        super().__init__(workers=2)  # threads: OpenCV works outside Python's lock
        self.clips, self.labels, self.batch, self.seed = clips, labels, batch, seed
        self.frames, self.closer = frames or clips.shape[1], closer
        self.epoch = -1
        self.on_epoch_end()

    def on_epoch_end(self):
        self.epoch += 1
        self.order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.labels))

    def __len__(self):
        return len(self.labels) // self.batch

    def __getitem__(self, index: int):
        rng = np.random.default_rng([self.seed, self.epoch, index])
        picked = self.order[index * self.batch : (index + 1) * self.batch]
        clips = [augment(self._cut(self.clips[i], rng), rng, self.closer) for i in picked]
        return normalise(np.stack(clips)), self.labels[picked]

    def _cut(self, clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.frames >= len(clip):
            return clip
        return clip[np.sort(rng.choice(len(clip), self.frames, replace=False))]


def take_weights(model: keras.Model, source: keras.Model) -> None:
    """Begin with the weights of `source`; where `model` has no temporal extent, kernels are summed over time."""
    for layer in model.layers:
        weights = source.get_layer(layer.name).get_weights() if layer.weights else []
        flat = [
            w.sum(axis=0, keepdims=True) if w.shape != v.shape else w
            for w, v in zip(weights, layer.weights, strict=True)
        ]
        layer.set_weights(flat)


def train(clips, labels, validation, args: argparse.Namespace) -> keras.Model:
    """Fit a fresh network with AdamW under a cosine that rises over the first two epochs."""
    keras.utils.set_random_seed(args.seed)
    model = tiny2plus1d(len(ACTIONS), temporal=not args.time_blind)
    if args.start_from is not None:
        take_weights(model, keras.models.load_model(args.start_from))
    batches = Batches(clips, labels, args.batch, args.seed, args.frames, args.closer)
    steps = len(batches)
    rate = keras.optimizers.schedules.CosineDecay(
        args.rate / 10, (args.epochs - 2) * steps, alpha=0.01, warmup_target=args.rate, warmup_steps=2 * steps
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=0.02, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(batches, epochs=args.epochs, validation_data=validation, verbose=2)
    return model


def save(model: keras.Model, args: argparse.Namespace, minutes: float, accuracy: float) -> Path:
    """Write the network without its optimizer, and its spec beside it."""
    name = "frames" if args.time_blind else "model"
    path = args.out / f"{name}.keras"
    plain = tiny2plus1d(len(ACTIONS), temporal=not args.time_blind)
    plain.set_weights(model.get_weights())
    plain.save(path)
    made = {
        "command": shlex.join(["python", "scripts/train_demo.py", *sys.argv[1:]]),
        "architecture": "tiny2plus1d",
        "options": {"temporal": not args.time_blind},
        "clips": args.clips,
        "epochs": args.epochs,
        "seed": args.seed,
        "tied": args.tied,
        "minutes": round(minutes, 1),
        "val_top1": round(100 * accuracy, 1),
    }
    spec = Spec(
        name="demo-frames" if args.time_blind else "demo",
        classes=ACTIONS,
        protocol=PROTOCOL,
        domain="drawings of 8 actions (synthetic, drawn by vidbench)",
        mean=MEAN,
        std=STD,
        provenance=made,
    )
    write_spec(path.with_suffix(".json"), spec, path)
    return path


def main() -> None:
    args = parse(sys.argv[1:])
    data = {}
    cache = args.cache.with_name(f"{args.cache.name}_tied{args.tied:g}") if args.tied else args.cache
    for split, folder, count, tied in (("train", cache, args.clips, args.tied), ("val", args.out, None, 0.0)):
        specs = demo_specs(split, count, tied=tied)
        paths = draw_dataset(folder, specs, split, args.workers, progress=True)
        labels = np.array([ACTIONS.index(spec.action) for spec in specs])
        data[split] = read_clips(paths, folder / f"{split}_{len(specs)}.npy" if split == "train" else None), labels
    clips, labels = data["val"]
    validation = normalise(clips), labels
    start = time.monotonic()
    model = train(*data["train"], validation, args)
    accuracy = float((model.predict(validation[0], verbose=0).argmax(1) == labels).mean())
    path = save(model, args, (time.monotonic() - start) / 60, accuracy)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {100 * accuracy:.1f} % of {len(labels)} val clips")


if __name__ == "__main__":
    main()
