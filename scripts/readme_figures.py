"""Draw the README's moving picture, images/demo.png: one demo clip of each action. python scripts/readme_figures.py"""

from pathlib import Path

import cv2
import numpy as np

from vidbench.data.demo import demo_specs, render
from vidbench.visualize import save_apng, tile

SCENES = {  # action → where: every background twice
    "picking up a box": "room",
    "putting down a box": "street",
    "running": "park",
    "sitting down": "gym",
    "standing up": "park",
    "star jumps": "street",
    "walking": "gym",
    "waving": "room",
}
NUM_FRAMES, SIZE = 16, (192, 144)


def main() -> None:
    specs = [spec for spec in demo_specs("val") if spec.level < 2]
    clips = []
    for action, background in SCENES.items():
        chosen = [spec for spec in specs if (spec.action, spec.background) == (action, background)]
        frames = render(min(chosen, key=lambda spec: spec.level)).frames
        picked = frames[np.linspace(0, len(frames) - 1, NUM_FRAMES).astype(int)]
        clips.append(np.stack([cv2.resize(frame, SIZE, interpolation=cv2.INTER_AREA) for frame in picked]))
    path = Path(__file__).parents[1] / "images" / "demo.png"
    save_apng(tile(np.stack(clips), columns=4), path, fps=6, colors=256)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
