"""The likeliest classes of a video by model.onnx beside this file: python classify.py VIDEO [--top 5] [--json]"""

import argparse
import json
import sys

import av
import cv2
import numpy as np
import onnxruntime


def shown(path):  # (frame, frames a second) of all frames that a player shows
    with av.open(f"file:{path}", metadata_errors="ignore") as box:
        video = box.streams.video[0] if box.streams.video else sys.exit("error: no video stream")
        begin, rate = (video.start_time or 0) * video.time_base, float(video.average_rate or video.guessed_rate or 25)
        yield from ((frame, rate) for frame in box.decode(video) if frame.time is None or frame.time >= begin - 1e-6)


def indices(total, fps, p):  # (clips, num_frames) of `total` frames, as p, the protocol in the model's spec, says
    def even(first, last, number):  # evenly spaced, in float32, from both ends to the middle
        first, last = np.float32([first, last])[..., None]
        rise = (last - first) / np.float32(max(number - 1, 1)) * np.arange(number, dtype=np.float32)
        return np.where(np.arange(number) < max(number // 2, 1), first + rise, last - rise[..., ::-1])

    count, clips, needed = p["num_frames"], p["clips"], p["num_frames"]
    picked = (total * np.arange(count * clips) // (count * clips)).reshape(count, clips).T  # of sampling "whole"
    if p["sampling"] == "strided":
        size = p["stride"] * count / p["target_fps"] * fps
        starts, needed = max(total - size, 0) * np.arange(clips) / clips, int(np.ceil(size))
        picked = even(starts, starts + max(size - 1, 0), count)
    elif p["sampling"] == "clips":  # runs of consecutive frames of the video at another rate
        step, ends = fps / p["frame_rate"], np.arange(1, max(total, int(count * fps / p["frame_rate"]) + 2) + 1)
        lengths = -(-ends // step) if step.is_integer() else np.floor(ends * p["frame_rate"] / fps)
        needed = int(ends[np.argmax(lengths >= count)])
        starts = np.floor(even(0, lengths[max(total, needed) - 1] - count, clips))
        picked = np.float32(starts[:, None] + np.arange(count)) * np.float32(step)
    if p["short_videos"] == "fail" and total < needed:
        raise ValueError(f"too short: needs {needed} frames, has {total}")
    return np.clip(picked, 0, total - 1).astype(int)


def crops(frame, p):  # a decoded frame → one or three (height, width, 3) uint8 RGB
    plain = frame.format.name == "yuv420p" and frame.width % 2 == frame.height % 2 == 0
    plain = plain and int(frame.color_range) in (0, 1) and int(frame.colorspace) in (2, 5, 6)
    image = cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420) if plain else frame.to_ndarray(format="rgb24")
    image = np.rot90(image, round(frame.rotation / 90) % 4)
    size, edges = p["resize_to"], image.shape[:2]
    if p["resize"] == "short_side":
        size = [max(size[0], edge * size[0] // min(edges)) for edge in edges]
    elif p["resize"] == "square_crop":
        image = image[tuple(slice(at := round((edge - min(edges)) / 2), at + min(edges)) for edge in edges)]
    elif p["resize"] == "square_pad":
        image = np.pad(image, [*(((max(edges) - edge) // 2, (max(edges) - edge + 1) // 2) for edge in edges), (0, 0)])
    image, (tall, wide) = cv2.resize(np.ascontiguousarray(image), size[::-1]), p["crop"] or size
    spare, along = (size[0] - tall, size[1] - wide), int(size[1] >= size[0])
    middle = [[round(edge / 2) for edge in spare]]
    three = [[spare[i] * part // 2 if i == along else -(-spare[i] // 2) for i in (0, 1)] for part in range(3)]
    return [image[top : top + tall, left : left + wide] for top, left in (middle if p["crops"] == 1 else three)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--top", type=int, default=5, help="how many classes are named (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    options, sys.excepthook = parser.parse_args(), lambda *e: sys.exit(f"error: {getattr(e[1], 'strerror', 0) or e[1]}")
    model = onnxruntime.InferenceSession(f"{sys.path[0]}/model.onnx", providers=["CPUExecutionProvider"])
    spec = json.loads(model.get_modelmeta().custom_metadata_map["spec"])
    rates, total = [rate for _, rate in shown(options.video)] or sys.exit("error: no frames"), 0
    picked = indices(len(rates), rates[0], spec["protocol"])
    kept = {at: crops(frame, spec["protocol"]) for at, (frame, _) in enumerate(shown(options.video)) if at in picked}
    for view in (np.stack(view) for clip in picked for view in zip(*(kept[at] for at in clip), strict=True)):
        logits = model.run(["logits"], {"frames": view[None]})[0][0].astype(np.float64)
        total += np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    order = np.argsort(-total, kind="stable")[: options.top]
    best = [{"class": spec["classes"][at], "probability": total[at] / total.sum()} for at in order]
    lines = "\n".join(f"{guess['probability']:7.2%}  {guess['class']}" for guess in best)
    print(json.dumps({"video": options.video, "predictions": best}, ensure_ascii=False) if options.json else lines)
