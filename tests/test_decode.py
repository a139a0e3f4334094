import av
import numpy as np
import pytest
from conftest import drawn_scene, moving_square, write_video

from vidbench.data.decode import decode, probe
from vidbench.data.integrity import DecodeError
from vidbench.data.protocol import Protocol
from vidbench.data.video_file import VideoFile, to_rgb


def everything(num_frames, fps):
    return np.arange(num_frames)[None]


def test_frames_and_times_are_exact(square_video):
    path, frames = square_video
    got = decode(path, everything)
    assert (got.frames[got.indices[0]] == frames).all()
    assert np.allclose(got.times, np.arange(12) / 10)
    assert (got.info.num_frames, got.info.fps, got.info.width, got.info.height) == (12, 10.0, 32, 24)
    assert got.info.seconds == pytest.approx(1.2) and not got.repeated


def test_only_wanted_frames_are_kept_once(square_video):
    path, frames = square_video
    got = decode(path, lambda n, fps: np.array([[0, 0, 5], [5, 11, 11]]))
    assert got.frames.shape[0] == 3 and got.repeated
    assert (got.frames[got.indices] == frames[[[0, 0, 5], [5, 11, 11]]]).all()


def test_a_part_of_a_file(square_video):
    path, frames = square_video
    got = decode(path, everything, start_seconds=0.3, end_seconds=0.7)
    assert (got.frames == frames[3:7]).all() and np.allclose(got.times, [0, 0.1, 0.2, 0.3])


def test_a_late_part_of_a_long_file_is_sought(tmp_path):
    frames = moving_square(150)
    path = write_video(tmp_path / "long.mp4", frames, fps=10, codec="libx264", crf="0", g="10")
    whole = decode(path, everything)
    part = decode(path, everything, start_seconds=12.35, end_seconds=13.0)
    assert (part.frames == whole.frames[124:130]).all()
    with pytest.raises(DecodeError, match="no frames"):
        decode(path, everything, start_seconds=90.0, end_seconds=95.0)


def test_the_count_comes_from_what_decodes_not_from_the_header(tmp_path):
    frames = moving_square(30, 64, 64)
    path = write_video(tmp_path / "x.mp4", frames, fps=30, codec="libx264", crf="18")
    data = bytearray(path.read_bytes())
    at = data.find(b"stsz")  # the table of sizes, whose count is what the header calls the number of frames
    assert int.from_bytes(data[at + 12 : at + 16], "big") == 30
    assert decode(path, Protocol(num_frames=10).indices).info.num_frames == 30


def test_packets_that_do_not_decode_cost_a_second_pass_not_a_wrong_index(monkeypatch, square_video):
    path, frames = square_video
    monkeypatch.setattr(VideoFile, "guess_num_frames", lambda self: 20)  # more packets than frames
    got = decode(path, Protocol(num_frames=4).indices)
    assert (got.frames[got.indices[0]] == frames[[0, 3, 6, 9]]).all()


@pytest.mark.parametrize("color", [(200, 30, 60), (20, 180, 90), (128, 128, 128)])
@pytest.mark.parametrize(
    ("pixels", "matrix", "limits"),
    [("yuv420p", 5, 1), ("yuv420p", 2, 0), ("yuv420p", 1, 1), ("yuv420p", 9, 1), ("yuv420p", 5, 2), ("yuvj420p", 5, 2),
     ("yuv444p", 1, 1), ("yuv420p10le", 1, 1)],
)  # fmt: skip
def test_colour_range_and_matrix_are_honoured(color, pixels, matrix, limits):
    red, blue = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}.get(matrix, (0.299, 0.114))
    r, g, b = np.array(color) / 255
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = (b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)
    depth = 4 if pixels.endswith("10le") else 1
    if limits == 2:
        values = [255 * luma, 128 + 255 * chroma[0], 128 + 255 * chroma[1]]
    else:
        values = [16 + 219 * luma, 128 + 224 * chroma[0], 128 + 224 * chroma[1]]
    frame = av.VideoFrame(16, 16, pixels)
    for plane, value in zip(frame.planes, values, strict=True):
        kind = np.uint16 if depth == 4 else np.uint8
        plane.update(np.full(plane.buffer_size // kind().itemsize, round(depth * value), kind).tobytes())
    frame.colorspace, frame.color_range = matrix, limits
    assert np.abs(to_rgb(frame)[8, 8].astype(int) - color).max() <= 3


def test_odd_sizes_decode(tmp_path):
    path = write_video(tmp_path / "odd.mkv", moving_square(3, 25, 33))
    assert (decode(path, everything).frames == moving_square(3, 25, 33)).all()


def test_rotation_is_applied(tmp_path, square_video):
    path, frames = square_video
    upright = decode(path, everything).frames[0]
    turned = tmp_path / "turned.mp4"
    with av.open(str(turned), "w") as box:
        stream = box.add_stream("libx264", rate=10, options={"crf": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for frame in frames[:2]:
            box.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        box.mux(stream.encode())
    data = bytearray(turned.read_bytes())
    at = data.find(b"tkhd") + 4 + 40  # version 0: the 3×3 display matrix lies 40 bytes behind the name
    one, minus_one = (0x10000).to_bytes(4, "big"), (-0x10000).to_bytes(4, "big", signed=True)
    zero, unit = bytes(4), (0x40000000).to_bytes(4, "big")
    data[at : at + 36] = zero + one + zero + minus_one + zero + zero + zero + zero + unit  # shown 90° clockwise
    turned.write_bytes(data)
    got = decode(turned, everything)
    assert got.frames.shape[1:3] == (32, 24) and (got.info.width, got.info.height) == (24, 32)
    assert np.abs(got.frames[0].astype(int) - np.rot90(upright, -1)).mean() < 12


def broken_files(folder, square_video):
    frames = moving_square(60, 48, 64)
    whole = write_video(
        folder / "whole.mp4", frames, fps=30, codec="libx264", crf="10", movflags="faststart"
    ).read_bytes()
    hurt = bytearray(whole)
    hurt[-2000:-1000] = bytes(1000)
    with av.open(str(folder / "sound.wav"), "w") as box:
        stream = box.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        box.mux(stream.encode(sound))
    files = {
        "missing.mp4": (None, "find", "^missing file$"),
        "empty.mp4": (b"", "open", "^empty file$"),
        "text.mp4": (b"no video at all", "open", "not a readable video"),
        "cut.mp4": (whole[: len(whole) * 3 // 4], "decode", r"corrupt after frame \d+: the file is cut off"),
        "cut.mkv": (square_video[0].read_bytes()[:-900], "decode", r"corrupt after frame \d+"),
        "hurt.mp4": (bytes(hurt), "decode", r"corrupt after frame \d+"),
        "sound.wav": ((folder / "sound.wav").read_bytes(), "open", "^no video stream$"),
    }
    for name, (data, _, _) in files.items():
        if data is not None:
            (folder / name).write_bytes(data)
    return files


def test_every_kind_of_damage_has_its_stage_and_reason(tmp_path, square_video):
    for name, (_, stage, reason) in broken_files(tmp_path, square_video).items():
        with pytest.raises(DecodeError, match=reason) as caught:
            decode(tmp_path / name, Protocol(num_frames=4).indices)
        assert caught.value.stage == stage, name


def test_too_short_is_of_the_stage_sample(square_video):
    with pytest.raises(DecodeError, match="too short: needs 64 frames, has 12") as caught:
        decode(square_video[0], Protocol(num_frames=64, short_videos="fail").indices)
    assert caught.value.stage == "sample"


def test_names_that_look_like_options_or_protocols(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-rf.mkv", "concat:x.mkv", "a?b#c%20d.mkv", "émoji 🎬.mkv"):
        write_video(tmp_path / "plain.mkv", moving_square(2)).rename(tmp_path / name)
        assert probe(name).num_frames == 2


B_FRAMES = {"bf": "1", "g": "12", "x264-params": "b-adapt=0:b-pyramid=none:scenecut=0", "crf": "12"}


@pytest.fixture(scope="module")
def with_b_frames(tmp_path_factory):
    """An H.264 file of 48 frames in which every second frame is needed for no other, and the counts of a decoder."""
    path = tmp_path_factory.mktemp("h264") / "b.mp4"
    return write_video(path, drawn_scene(3, num_frames=48), fps=10, codec="libx264", **B_FRAMES)


def same(one, other) -> bool:
    """Whether two decodings are the same to the bit."""
    return one.info == other.info and all(
        (getattr(one, name) == getattr(other, name)).all() for name in ("frames", "times", "indices")
    )


@pytest.fixture
def decoder_gave(monkeypatch):
    """The frames that the decoder gave, counted: [number]."""
    gave, decode_file = [0], VideoFile._decode

    def counted(self, *args):
        for item in decode_file(self, *args):
            gave[0] += 1
            yield item

    monkeypatch.setattr(VideoFile, "_decode", counted)
    return gave


@pytest.mark.parametrize("part", [{}, {"start_seconds": 1.25, "end_seconds": 3.5}])
@pytest.mark.parametrize("wanted", [1, 3, 8, 16])
def test_frames_that_nobody_needs_are_passed_over_and_the_others_are_the_same(
    with_b_frames, decoder_gave, wanted, part
):
    choose = Protocol(num_frames=wanted).indices
    thorough = decode(with_b_frames, choose, **part)
    all_frames, decoder_gave[0] = decoder_gave[0], 0
    assert same(decode(with_b_frames, choose, thorough=False, **part), thorough)
    assert decoder_gave[0] < 0.85 * all_frames


def test_of_a_late_part_of_a_long_file_too(tmp_path, decoder_gave):
    path = write_video(tmp_path / "long.mp4", drawn_scene(4, num_frames=150), fps=10, codec="libx264", **B_FRAMES)
    part = {"start_seconds": 12.35, "end_seconds": 14.0}
    thorough = decode(path, Protocol(num_frames=4).indices, **part)
    all_frames, decoder_gave[0] = decoder_gave[0], 0
    assert same(decode(path, Protocol(num_frames=4).indices, thorough=False, **part), thorough)
    assert decoder_gave[0] < all_frames


def test_all_frames_wanted_are_all_there(with_b_frames, decoder_gave):
    assert same(decode(with_b_frames, everything, thorough=False), decode(with_b_frames, everything))
    assert decoder_gave == [96]


@pytest.mark.parametrize("amiss", ["one too many", "one too few", "another time", "two at a time"])
def test_where_packets_and_frames_do_not_fit_all_is_decoded(with_b_frames, monkeypatch, amiss):
    choose = Protocol(num_frames=5).indices
    thorough, read_stamps = decode(with_b_frames, choose), VideoFile._read_stamps

    def wrong(self, box, stream):
        stamps = sorted(read_stamps(self, box, stream))
        if amiss == "one too many":
            return [*stamps, stamps[-1] + 1]
        if amiss == "one too few":
            return stamps[:-1]
        if amiss == "another time":
            return [*stamps[:-1], stamps[-1] + 7]
        return sorted([*stamps, *(stamp + 1 for stamp in stamps)])

    monkeypatch.setattr(VideoFile, "_read_stamps", wrong)
    assert same(decode(with_b_frames, choose, thorough=False), thorough)


def test_packets_without_times_of_their_own_are_all_decoded(with_b_frames, monkeypatch, decoder_gave):
    monkeypatch.setattr(VideoFile, "_read_stamps", lambda self, box, stream: [None] * 48)
    assert decode(with_b_frames, Protocol(num_frames=4).indices, thorough=False).info.num_frames == 48
    assert decoder_gave == [48]


def test_damage_has_the_same_reason_or_lies_where_nobody_looks(tmp_path, with_b_frames, square_video):
    choose = Protocol(num_frames=4).indices
    whole, data, found = decode(with_b_frames, choose), with_b_frames.read_bytes(), []
    for at in range(2000, len(data) - 3000, 1500):
        path = tmp_path / f"{at}.mp4"
        path.write_bytes(data[:at] + bytes(40) + data[at + 40 :])
        reasons = []
        for thorough in (True, False):
            try:
                got = decode(path, choose, thorough=thorough)
                reasons.append("")
            except DecodeError as problem:
                reasons.append(str(problem))
        assert reasons[1] in (reasons[0], "")
        if reasons[0] and not reasons[1]:
            assert (got.frames == whole.frames).all()
        found.append(reasons[1] != "")
    assert any(found)
    for name, (_, stage, reason) in broken_files(tmp_path, square_video).items():
        if name != "hurt.mp4":
            with pytest.raises(DecodeError, match=reason) as caught:
                decode(tmp_path / name, choose, thorough=False)
            assert caught.value.stage == stage, name


@pytest.mark.assets
def test_real_files_are_the_same_without_the_frames_that_nobody_needs(assets, decoder_gave):
    protocol, counts = Protocol(num_frames=16), []
    for path in sorted((assets / "torchvision_clips").iterdir()):
        outcomes = []
        for thorough in (True, False):
            decoder_gave[0] = 0
            try:
                outcomes.append(decode(path, protocol.indices, thorough=thorough))
            except DecodeError as problem:
                outcomes.append(str(problem))
            counts.append(decoder_gave[0])
        one, other = outcomes
        assert one == other if isinstance(one, str) or isinstance(other, str) else same(one, other), path
    assert sum(counts[1::2]) < 0.95 * sum(counts[::2])


@pytest.mark.assets
def test_awkward_files_decode_or_fail_with_a_reason(assets):
    failed = {}
    for path in sorted((assets / "awkward").iterdir()):
        try:
            got = decode(path, Protocol(num_frames=8).indices)
            assert got.frames.ndim == 4
        except DecodeError as problem:
            failed[path.name] = str(problem).split(":")[0]
    assert failed == {
        "corrupted.mp4": "corrupt after frame 28",
        "nasa_13013.mp4.audio.mp3": "no video stream",
        "result.webm": "empty file",
    }


@pytest.mark.assets
def test_jhmdb_counts_are_those_that_decode(assets):
    for path in sorted((assets / "jhmdb8" / "val").rglob("*.avi")):
        with av.open(str(path), metadata_errors="ignore") as box:
            decoded = sum(1 for _ in box.decode(video=0))
        assert probe(path).num_frames == decoded


def test_a_cut_file_that_is_too_short_too_is_called_cut(tmp_path):
    frames = moving_square(40, 48, 64)
    path = write_video(tmp_path / "x.mp4", frames, codec="libx264", crf="10", movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DecodeError, match="corrupt after frame"):
        decode(path, Protocol(num_frames=40, short_videos="fail").indices)
