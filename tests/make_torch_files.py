"""How the PyTorch files in tests/files were made: PyTorch 2.13 in an environment of its own, then

    python tests/make_torch_files.py tests/files

The numbers are counted or written out, so that test_torchfile.py knows them without PyTorch.
"""

import argparse
import sys
from pathlib import Path


def every_kind():
    """A tensor of every kind that needs its own handling, as a state dict."""
    import torch  # here, so that other programs can import this file without it

    state = torch.nn.Linear(1, 1).state_dict()  # an OrderedDict with `_metadata`, as every state dict has it
    state.clear()
    whole = torch.arange(12.0)
    state["stem.conv.weight"] = torch.arange(24.0).reshape(2, 3, 1, 2, 2) / 8
    state["stem.bn.num_batches_tracked"] = torch.tensor(70_000_000_000)
    state["half"] = torch.arange(5).to(torch.float16) / 4
    state["brain"] = torch.tensor([1.5, -2.0, 3.140625, 2.0**100], dtype=torch.bfloat16)
    state["double"] = torch.arange(3, dtype=torch.float64) / 3
    state["mask"] = torch.tensor([[True, False], [False, True]])
    state["bytes"] = torch.arange(250, 256, dtype=torch.uint8)
    state["turned"] = torch.arange(6, dtype=torch.int32).reshape(2, 3).T
    state["shared.first"] = whole[:4]
    state["shared.last"] = whole.reshape(3, 4)[1:, 1:]
    state["scalar"] = torch.tensor(0.25)
    state["empty"] = torch.zeros(0, 3)
    state["head.bias"] = torch.nn.Parameter(-torch.arange(3.0))
    return state


def a_training_run():
    """(layer, optimizer, schedule) after one step; the layer's weights are then set."""
    import torch

    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(layer.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 5])
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    schedule.step()
    layer.load_state_dict({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])})
    return layer, optimizer, schedule


def main(folder: Path) -> None:
    import numpy as np
    import torch

    layer, optimizer, schedule = a_training_run()
    run = {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "lr_scheduler": schedule.state_dict()}
    args = argparse.Namespace(device=torch.device("cpu"), epochs=45, best=np.float64(0.5))
    slowfast = {"epoch": 3, "model_state": run["model"], "optimizer_state": run["optimizer"], "cfg": "TRAIN:\n"}
    nested = torch.nn.DataParallel(torch.nn.ModuleDict({"model": layer}))  # names begin with module.model.
    torch.save(every_kind(), folder / "every_kind.pth")
    torch.save(every_kind(), folder / "every_kind_before_1.6.pth", _use_new_zipfile_serialization=False)
    torch.save(slowfast, folder / "slowfast.pth")
    torch.save(run | {"args": args, "epoch": 3}, folder / "torchvision.pth")
    torch.save({"state_dict": nested.state_dict()}, folder / "parallel.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
