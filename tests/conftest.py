"""Real tiny videos, drawn here: their frames are known, and ffv1 keeps them to the bit."""

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vidbench.arguments import EvaluateSettings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def moving_square(num_frames: int = 12, height: int = 24, width: int = 32) -> np.ndarray:
    """(T, H, W, 3) uint8: a bright square that moves right over a background that brightens frame by frame."""
    frames = np.zeros((num_frames, height, width, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:] = (10 * index % 200, 40, 90)
        left = index % (width - 6)
        frame[8:14, left : left + 6] = (250, 200, 30)
    return frames


def write_video(path: Path, frames: np.ndarray, fps: int = 10, codec: str = "ffv1", **options) -> Path:
    """Encode (T, H, W, 3) uint8 RGB frames; ffv1 in RGB is lossless."""
    pixels = "bgr0" if codec == "ffv1" else "yuv420p"
    path.parent.mkdir(parents=True, exist_ok=True)
    box_options = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    with av.open(str(path), "w", options=box_options) as box:
        stream = box.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        for frame in frames:
            box.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        box.mux(stream.encode())
    return path


def drawn_scene(seed: int, num_frames: int = 30, height: int = 96, width: int = 128) -> np.ndarray:
    """(T, H, W, 3) uint8: a patchwork that no other seed has, over which a bright block wanders."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    ground = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    frames = np.repeat(ground[None], num_frames, axis=0)
    tops, lefts = (rng.integers(0, side - 24, 2) for side in (height, width))
    for index, frame in enumerate(frames):
        share = index / max(1, num_frames - 1)
        top, left = (round(ends[0] + share * (ends[1] - ends[0])) for ends in (tops, lefts))
        frame[top : top + 24, left : left + 24] = (250, 240, 10)
    return frames


def solid(color: tuple[int, int, int], num_frames: int = 6, height: int = 16, width: int = 16) -> np.ndarray:
    """(T, H, W, 3) uint8 frames of one colour."""
    return np.full((num_frames, height, width, 3), color, np.uint8)


COLORS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def square_video(tmp_path):
    """(path, frames): a lossless video of 12 frames at 10 fps, 32 × 24."""
    frames = moving_square()
    return write_video(tmp_path / "square.mkv", frames), frames


@pytest.fixture
def color_folder(tmp_path):
    """A `folder` data set: val/<colour>/<n>.mkv, three videos of each of three colours."""
    for name, color in COLORS.items():
        for number in range(3):
            write_video(tmp_path / "colors" / "val" / name / f"{number}.mkv", solid(color, 6 + number))
    return tmp_path / "colors"


@pytest.fixture(scope="session")
def color_model(tmp_path_factory):
    """A real `.keras` file with its spec: the brightest channel is the class, exactly."""
    import keras

    from vidbench.data.protocol import Protocol
    from vidbench.models import save_model
    from vidbench.models.spec import Spec

    frames = keras.Input((None, None, None, 3), name="frames")
    mean = keras.layers.GlobalAveragePooling3D(name="mean")(frames)
    logits = keras.layers.Dense(3, use_bias=False, name="logits")(mean)
    network = keras.Model(frames, logits, name="brightest")
    network.get_layer("logits").set_weights([8 * np.eye(3, dtype=np.float32)[:, ::-1]])
    protocol = Protocol(num_frames=4, resize="exact", resize_to=(8, 8), crop=None)
    spec = Spec("brightest", ("blue", "green", "red"), protocol, domain="solid colours")
    path = tmp_path_factory.mktemp("model") / "brightest.keras"
    save_model(network, path, spec)
    return path


@pytest.fixture
def settings(tmp_path, color_folder, color_model):
    """Nine videos of three colours, and a model that knows them."""
    return EvaluateSettings(
        model=str(color_model), dataset="folder", data_dir=color_folder, results_dir=tmp_path / "results", name="run",
        cache_dir=tmp_path / "cache", batch_size=2, top_n=2,
    )  # fmt: skip


@pytest.fixture
def assets():
    """The folder of real clips; tests that need it are skipped, visibly, where it is not named."""
    folder = os.environ.get("VIDBENCH_TEST_ASSETS")
    if not folder:
        pytest.skip("VIDBENCH_TEST_ASSETS is not set: no real clips here")
    return Path(folder)
