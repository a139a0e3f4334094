"""One's own videos: class folders, folders of frames, a table."""

from pathlib import Path

from vidbench.data.datasets.registry import Dataset, dataset, listed, unique
from vidbench.data.datasets.tables import existing, rows_of_split, video_files, visible_files
from vidbench.data.images import is_frame
from vidbench.data.records import Video
from vidbench.utils import NoSplit, UserError, unknown


@dataset("folder")
def folder(data_dir: Path | None, split: str = "val") -> Dataset:
    """`DIR/<split>/<class>/*` or `DIR/<class>/*`; a video's id is its path below the split.

    Every regular, visible file counts except .txt, .csv, .json, .md and names without a suffix. Files that lie
    loose, in no class folder, are an unlabelled split.
    """
    root = existing(data_dir, "folder")
    splits = [name for name in ("train", "val", "test") if (root / name).is_dir()]
    if splits and split not in splits:
        raise unknown("split", split, splits, NoSplit)
    root = root / split if splits else root
    videos = []
    for file in video_files(root):
        place = file.relative_to(root)
        videos.append(Video(place.as_posix(), file, place.parts[0] if len(place.parts) > 1 else None, split))
    classes = tuple(sorted({video.label for video in videos if video.label}))
    return Dataset("folder", split, tuple(videos), classes, {"found": len(videos)})


@dataset("frames")
def frames(data_dir: Path | None, split: str = "val", gt_csv: Path | None = None) -> Dataset:
    """Folders of JPEG or PNG frames at any depth, with a ground-truth CSV of `youtube_id,folder_name,label`.

    Without `gt_csv` the one CSV in DIR is taken; where there is none, every folder is an unlabelled video. A
    folder_name is a path below DIR, or a bare name that only one folder has.
    """
    root = existing(data_dir, "frames")
    folders = {path.parent.relative_to(root).as_posix(): path.parent for path in visible_files(root) if is_frame(path)}
    table = Path(gt_csv) if gt_csv else _only_table(root)
    if table is None:
        videos = [Video(name, path, None, split) for name, path in folders.items()]
        return Dataset("frames", split, tuple(videos), (), {"found": len(videos)})
    by_name: dict[str, list[Path]] = {}
    for path in folders.values():
        by_name.setdefault(path.name, []).append(path)
    videos = []
    for number, row in rows_of_split(table, {"folder_name", "label"}, split):
        name = row["folder_name"]
        named = [folders[name]] if name in folders else by_name.get(name, [root / name])
        if len(named) > 1:
            raise UserError(
                f"{table}, line {number}: {len(named)} folders are named {name!r}: give the path below {root}"
            )
        videos.append(Video(row.get("youtube_id") or name, named[0], row["label"] or None, split))
    unique(videos, table)
    return listed("frames", split, videos)


@dataset("csv")
def table(data_dir: Path | None, split: str = "val", csv_path: Path | None = None) -> Dataset:
    """A table of `path,label` with optional `start,end` (seconds), `group` and `split`.

    Paths are relative to `data_dir`, else to the table. With a `split` column only that split's rows count.
    """
    if csv_path is None:
        raise UserError("dataset csv needs --csv FILE")
    base = Path(data_dir) if data_dir else Path(csv_path).resolve().parent
    videos = []
    for number, row in rows_of_split(Path(csv_path), {"path"}, split):
        start, end = (_seconds(row.get(name), csv_path, number) for name in ("start", "end"))
        part = "" if start is None and end is None else f"#{row.get('start') or 0}-{row.get('end') or ''}"
        facts = (row.get("label") or None, split, start, end, row.get("group") or None)
        try:
            videos.append(Video(row["path"] + part, base / row["path"], *facts))
        except ValueError as problem:
            raise UserError(f"{csv_path}, line {number}: {problem}") from None
    unique(videos, csv_path)
    unlabelled = bool(videos) and not any(video.label for video in videos)
    return listed(
        "csv", split, videos, ("no row of the table has a value in a column named label",) if unlabelled else ()
    )


def _only_table(root: Path) -> Path | None:
    tables = sorted(root.glob("*.csv"))
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables[:4])
        raise UserError(f"{root} holds several tables ({names}): name one with --gt-csv")
    return tables[0] if tables else None


def _seconds(value: str | None, path: Path, number: int) -> float | None:
    try:
        return float(value) if value else None
    except ValueError:
        raise UserError(f"{path}, line {number}: {value!r} is not a number of seconds") from None
