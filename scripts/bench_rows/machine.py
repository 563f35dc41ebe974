"""What the machine can do, which every floor is worked out from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vst_vla.scripts.bench_rows.timing import Figure, figure, in_turns

GPU, CPU = "cuda", "cpu"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Measured rates of one device.

    device: "cpu" or "cuda".
    copy_bytes_s: bytes read and written a second by a copy in its memory, bytes/s.
    flops_s: of matrix products, in the type that models act in there (float32 on a CPU, bfloat16 on a GPU), 1/s.
    """

    device: str
    copy_bytes_s: float
    flops_s: float

    def floor_s(self, *, flops: float, num_bytes: float) -> float:
        """Seconds that neither the arithmetic nor the reading of memory can be faster than."""
        return max(flops / self.flops_s, num_bytes / self.copy_bytes_s)


def measure_machine(device: str, *, repeats: int) -> tuple[Machine, dict[str, Figure]]:
    """The machine, and its figures by the names of their rows."""
    figures = {
        "copy_bandwidth": _copy_bandwidth(device, repeats=repeats),
        "matrix_rate": _matrix_rate(device, repeats=repeats),
    }
    rates = {name: made["median"] * 1e9 for name, made in figures.items()}
    machine = Machine(device=device, copy_bytes_s=rates["copy_bandwidth"], flops_s=rates["matrix_rate"])
    return machine, figures


def _matrix_rate(device: str, *, repeats: int) -> Figure:
    side, dtype = (8192, torch.bfloat16) if device == GPU else (1024, torch.float32)
    a = torch.randn(side, side, device=device, dtype=dtype)
    seconds = in_turns({"product": lambda: a @ a}, repeats=repeats)["product"]
    return figure(seconds, unit="GFLOP/s", scale=lambda s: 2 * side**3 / s / 1e9)


def _copy_bandwidth(device: str, *, repeats: int) -> Figure:
    source = torch.ones((2**30 if device == GPU else 2**26) // 4, device=device)
    target = torch.empty_like(source)
    seconds = in_turns({"copy": lambda: target.copy_(source)}, repeats=repeats)["copy"]
    return figure(seconds, unit="GB/s", scale=lambda s: 2 * source.nbytes / s / 1e9)
