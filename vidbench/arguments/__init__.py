"""Every setting of a command, once: a frozen dataclass from which flags, argfiles and help derive."""

from vidbench.arguments.candidates import CandidateScanSettings, CandidateTrainSettings
from vidbench.arguments.candidates_images import ImagesSettings
from vidbench.arguments.check import CheckSettings
from vidbench.arguments.compare import CompareSettings
from vidbench.arguments.evaluate import EvaluateSettings, PredictSettings
from vidbench.arguments.fetch import FetchSettings, FoldsSettings, StatusSettings, VerifySettings
from vidbench.arguments.shared import DataSettings, LoadingSettings, ModelSettings
from vidbench.arguments.split import SplitSettings
from vidbench.arguments.train import TrainSettings

__all__ = [
    "CandidateScanSettings",
    "CandidateTrainSettings",
    "CheckSettings",
    "CompareSettings",
    "DataSettings",
    "EvaluateSettings",
    "FetchSettings",
    "FoldsSettings",
    "ImagesSettings",
    "LoadingSettings",
    "ModelSettings",
    "PredictSettings",
    "SplitSettings",
    "StatusSettings",
    "TrainSettings",
    "VerifySettings",
]
