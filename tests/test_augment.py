import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidbench.data import augment as aug
from vidbench.data import process
from vidbench.data.augment import Augmentation, augment, clip_rng, mix
from vidbench.data.protocol import Protocol
from vidbench.utils import UserError

OFF = Augmentation(flip=0, crop="center")
ALL = Augmentation(flip=0.5, short_side=(14, 22), color=0.5, blur=0.5, erase=0.5)
SMALL = Protocol(num_frames=4, resize="exact", resize_to=(16, 20), crop=(12, 12))
WHOLE = Protocol(resize="exact", resize_to=(4, 6), crop=None)  # frames of 4 × 6 stay as they are
PROTOCOLS = {
    "torchvision": SMALL,
    "short side": Protocol(resize="short_side", resize_to=(14, 14), crop=(12, 12)),
    "three crops": Protocol(resize="short_side", resize_to=(14, 14), crop=(12, 12), crops=3, clips=10),
    "square": Protocol(resize="square_crop", resize_to=(12, 12), crop=None),
    "padded": Protocol(resize="square_pad", resize_to=(12, 12), crop=None),
}
seeds = st.integers(0, 2**32 - 1)


class Fixed:
    """In a generator's place: gives the numbers that a test has laid out, in their order."""

    def __init__(self, **draws):
        self.draws = {name: list(values) for name, values in draws.items()}

    def __getattr__(self, name):
        return lambda *bounds, **options: self.draws[name].pop(0)


def noise(seed=0, shape=(3, 18, 26)):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def numbered(height=4, width=6, num_frames=2):
    """(T, H, W, 3) uint8: frame, row and column of every pixel."""
    return np.moveaxis(np.indices((num_frames, height, width)), 0, -1).astype(np.uint8)


# Geometry


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("shape", [(3, 18, 26), (1, 30, 17), (2, 16, 20)])
def test_with_everything_off_it_is_the_path_of_validation(name, shape):
    protocol, frames = PROTOCOLS[name], noise(shape=shape)
    want = np.stack([process.process_frame(frame, replace(protocol, crops=1)) for frame in frames])
    got = augment(frames, protocol, OFF, np.random.default_rng(0))
    assert got.dtype == np.uint8 and np.array_equal(got, want)


def test_mirrored_by_hand():
    got = augment(numbered(), WHOLE, Augmentation(flip=1), np.random.default_rng(0))
    assert got[1, 2].tolist() == [[1, 2, column] for column in (5, 4, 3, 2, 1, 0)]
    assert np.array_equal(got, numbered()[:, :, ::-1])


def test_the_crop_lies_where_the_draw_says():
    rng = Fixed(integers=[1, 3])  # a row, then a column
    assert aug.random_crop(numbered(), (2, 3), rng)[:, 0, 0].tolist() == [[0, 1, 3], [1, 1, 3]]
    rng = Fixed(integers=[2, 1], random=[0.7, 0.7, 0.7])
    got = augment(numbered(), replace(WHOLE, crop=(2, 3)), Augmentation(flip=0.7), rng)
    assert got[0, :, :, 1:].tolist() == [[[2, 1], [2, 2], [2, 3]], [[3, 1], [3, 2], [3, 3]]]  # 0.7 < 0.7 is no flip


def test_every_crop_is_possible_and_none_lies_outside():
    rng = np.random.default_rng(0)
    places = [tuple(aug.random_crop(numbered(), (2, 3), rng)[0, 0, 0, 1:]) for _ in range(300)]
    assert set(places) == {(row, column) for row in range(3) for column in range(4)}


def test_a_crop_larger_than_the_frame_is_refused():
    with pytest.raises(ValueError, match="cannot crop 5x5 from frames of 4x6"):
        aug.random_crop(numbered(), (5, 5), np.random.default_rng(0))


def test_an_oblong_crop_fits_upright_frames_too():
    protocol = Protocol(resize="exact", resize_to=(12, 16), crop=None)
    for shape in ((24, 32), (32, 24), (24, 24), (7, 40)):
        frames = np.zeros((2, *shape, 3), np.uint8)
        for seed in range(5):
            settings = Augmentation(short_side=(12, 14))
            assert augment(frames, protocol, settings, np.random.default_rng(seed)).shape == (2, 12, 16, 3)


def test_short_side_is_drawn_with_both_ends():
    crops = Fixed(integers=[16, 0, 0], random=[1, 1, 1])
    wanted = process.resize_short_side(noise()[0], 16)[:12, :12]
    settings = Augmentation(short_side=(14, 22))
    assert np.array_equal(augment(noise(), SMALL, settings, crops)[0], wanted)
    rng = np.random.default_rng(1)
    seen = {aug._resized(noise(), SMALL, settings, rng).shape[1] for _ in range(120)}
    assert seen == set(range(14, 23))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_frames_that_were_resized_before_give_the_same(name):
    protocol, frames = PROTOCOLS[name], noise(shape=(2, 33, 40))
    resized = np.stack([process.process_frame(frame, replace(protocol, crop=None, crops=1)) for frame in frames])
    settings = Augmentation(color=0.3)
    once, twice = (augment(clip, protocol, settings, np.random.default_rng(4)) for clip in (frames, resized))
    assert np.array_equal(once, twice)


# No mirror for some classes


@pytest.mark.parametrize("label", ["sit left", "Sit_Left", ' "sit  LEFT"'])
def test_no_flip_goes_by_the_canonical_name(label):
    settings = Augmentation(flip=1, no_flip=("Sit left", "turn_right"))
    rng = np.random.default_rng(0)
    assert np.array_equal(augment(numbered(), WHOLE, settings, rng, label), numbered())
    for other in ("sit", "jump", None):
        assert np.array_equal(augment(numbered(), WHOLE, settings, rng, other), numbered()[:, :, ::-1])


def test_half_of_the_clips_are_mirrored_by_default():
    rng = np.random.default_rng(0)
    flipped = [augment(numbered(), WHOLE, Augmentation(), rng)[0, 0, 0, 2] == 5 for _ in range(400)]
    assert 170 <= sum(flipped) <= 230  # 200 ± 3 sigma of 10


# Colours, blur, erasing


def test_brightness_of_a_known_pixel():
    # factors 1.2, 1, 1 and no turn: 100 → 120, 250 → 300, which is clipped
    frames = np.array([[[[100, 50, 250]]]], np.uint8)
    assert aug.jitter_colors(frames, 0.5, Fixed(uniform=[np.array([1.2, 1, 1]), 0.0])).tolist() == [[[[120, 60, 255]]]]


def test_contrast_is_about_the_mean_of_the_clip():
    # greys 40 and 80 in two frames, mean 60; half the contrast: 50 and 70
    frames = np.array([40, 80], np.uint8)[:, None, None, None] * np.ones((2, 3, 3, 3), np.uint8)
    got = aug.jitter_colors(frames, 0.5, Fixed(uniform=[np.array([1, 0.5, 1]), 0.0]))
    assert got[:, 0, 0].tolist() == [[50] * 3, [70] * 3]


def test_no_saturation_leaves_the_luma():
    # 0.299 × 200 + 0.587 × 100 + 0.114 × 50 = 124.2
    got = aug.jitter_colors(np.array([[[[200, 100, 50]]]], np.uint8), 1, Fixed(uniform=[np.array([1, 1, 0]), 0.0]))
    assert np.abs(got.astype(int) - 124).max() <= 1


def test_a_turned_hue_keeps_luma_and_gray():
    # half a circle (strength 2, as it were): the colour becomes its complement about the luma 124.2
    frames = np.array([[[[140, 120, 105], [90, 90, 90]]]], np.uint8)  # luma 124.27
    got = aug.jitter_colors(frames, 1, Fixed(uniform=[np.ones(3), 2.0])).astype(int)
    assert np.abs(got[0, 0, 0] - (2 * 124.27 - frames[0, 0, 0])).max() <= 1.5
    assert np.abs(got[0, 0, 1] - 90).max() <= 1


@given(seeds, st.floats(0, 1))
def test_colors_are_the_four_steps_one_after_the_other(seed, strength):
    frames = np.random.default_rng(seed).integers(90, 160, (2, 4, 5, 3), dtype=np.uint8)
    rng = np.random.default_rng(seed)
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    angle = np.pi / 2 * rng.uniform(-strength, strength)
    bright = frames * brightness
    mean = bright.mean(axis=(0, 1, 2)) @ aug.YIQ[0]
    luma, *color = np.moveaxis(((bright - mean) * contrast + mean) @ aug.YIQ.T, -1, 0)
    turned = saturation * np.exp(1j * angle) * (color[0] + 1j * color[1])
    want = np.stack([luma, turned.real, turned.imag], axis=-1) @ np.linalg.inv(aug.YIQ).T
    got = aug.jitter_colors(frames, strength, np.random.default_rng(seed))
    assert np.abs(got - np.clip(want, 0, 255)).max() < 1.5  # OpenCV computes in fixed point


def test_blur_spreads_a_point_within_its_frame():
    frames = np.zeros((2, 9, 9, 3), np.uint8)
    frames[0, 8, 4] = 255  # at the lower edge, next to the second frame
    got = aug.blur(frames, 1.0)
    # a Gaussian of sigma 1 has 0.3989 in its middle; mirrored at the edge without it: 255 × 0.3989² = 40.6
    assert abs(int(got[0, 8, 4, 0]) - 41) <= 1 and got[0, 7, 4, 0] > 0 and not got[1].any()


def test_the_erased_rectangle_by_hand():
    # a quarter of 20 × 16 at the ratio 20 : 16 is 10 × 8; it lies at (3, 5)
    rng = Fixed(uniform=[0.25, np.log(20 / 16)], integers=[3, 5, np.full((10, 8, 3), 7, np.uint8)])
    frames = np.zeros((3, 20, 16, 3), np.uint8)
    got = aug.erase(frames, rng)
    assert (got[:, 3:13, 5:13] == 7).all() and got.sum() == 3 * 10 * 8 * 3 * 7
    assert not frames.any()  # the input is left alone


@given(seeds)
def test_one_rectangle_of_noise_in_all_frames(seed):
    frames = np.zeros((3, 30, 40, 3), np.uint8)
    got = aug.erase(frames, np.random.default_rng(seed))
    assert (got == got[0]).all()
    rows, columns = np.nonzero(got[0].any(axis=-1))
    if len(rows):
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 0.02 * 1200 * 0.8 <= height * width <= 0.4 * 1200 * 1.1  # sides are rounded to pixels
        assert 0.25 <= height / width <= 4
        assert len(rows) >= 0.99 * height * width - 1  # a pixel of noise may be black


def test_a_frame_too_small_for_any_rectangle_is_left():
    assert not aug.erase(np.zeros((2, 1, 1, 3), np.uint8), np.random.default_rng(0)).any()


# The whole


@given(seeds, st.sampled_from(sorted(PROTOCOLS)), st.integers(1, 3), st.integers(9, 40), st.integers(9, 40))
def test_shape_dtype_determinism_and_an_untouched_input(seed, name, num_frames, height, width):
    frames = noise(seed, (num_frames, height, width))
    before, protocol = frames.copy(), PROTOCOLS[name]
    got = augment(frames, protocol, ALL, np.random.default_rng(seed))
    assert got.shape == (num_frames, *protocol.frame_size, 3) and got.dtype == np.uint8
    assert got.flags.c_contiguous and not np.shares_memory(got, frames)
    assert np.array_equal(frames, before)
    assert np.array_equal(got, augment(frames, protocol, ALL, np.random.default_rng(seed)))


@given(seeds, st.sampled_from(sorted(PROTOCOLS)))
def test_a_still_clip_stays_still(seed, name):
    frames = np.repeat(noise(seed, (1, 21, 28)), 4, axis=0)
    got = augment(frames, PROTOCOLS[name], ALL, np.random.default_rng(seed))
    assert (got == got[0]).all()


@pytest.mark.parametrize("frames", [noise()[0], noise().astype(np.float32), noise()[..., :2], noise()[:0]])
def test_other_frames_are_refused(frames):
    with pytest.raises(ValueError, match=r"frames must be \(T, H, W, 3\) uint8 RGB, got"):
        augment(frames, SMALL, OFF, np.random.default_rng(0))


# A function of one's own


def darker(frames, rng):
    frames //= 2  # in place: it may, the clip is its own
    return frames + rng.integers(1, 2, dtype=np.uint8)


def test_a_custom_function_comes_last_and_has_the_generator():
    frames = np.full((2, 4, 6, 3), 100, np.uint8)
    got = augment(frames, WHOLE, Augmentation(custom=darker), np.random.default_rng(0))
    assert (got == 51).all() and (frames == 100).all()


@pytest.mark.parametrize(
    ("custom", "got"),
    [
        (lambda frames, rng: frames[:1], r"gave \(1, 4, 6, 3\) uint8"),
        (lambda frames, rng: frames / 255, r"gave \(2, 4, 6, 3\) float64"),
        (lambda frames, rng: None, "gave NoneType"),
        (lambda frames, rng: frames.tolist(), "gave list"),
    ],
)
def test_what_a_custom_function_gives_is_checked(custom, got):
    with pytest.raises(UserError, match=rf"<lambda> must give \(2, 4, 6, 3\) uint8 as it got, it {got}"):
        augment(numbered(), WHOLE, Augmentation(custom=custom), np.random.default_rng(0))


# Settings


def test_settings_are_plain_values():
    settings = Augmentation(no_flip=("sit left",), short_side=(256, 320), mixup=0.2)
    plain = json.loads(json.dumps(settings.to_dict()))
    assert Augmentation.from_dict(plain) == settings and plain["custom"] is None
    assert Augmentation.from_dict({}) == Augmentation()


def test_a_custom_function_is_its_name_and_has_to_be_handed_in_again():
    plain = json.loads(json.dumps(Augmentation(custom=darker).to_dict()))
    assert plain["custom"].endswith("test_augment.darker")
    assert Augmentation.from_dict(plain, custom=darker) == Augmentation(custom=darker)
    with pytest.raises(UserError, match="hand it in"):
        Augmentation.from_dict(plain)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"flip": 1.5}, "flip must lie between 0 and 1, got 1.5"),
        ({"color": -0.1}, "color must lie"),
        ({"blur": float("nan")}, "blur must lie"),
        ({"mixup": -1}, "mixup and cutmix must be 0 or more"),
        ({"crop": "corner"}, "crop must be one of random, center, got 'corner'"),
        ({"no_flip": "sit left"}, "the one string 'sit left'"),
        ({"short_side": 256}, "two numbers of pixels"),
        ({"short_side": (320, 256)}, "the smaller one first"),
        ({"custom": "darker"}, "custom must be a function"),
    ],
)
def test_settings_check_themselves(values, words):
    with pytest.raises(UserError, match=words):
        Augmentation(**values)


def test_settings_are_checked_against_protocol_and_classes():
    classes = ("Sit left", "sit right", "jump")
    Augmentation(no_flip=("sit_left",), short_side=(12, 20)).check(SMALL, classes)
    with pytest.raises(UserError, match=r"short_side \(11, 20\) leaves frames smaller than the crop \(12, 12\)"):
        augment(noise(), SMALL, Augmentation(short_side=(11, 20)), np.random.default_rng(0))
    with pytest.raises(UserError, match="unknown class in no_flip 'sit lefft'; did you mean 'Sit left'"):
        Augmentation(no_flip=("sit lefft",)).check(SMALL, classes)
    with pytest.raises(UserError, match="needs a crop"):
        Augmentation().check(Protocol(resize="short_side", crop=None))


# A batch


def batch(num_clips=4, dtype=np.uint8):
    """Clip i is filled with 40 × i; its label is class i."""
    values = (40 * np.arange(num_clips)).astype(dtype)
    clips = values[:, None, None, None, None] * np.ones((num_clips, 2, 8, 10, 3), dtype)
    return clips, np.eye(num_clips, dtype=np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_mixup_of_constant_clips_by_hand(dtype):
    clips, labels = batch(3, dtype)
    mixed, soft = aug.mixup(clips, labels, 0.4, Fixed(beta=[0.75]))
    # 0.75 of its own value and 0.25 of the one before: 0 + 20, 30 + 0, 60 + 10
    assert mixed.dtype == dtype and [np.unique(clip).tolist() for clip in mixed] == [[20], [30], [70]]
    assert soft.tolist() == [[0.75, 0, 0.25], [0.25, 0.75, 0], [0, 0.25, 0.75]]


def test_cutmix_by_hand():
    clips, labels = batch(2)
    # 1 - 0.75 is a quarter: half of either side, 4 × 4 (5 is cut to 2 × 2) about row 1, column 5: rows -1 … 2
    mixed, soft = aug.cutmix(clips, labels, 1.0, Fixed(beta=[0.75], integers=[1, 5]))
    assert (mixed[0, :, :3, 3:7] == 40).all() and (mixed[0] == 40).sum() == 2 * 3 * 4 * 3
    assert (mixed[1, :, :3, 3:7] == 0).all() and (mixed[1] == 0).sum() == 2 * 3 * 4 * 3
    assert np.allclose(soft, [[1 - 12 / 80, 12 / 80], [12 / 80, 1 - 12 / 80]])


@given(seeds, st.integers(1, 5), st.sampled_from([np.uint8, np.float32]), st.floats(0.05, 4))
def test_the_label_of_a_cut_clip_is_the_area_it_kept(seed, num_clips, dtype, alpha):
    clips, labels = batch(num_clips, dtype)
    mixed, soft = mix(clips, labels, Augmentation(cutmix=alpha), np.random.default_rng(seed))
    assert mixed.dtype == dtype and soft.dtype == np.float32 and np.allclose(soft.sum(axis=1), 1, atol=1e-6)
    assert (mixed == mixed[:, :1]).all()  # the same box in all frames
    for index, clip in enumerate(mixed):
        assert np.isclose((clip == 40 * index).mean(), soft[index, index], atol=1e-6)


@given(seeds, st.integers(1, 5), st.floats(0.05, 4))
def test_labels_still_sum_to_one_and_pixels_lie_between_the_two(seed, num_clips, alpha):
    rng = np.random.default_rng(seed)
    clips = rng.integers(0, 256, (num_clips, 2, 4, 5, 3), dtype=np.uint8)
    labels = rng.dirichlet(np.ones(6), num_clips).astype(np.float32)
    mixed, soft = mix(clips, labels, Augmentation(mixup=alpha), rng)
    other = np.roll(clips, 1, axis=0)
    assert (np.minimum(clips, other) <= mixed).all() and (mixed <= np.maximum(clips, other)).all()
    assert soft.dtype == np.float32 and np.allclose(soft.sum(axis=1), 1, atol=1e-6) and soft.min() >= 0


def test_a_batch_without_mixing_is_the_batch():
    clips, labels = batch()
    mixed, soft = mix(clips, labels, Augmentation(), np.random.default_rng(0))
    assert mixed is clips and soft is labels


def test_either_way_of_mixing_takes_half_of_the_batches():
    clips, labels = batch(2)
    rng, settings = np.random.default_rng(0), Augmentation(mixup=8, cutmix=8)
    # a cut clip holds 0 and 40 only, a blend neither
    cut = [set(np.unique(mix(clips, labels, settings, rng)[0])) == {0, 40} for _ in range(200)]
    assert 79 <= sum(cut) <= 121  # 100 ± 3 sigma of 7


@pytest.mark.parametrize(
    ("clips", "labels"),
    [
        (batch(3)[0], np.eye(4, dtype=np.float32)),
        (batch(3)[0], np.arange(3, dtype=np.float32)),
        (batch(3)[0][0], np.eye(2, dtype=np.float32)),
        (batch(3)[0].astype(np.float64), np.eye(3, dtype=np.float32)),
        (batch(3)[0], np.eye(3, dtype=int)),
    ],
)
def test_batches_of_other_kinds_are_refused(clips, labels):
    with pytest.raises(ValueError, match="clips must be"):
        mix(clips, labels, Augmentation(mixup=0.4), np.random.default_rng(0))


# The generator of a clip


def test_every_part_of_the_key_counts():
    keys = [(0, 0, "a", 0), (1, 0, "a", 0), (0, 1, "a", 0), (0, 0, "b", 0), (0, 0, "a", 1), (0, 0, "", 0)]
    assert len({clip_rng(*key).integers(2**62) for key in keys}) == len(keys)


def test_another_process_draws_the_same():
    code = "from vidbench.data.augment import clip_rng; print(clip_rng(3, 5, 'Höhe_01', 2).integers(2**62))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) == clip_rng(3, 5, "Höhe_01", 2).integers(2**62)


def test_neither_keras_nor_tensorflow_is_needed():
    code = "import sys, vidbench.data.augment; print({'keras', 'tensorflow'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
