"""The demo set: short videos that the kit draws itself, some of which only the order of time tells apart."""

from vidbench.data.demo.dataset import draw_dataset, read_attributes, video_id, write_video
from vidbench.data.demo.plan import FPS
from vidbench.data.demo.render import render
from vidbench.data.demo.specs import (
    ACTIONS,
    BACKGROUNDS,
    CAMERAS,
    EXTRA_ACTIONS,
    KINDS,
    PARTNER,
    ClipSpec,
    demo_specs,
)

__all__ = [
    "ACTIONS",
    "BACKGROUNDS",
    "CAMERAS",
    "EXTRA_ACTIONS",
    "FPS",
    "KINDS",
    "PARTNER",
    "ClipSpec",
    "demo_specs",
    "draw_dataset",
    "read_attributes",
    "render",
    "video_id",
    "write_video",
]
