"""Benchmarks by name. A benchmark is one file here, one line in `_CLASSES` and one yaml in configs/benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vst_vla.vla.benchmarks.base import Benchmark
from vst_vla.vla.benchmarks.blink import Blink
from vst_vla.vla.benchmarks.clevr import CLEVR
from vst_vla.vla.benchmarks.cv_bench import CVBench
from vst_vla.vla.benchmarks.detection_3d import Detection3D
from vst_vla.vla.benchmarks.embspatial import EmbSpatial
from vst_vla.vla.benchmarks.gqa import GQA
from vst_vla.vla.benchmarks.held_out import HeldOut
from vst_vla.vla.benchmarks.mindcube import MindCube
from vst_vla.vla.benchmarks.mmsi_bench import MMSIBench
from vst_vla.vla.benchmarks.open3d_vqa import Open3DVQA
from vst_vla.vla.benchmarks.sat import SAT
from vst_vla.vla.benchmarks.scanqa import ScanQA
from vst_vla.vla.benchmarks.sfi_bench import SFIBench
from vst_vla.vla.benchmarks.spatial457 import Spatial457
from vst_vla.vla.benchmarks.spatial_dise import SpatialDISE
from vst_vla.vla.benchmarks.spatialrgpt_bench import SpatialRGPTBench
from vst_vla.vla.benchmarks.srbench_3d import SRBench3D
from vst_vla.vla.benchmarks.surds import SURDS
from vst_vla.vla.benchmarks.vsi_bench import VSIBench
from vst_vla.vla.contracts import check_names, unknown_name

_CLASSES: tuple[type[Benchmark], ...] = (
    HeldOut,
    VSIBench,
    MMSIBench,
    CVBench,
    Blink,
    SRBench3D,
    EmbSpatial,
    MindCube,
    SAT,
    SpatialRGPTBench,
    Spatial457,
    SpatialDISE,
    SFIBench,
    SURDS,
    Open3DVQA,
    ScanQA,
    CLEVR,
    GQA,
    Detection3D,
)

BENCHMARKS: dict[str, type[Benchmark]] = {benchmark.name: benchmark for benchmark in _CLASSES}
"""Name -> class."""


def make_benchmark(config: Mapping[str, Any]) -> Benchmark:
    """The benchmark that `config` describes: {"name": one of `BENCHMARKS`, its own options}.

    Raises:
        ValueError: an unknown name or option, with a near-miss hint.
    """
    options = dict(config)
    name = str(options.pop("name", ""))
    if name not in BENCHMARKS:
        raise unknown_name("benchmark", name, BENCHMARKS)
    check_names(f"option of {name}", options, choices=[field.name for field in dataclasses.fields(BENCHMARKS[name])])
    return BENCHMARKS[name](**options)


__all__ = ["BENCHMARKS", "Benchmark", "make_benchmark"]
