"""Candidate clips: still images → an image classifier; long videos → clips in which it saw an action."""

from vidbench.candidates.cut import cut_clip
from vidbench.candidates.intervals import match, overlap, precision_and_recall, random_clips
from vidbench.candidates.peaks import Candidate, choose, smooth
from vidbench.candidates.pictures import NONE, Picture, list_pictures, split_pictures
from vidbench.candidates.stream import Damage, Ended, Frame, sampled_frames

__all__ = [
    "NONE",
    "Candidate",
    "Damage",
    "Ended",
    "Frame",
    "Picture",
    "choose",
    "cut_clip",
    "list_pictures",
    "match",
    "overlap",
    "precision_and_recall",
    "random_clips",
    "sampled_frames",
    "smooth",
    "split_pictures",
]
