"""The AMP's second step: a small sample of Kinetics-400 val, if the network lets it through; the demo ships anyway.

Run by `python cml/download_data.py` or in a kernel. The environment variable VIDBENCH_SAMPLE_CLIPS says how many clips
(16 unless it is set, 0 for none). No network is no failure: one line says so.
"""

import os

from vidbench.commands import command_errors, in_words

VERSION, SPLIT = "400", "val"
MAX_CLIPS, MAX_BYTES = 200, 400_000_000  # a clip has about 1.5 MB; an archive is left as soon as either is reached


def main() -> None:
    with command_errors("download_data") as ending:
        from vidbench.data.datasets import ROOT
        from vidbench.data.fetch import fetch_kinetics
        from vidbench.utils import UserError, readable_bytes

        ending.interrupted = "interrupted; the clips so far are kept, the same command goes on"
        wanted = os.environ.get("VIDBENCH_SAMPLE_CLIPS", "").strip() or "16"
        if not wanted.isdecimal() or int(wanted) > MAX_CLIPS:
            raise UserError(f"VIDBENCH_SAMPLE_CLIPS must be a number from 0 to {MAX_CLIPS}, got {wanted!r}")
        if not int(wanted):
            print("no clips are wanted (VIDBENCH_SAMPLE_CLIPS is 0); the demo's 160 lie in data/demo")
            return
        folder, lacking = ROOT / "data" / "raw" / "kinetics" / VERSION / SPLIT, ""
        try:
            fetch_kinetics(VERSION, SPLIT, folder, num_videos=int(wanted), max_bytes=MAX_BYTES)
        except (UserError, OSError) as problem:
            lacking = in_words(problem)
        clips = list(folder.rglob("*.mp4"))
        if not clips:
            print(f"no Kinetics clips, and none are needed, the demo's lie in data/demo: {lacking}")
            return
        size = readable_bytes(sum(path.stat().st_size for path in clips))
        rest = f"; no more came: {lacking}" if lacking else ""
        print(f"{len(clips)} clips of Kinetics-{VERSION} {SPLIT}, {size}, lie in {folder.relative_to(ROOT)}{rest}")


if __name__ == "__main__":
    main()
