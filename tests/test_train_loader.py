"""Training clips: the same whatever the number of workers and processes, and no bad video ends a run."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import COLORS, moving_square, write_video

from vidbench.data.augment import Augmentation
from vidbench.data.protocol import Protocol
from vidbench.data.records import Video
from vidbench.data.train_clip import kept_pixels
from vidbench.data.train_loader import TrainingLoader
from vidbench.utils import UserError

PROTOCOL = Protocol(num_frames=4, resize="exact", resize_to=(12, 16), crop=(8, 10))
PLAIN = Augmentation(flip=0, crop="center")
CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Nine videos of moving squares, three a class, each tinted by its class and of another length."""
    folder = tmp_path_factory.mktemp("train")
    listed = []
    for index, (name, color) in enumerate(sorted(COLORS.items())):
        for number in range(3):
            frames = moving_square(8 + 3 * index + number) // 2 + np.array(color, np.uint8) // 2
            path = write_video(folder / name / f"{number}.mkv", frames)
            listed.append(Video(f"{name}/{number}", path, name, "train"))
    return listed


def loader(videos, augmentation=None, **options):
    return TrainingLoader(videos, CLASSES, PROTOCOL, augmentation, **{"batch_size": 4, "workers": 1} | options)


def batches(*args, epoch=0, first=0, **options):
    with loader(*args, **options) as opened:
        return list(opened.batches(epoch, first))


def equal(some, others):
    return len(some) == len(others) and all(
        np.array_equal(one, other) for a, b in zip(some, others, strict=True) for one, other in zip(a, b, strict=True)
    )


def test_an_epoch_shows_each_clip_once_but_for_the_rest(videos):
    found = batches(videos, PLAIN, batch_size=3)
    assert [batch.frames.shape for batch in found] == [(3, 4, 8, 10, 3)] * 3 and found[0].frames.dtype == np.uint8
    assert np.concatenate([batch.labels for batch in found]).sum(axis=0).tolist() == [3, 3, 3]
    assert all(batch.weights.tolist() == [1, 1, 1] for batch in found)
    assert len(batches(videos, PLAIN)) == 2  # of nine clips, eight make two batches of four


def test_epochs_and_seeds_differ_and_repeat(videos):
    first = batches(videos)
    assert equal(first, batches(videos))
    assert not equal(first, batches(videos, epoch=1))
    assert not equal(first, batches(videos, seed=1))


def test_workers_processes_and_the_cache_change_nothing(videos, tmp_path):
    for augmentation in (
        Augmentation(color=0.5, blur=0.5, erase=0.5, short_side=(10, 20)),
        Augmentation(mixup=0.4, cutmix=1.0),
    ):
        whole = batches(videos, augmentation)
        assert equal(whole, batches(videos, augmentation, workers=2))
        for _ in range(2):  # decoded and cached, then from the cache
            assert equal(whole, batches(videos, augmentation, cache_dir=tmp_path))
        parts = [batches(videos, augmentation, part=(part, 2)) for part in range(2)]
        joined = [
            tuple(np.concatenate(arrays) for arrays in zip(*halves, strict=True)) for halves in zip(*parts, strict=True)
        ]
        assert equal(whole, joined)


def test_the_rest_of_an_epoch_is_what_it_would_have_been(videos):
    assert equal(batches(videos, batch_size=2)[3:], batches(videos, batch_size=2, first=3))
    assert batches(videos, batch_size=2, first=4) == []


def test_clips_of_one_video_in_one_epoch_differ(videos):
    (batch,) = batches(videos[-1:], PLAIN, clips_per_video=6, batch_size=6)
    assert len(np.unique(batch.frames.reshape(6, -1), axis=0)) > 1


def test_labels_are_smoothed_and_classes_weighed(videos):
    some = videos[:3] + videos[3:4]  # three blue, one green
    (batch,) = batches(some, PLAIN, label_smoothing=0.3, class_weights=True)
    green = batch.labels.argmax(axis=1) == 1
    assert batch.labels[green][0] == pytest.approx([0.1, 0.8, 0.1])
    assert batch.weights[green] == pytest.approx([2]) and batch.weights[~green] == pytest.approx([2 / 3] * 3)


def test_mirrored_clips_but_never_of_some_classes(videos):
    still = batches(videos, PLAIN, batch_size=9)[0]
    mirrored = batches(videos, Augmentation(flip=1, crop="center", no_flip=("Red",)), batch_size=9)[0]
    for before, after, label in zip(still.frames, mirrored.frames, still.labels, strict=True):
        assert np.array_equal(after, before if label[2] else before[:, :, ::-1])


def test_a_function_of_ones_own_needs_no_module(videos):
    seen = []
    custom = lambda frames, rng: seen.append(rng.integers(10**6)) or 255 - frames  # noqa: E731  as in a notebook
    plain, inverted = batches(videos, PLAIN), batches(videos, replace(PLAIN, custom=custom))
    assert all(np.array_equal(255 - a.frames, b.frames) for a, b in zip(plain, inverted, strict=True))
    first = list(seen)
    batches(videos, replace(PLAIN, custom=custom), workers=2)
    assert seen[len(first) :] == first and len(set(first)) == 8


def test_a_bad_video_is_reported_once_and_replaced_by_the_next(videos, tmp_path, caplog):
    bad = tmp_path / "bad.mkv"
    bad.write_bytes(b"no video")
    mixed = [*videos[:4], Video("bad", bad, "green", "train"), Video("gone", None, "green", "train")]
    with loader(mixed, PLAIN, batch_size=3) as opened:
        for epoch in range(3):
            assert len(list(opened.batches(epoch))) == 2
        assert set(opened.failures) == {"bad", "gone"} and opened.replaced == 6
        assert opened.failures["gone"].reason == "missing file"
        order = np.random.default_rng([0, 0]).permutation(6).tolist()
        shown = [label for batch in opened.batches(0) for label in batch.labels.argmax(axis=1).tolist()]
    wanted = []
    for place in range(6):
        following = [order[(place + step) % 6] for step in range(6)]
        wanted.append(next(0 if number < 3 else 1 for number in following if number < 4))
    assert shown == wanted
    assert sum("bad: " in record.message for record in caplog.records) == 1


def test_a_replacement_is_another_clip_of_that_video(videos):
    mixed = [videos[-1], Video("gone", None, "green", "train")]
    (batch,) = batches(mixed, batch_size=2)
    assert batch.labels[:, 2].tolist() == [1, 1] and not np.array_equal(*batch.frames)


def test_what_was_known_before_a_stop_changes_nothing(videos):
    mixed = [*videos[:5], Video("gone", None, "green", "train")]
    whole = batches(mixed, batch_size=2)
    with loader(mixed, batch_size=2) as opened:
        opened.adopt({"gone": ["find", "missing file"], "of another run": ["open", "?"]}, 7)
        assert set(opened.failures) == {"gone"}
        assert equal(whole, list(opened.batches(0))) and opened.replaced == 8


def test_nothing_readable_is_one_clear_line():
    with pytest.raises(UserError, match="none of the 2 training videos can be read; the first: missing file"):
        batches([Video(name, None, "red", "train") for name in "ab"], batch_size=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 10}, r"a batch of 10 clips is more than the 9 there are: make batch_size \(--batch-size\)"),
        ({"batch_size": 3, "part": (0, 2)}, "a batch of 3 clips cannot be shared out among 2 processes"),
        ({"augmentation": Augmentation(no_flip=("reed",))}, "unknown class in no_flip 'reed'; did you mean 'red'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_decoded(videos, options, message):
    with pytest.raises(UserError, match=message):
        loader(videos, **options)


def test_videos_without_a_class_are_refused(videos):
    with pytest.raises(UserError, match=r"1 of 10 training videos have no class of the model's, e.g. 'x' \(pink\)"):
        loader([*videos, Video("x", None, "pink", "train")])


def test_the_cache_keeps_enough_pixels_for_the_largest_crop():
    assert kept_pixels(PROTOCOL, PLAIN).resize_to == (12, 16) and kept_pixels(PROTOCOL, PLAIN).crop is None
    jittered = kept_pixels(PROTOCOL, Augmentation(short_side=(10, 20)))
    assert (jittered.resize, jittered.resize_to) == ("short_side", (20, 20))
