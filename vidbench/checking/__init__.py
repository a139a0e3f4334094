"""Check data before it costs hours: settings → findings a video, doubles, what each split holds, files and pictures.

listing.py which videos; findings.py what is wrong with them; tables.py what is written; sheet.py what is drawn.
"""

from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from vidbench.arguments import CheckSettings
from vidbench.checking.findings import Check, Checked, enough_frames, examine
from vidbench.checking.listing import list_splits, recording
from vidbench.checking.sheet import draw_sheet, pages
from vidbench.checking.tables import refuse_others, summary, write_check
from vidbench.data.looks import looks_of
from vidbench.prepare import cache_folder

__all__ = ["Check", "Checked", "check_run", "examine", "list_splits", "recording", "summary", "write_check"]


def check_run(settings: CheckSettings, progress: bool = False) -> Check:
    """A whole run of scripts/check.py: every video is decoded once; the files lie in `settings.folder`.

    Findings are no errors. Raises UserError where nothing can be checked: no such data, a folder of something else.
    """
    folder = settings.folder
    refuse_others(folder)
    enough = enough_frames(settings)
    splits, notes = list_splits(settings)
    videos = [video for videos in splits.values() for video in videos]
    names = ("workers", "decode_timeout", "frames_fps", "overwrite_cache", "cache_max_bytes")
    options = {name: getattr(settings, name) for name in names}
    kept = cache_folder(settings).resolve() if settings.cache else None
    seen = looks_of(videos, cache_dir=kept, **options)
    with logging_redirect_tqdm():
        seen = list(tqdm(seen, total=len(videos), disable=not progress, unit="video", smoothing=0.1))
    check = examine(settings.folder.name, videos, seen, enough, notes)
    write_check(check, folder)
    draw_sheet(pages(check), folder, settings.workers, settings.decode_timeout, settings.frames_fps)
    return check
