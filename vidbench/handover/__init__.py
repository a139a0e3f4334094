"""The folder that is handed over with a trained model: it runs without TensorFlow and without this kit."""

import glob
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vidbench.data.load import Failure, Sample, VideoLoader
from vidbench.data.records import Video
from vidbench.export import export_model
from vidbench.handover.card import check_facts, model_card
from vidbench.metrics import ranking
from vidbench.models import Classifier, load_model
from vidbench.predict import score
from vidbench.utils import UserError, written_whole

SCRIPT = Path(__file__).with_name("classify.py")
OUR_FILES = ("model.onnx", "model.json", "classify.py", "expected.json", "MODEL_CARD.md")  # and example.*
OTHER_EXPORTS = ("saved_model", "openvino", "float32")  # of the same model, which may lie in the folder too
TOP_N = 5
CHECKED_VIEWS = 4  # of the example, with which the export is checked: a batch of 30 would take much memory
LARGEST_DIFFERENCE = 1e-4  # between a probability of classify.py and of vidbench


def write_handover(folder: Path, classifier: Classifier, example: Path, facts: dict) -> Path:
    """Write what somebody needs to use `classifier`, a Keras network, without this kit; returns `folder`.

    `model.onnx` with `model.json` (see `vidbench.export`), `classify.py` (a script on NumPy, PyAV, OpenCV and ONNX
    Runtime alone), `example.mp4` (the video `example`, under its own suffix), `expected.json` (what vidbench says of
    it through `model.onnx`) and `MODEL_CARD.md`. `facts` are what the card tells beside the spec, see `model_card`.

    Before the folder appears, classify.py is run on the example: its probabilities are those of `expected.json`. An
    earlier hand-over is replaced as a whole; `saved_model/`, `openvino/` and `float32/` in it stay.

    Raises UserError for an example that cannot be read, for an export or a script that gives other answers, for
    unknown facts and for a folder that holds other files.
    """
    folder, example = Path(folder), Path(example)
    check_facts(facts)
    _refuse_others(folder)
    sample = _sample(example, classifier)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
        made = Path(aside) / "new"
        licence = facts.get("licence", "not stated")
        exported = export_model(classifier, made, clips=sample.views()[:CHECKED_VIEWS], licence=licence)["onnx"]
        clip = made / f"example{example.suffix.lower()}"
        shutil.copyfile(example, clip)
        shutil.copyfile(SCRIPT, made / SCRIPT.name)
        expected = expected_answer(made / "model.onnx", sample, clip.name)
        with written_whole(made / "expected.json") as file:
            file.write(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
        _try_script(made, clip, expected)
        with written_whole(made / "MODEL_CARD.md") as file:
            file.write(model_card(classifier.spec, facts, clip.name, exported["sha256"], classifier.weights_sha256))
        if folder.exists():
            folder.rename(Path(aside) / "old")
        made.rename(folder)
        _keep_exports(Path(aside) / "old", folder)
    return folder


def finish_swap(folder: Path) -> None:
    """Bring back what a killed `write_handover` had put aside, and clear away what it left beside `folder`."""
    for aside in folder.parent.glob(f".{glob.escape(folder.name)}-????????"):
        old = aside / "old"
        if old.is_dir() and not folder.exists():
            old.rename(folder)
        _keep_exports(old, folder)
        shutil.rmtree(aside, ignore_errors=True)


def _keep_exports(old: Path, folder: Path) -> None:
    for name in OTHER_EXPORTS:
        if (old / name).is_dir() and not (folder / name).exists():
            (old / name).rename(folder / name)


def expected_answer(model: Path, sample: Sample, name: str) -> dict:
    """What vidbench says of a video through an exported model, in the words of `classify.py --json`."""
    classifier = load_model(model)
    (prediction,) = score(classifier, [sample])
    best = [
        {"class": classifier.spec.classes[index], "probability": float(prediction.probabilities[index])}
        for index in ranking(prediction.probabilities)[:TOP_N]
    ]
    return {"video": name, "predictions": best}


def _sample(example: Path, classifier: Classifier) -> Sample:
    """The example's frames under the classifier's protocol."""
    if not example.is_file():
        raise UserError(f"there is no example video {example}")
    (item,) = VideoLoader([Video(example.name, example)], classifier.spec.protocol, workers=1)
    if isinstance(item, Failure):
        raise UserError(f"the example {example} cannot be used: {item.reason}")
    return item


def _try_script(folder: Path, clip: Path, expected: dict) -> None:
    """Run the folder's classify.py as its receiver will; UserError unless it says what is expected."""
    command = [sys.executable, SCRIPT.name, clip.name, "--json", "--top", str(sys.maxsize)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"classify.py cannot read the example {clip.name}: {done.stderr.strip().splitlines()[-1]}")
    got = {guess["class"]: guess["probability"] for guess in json.loads(done.stdout)["predictions"]}
    for guess in expected["predictions"]:
        if not abs(got[guess["class"]] - guess["probability"]) <= LARGEST_DIFFERENCE:
            raise UserError(
                f"classify.py gives {guess['class']} {got[guess['class']]:.6f} for the example {clip.name}, vidbench "
                f"{guess['probability']:.6f}: choose another example"
            )


def _refuse_others(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: the hand-over is a folder")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    known, begins = {*OUR_FILES, *OTHER_EXPORTS}, ("example.", ".exporting-")  # the last of a killed export
    if others := [name for name in names if name not in known and not name.startswith(begins)]:
        raise UserError(f"{folder} holds {others[0]!r}, which is no part of a hand-over: choose another folder")
