"""Makes the files beside it with PyTorch 2.13: ``python tests/references/pth.py``."""

from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
KINDS = ("bfloat16", "float16", "float32", "float64", "bool")
KINDS += ("int16", "int32", "int64", "int8", "uint8")

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
network(torch.rand(1, 1, 8, 8)).sum().backward()
optimizer.step()
base = torch.arange(24, dtype=torch.float32)
value = {
    "network_weights": network.state_dict(),
    "optimizer_state": optimizer.state_dict(),
    "views": {
        "all": base,
        "turned": base.view(4, 6).t(),
        "third": base[5:17:3],
        "permuted": base.view(2, 3, 4).permute(2, 0, 1),
    },
    "kinds": {kind: torch.tensor([0, 1, 2]).to(getattr(torch, kind)) for kind in KINDS},
    "empty": torch.empty(0, 3),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "logging": {
        "numpy": [np.float64(0.5), np.float32(0.25), np.int64(3), np.float64(1 / 3)],
        "plain": [1.5, None, True, 2**40, -3],
    },
    "init_args": {
        "bytes": b"ab\xff",
        "device": torch.device("cuda", 0),
        "dtype": torch.float16,
        "none": b"",
        "size": torch.Size([2, 3]),
    },
}
torch.save(value, HERE / "torch_2.13.pth")
torch.save(value, HERE / "torch_2.13_4.pth", pickle_protocol=4)
torch.save(value, HERE / "torch_2.13_legacy.pth", _use_new_zipfile_serialization=False)
