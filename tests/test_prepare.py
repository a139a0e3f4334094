import pytest

from vidbench.arguments import EvaluateSettings
from vidbench.data.datasets import Dataset
from vidbench.data.records import Video
from vidbench.prepare import list_videos, load_classifier, match_classes, read_keys
from vidbench.utils import UserError


def test_published_lists_in_several_forms(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("# the list of a paper\na b\n\nc,d\n")
    assert read_keys(file) == ["a b", "c,d"]
    file.write_text('video_id,label\n"x, y",run\nz,sit\n')
    assert read_keys(file) == ["x, y", "z"]
    file.write_text("# nothing\n")
    with pytest.raises(UserError, match="is empty"):
        read_keys(file)
    with pytest.raises(UserError, match="No such file"):
        read_keys(tmp_path / "gone.txt")


def test_classes_that_the_model_does_not_know_are_left_out_and_counted():
    videos = [Video("a", None, "Run_fast"), Video("b", None, "sit"), Video("c", None)]
    found = Dataset("folder", "val", tuple(videos), ("Run_fast", "sit"))
    kept, left = match_classes(videos, found, ("run fast", "jump"), predict_only=False)
    assert [video.video_id for video in kept] == ["a", "c"] and left == {"outside the model's classes": 1}
    assert match_classes(videos, found, ("jump",), predict_only=True) == (videos, {})
    with pytest.raises(UserError, match="knows none of the data's classes"):
        match_classes(videos, found, ("jump",), predict_only=False)


def test_the_demo_is_listed_by_default():
    found, videos = list_videos(EvaluateSettings(num_videos=7))
    assert found.name == "demo" and len(videos) == 7 and len(found.videos) == 160
    assert [v.video_id for v in list_videos(EvaluateSettings(num_videos=9))[1][:7]] == [v.video_id for v in videos]


def test_a_model_under_the_users_protocol(color_model):
    model = load_classifier(EvaluateSettings(model=str(color_model), num_frames=6, resize_type="pad", views=(2, 1)))
    protocol = model.spec.protocol
    assert (protocol.num_frames, protocol.resize, protocol.frame_size, protocol.views) == (6, "square_pad", (8, 8), 2)
    with pytest.raises(UserError, match="--distinct-frames 9: a view has 4 frames"):
        load_classifier(EvaluateSettings(model=str(color_model), distinct_frames=9))
