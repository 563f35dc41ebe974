"""The rows by name: which shape each has, and where it can be measured."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from vst_vla.scripts.bench_rows.acting import Acting, Row
from vst_vla.scripts.bench_rows.machine import Machine, measure_machine
from vst_vla.scripts.bench_rows.memory import ACTING, FULL, LORA, memory_row
from vst_vla.scripts.bench_rows.quantized import Quantized
from vst_vla.scripts.bench_rows.reader import reader_row
from vst_vla.scripts.bench_rows.serving import server_row
from vst_vla.scripts.bench_rows.shapes import TINY, VST_3B, VST_3B_252, Shape
from vst_vla.scripts.bench_rows.training import BLOCKS, packed_step, policy_step
from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.quantize import FP8, INT8

PARALLEL, FLOW = {"name": "parallel"}, {"name": "flow", "steps": 10}
GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row.

    run: measures it.
    shape: its network; decides the device. None for one without a network.
    gib: memory of the device that it needs, GiB.
    elsewhere: the program that measures it, where that wants the simulator.
    """

    run: Callable[[Machine, int], Row]
    shape: Shape | None = None
    gib: float = 0.0
    elsewhere: str | None = None

    @property
    def device(self) -> str | None:
        """Where it belongs; None for any machine."""
        return None if self.shape is None else self.shape.device

    def pending(self) -> str | None:
        """Why this machine cannot measure it, None where it can."""
        if self.elsewhere is not None:
            return f"pending: needs the simulator, run {self.elsewhere}"
        if self.device != "cuda":
            return None
        if not torch.cuda.is_available():
            return f"pending: needs a GPU with {self.gib:g} GiB"
        free, _ = torch.cuda.mem_get_info()
        if free < self.gib * GIB:
            return f"pending: needs a GPU with {self.gib:g} GiB, {free / GIB:.0f} are free here"
        return None


def entries() -> dict[str, Entry]:
    """Every row but the machine's own two."""
    return _entries(TINY, gib=0) | _entries(VST_3B, gib=24) | _latencies(VST_3B_252, gib=24) | _others()


def measure(*, repeats: int, only: str | None) -> list[Row]:
    """The rows that belong to this machine's device, and those that are pending; or the one named.

    Raises:
        ValueError: an unknown name, or a fast path that is not equal to the plain one.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    table = {name: entry for name, entry in entries().items() if device == "cpu" or entry.device != "cpu"}
    machine, figures = measure_machine(device, repeats=repeats)
    if only is not None and only not in table and only not in figures:
        raise unknown_name("bench row", only, [*figures, *table])
    rows: list[Row] = [{"name": name} | made for name, made in figures.items() if only in (None, name)]
    for name, entry in table.items():
        if only in (None, name):
            rows.append({"name": name} | _measured(entry, machine=machine, repeats=repeats))
    return rows


def _measured(entry: Entry, *, machine: Machine, repeats: int) -> Row:
    reason = entry.pending()
    if reason is not None:
        return {"pending": reason.removeprefix("pending: ")}
    try:
        return entry.run(machine, repeats)
    except torch.OutOfMemoryError:  # what a row needs is an estimate
        return {"pending": f"needs a GPU with more than {entry.gib:g} GiB"}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _entries(shape: Shape, *, gib: float) -> dict[str, Entry]:
    full = 3 * gib  # 16 bytes a weight
    steps: dict[str, Callable[..., Row]] = {"policy": policy_step, "packed": packed_step}
    if shape.device == "cuda":
        steps |= {f"policy_{way}": partial(policy_step, blocks=way) for way in BLOCKS}
    return {
        **_latencies(shape, gib=gib),
        **{
            f"training_{name}_{shape.image_size}": Entry(shape=shape, run=_steps(step, shape), gib=full)
            for name, step in steps.items()
        },
        f"memory_acting_{shape.image_size}": Entry(shape=shape, run=_memory(shape, use=ACTING), gib=gib),
        f"memory_lora_{shape.image_size}": Entry(shape=shape, run=_memory(shape, use=LORA), gib=gib),
        f"memory_full_{shape.image_size}": Entry(shape=shape, run=_memory(shape, use=FULL), gib=full),
    }


def _others() -> dict[str, Entry]:
    """What is no network, each beside its reference."""
    return {
        "reader": Entry(run=reader_row),
        "server": Entry(run=server_row),
        "questions": Entry(run=_never, elsewhere="python tests/bench/qa_speed.py --items 10000"),
        "environment": Entry(run=_never, elsewhere="python tests/bench/control_steps.py"),
    }


def _never(machine: Machine, repeats: int) -> Row:
    raise AssertionError("measured elsewhere")


def _latencies(shape: Shape, *, gib: float) -> dict[str, Entry]:
    kinds: dict[str, Callable[..., Row]] = {
        "latency_parallel": Acting(head=PARALLEL, batch=1, unit="ms"),
        "latency_flow": Acting(head=FLOW, batch=1, unit="ms"),
        "throughput_parallel_16": Acting(head=PARALLEL, batch=16, unit="chunks/s"),
        "latency_int8": Quantized(kind=INT8),
    }
    if shape.device == "cuda":
        kinds["latency_fp8"] = Quantized(kind=FP8)
    return {
        f"{name}_{shape.image_size}": Entry(shape=shape, run=_steps(kind, shape), gib=gib)
        for name, kind in kinds.items()
    }


def _steps(kind: Callable[..., Row], shape: Shape) -> Callable[[Machine, int], Row]:
    return lambda machine, repeats: kind(shape, machine=machine, repeats=repeats)


def _memory(shape: Shape, *, use: str) -> Callable[[Machine, int], Row]:
    return lambda machine, repeats: memory_row(shape, use=use)
