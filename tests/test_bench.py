"""`make bench` in small: rows beside the plain paths, those of another machine pending, the floors' arithmetic."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from vst_vla.scripts.bench import main
from vst_vla.scripts.bench_rows import acting, reader, table, training
from vst_vla.scripts.bench_rows.floors import language_work, tower_work
from vst_vla.scripts.bench_rows.machine import Machine
from vst_vla.scripts.bench_rows.shapes import TEXT_TOKENS, TINY, VST_3B, make_policy, observations, prompt_tokens
from vst_vla.scripts.bench_rows.timing import in_turns, times_faster
from vst_vla.vla.contracts import TASK_KEY

ROOT = Path(__file__).resolve().parents[1]
CPU_ROWS = [name for name, entry in table.entries().items() if entry.device != "cuda" and not entry.elsewhere]
LACKING = set() if importlib.util.find_spec("torchao") else {"latency_int8_112"}
WANTING = {
    "questions": "needs the simulator, run python tests/bench/qa_speed.py",
    "environment": "needs the simulator, run python tests/bench/control_steps.py",
}
REASONS = WANTING | dict.fromkeys(LACKING, "policy.quantize=int8 needs torchao")
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="rows of a machine without a GPU")


@needs_no_gpu
def test_every_row_is_measured_or_pending(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"median": 1.0, "min": 1, "max": 1, "unit": "MiB"}
    monkeypatch.setattr(table, "memory_row", lambda shape, use: short)
    for name in ("reader_row", "server_row"):  # these have tests of their own
        monkeypatch.setattr(table, name, lambda machine, repeats: short)
    assert main([f"out={tmp_path}", "repeats=2"]) == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "bench-cpu.json").read_text())["rows"]}
    assert set(rows) == {"copy_bandwidth", "matrix_rate", *table.entries()}
    measured = {"copy_bandwidth", "matrix_rate", *CPU_ROWS} - LACKING
    for name, row in rows.items():
        assert ("pending" in row) == (name not in measured), name
        if "pending" in row:
            assert "median" not in row
            assert row["pending"].startswith(REASONS.get(name, "needs a GPU with"))
        else:
            assert 0 < row["min"] <= row["median"] <= row["max"]
    latency = rows["latency_parallel_112"]
    assert latency["ratio"] == pytest.approx(latency["median"] / latency["floor"], rel=0.5)
    assert {acting.PLAIN, acting.STOCK} == latency["beside"].keys()
    assert max(latency["differences"].values()) < 1e-4
    printed = capsys.readouterr().out
    assert "latency_parallel_224" in printed
    assert "pending" in printed


@needs_no_gpu
def test_memory_is_measured_in_a_process_of_its_own() -> None:
    """And not the memory of this one: training takes more than acting."""
    rows = [table.measure(repeats=1, only=f"memory_{use}_112")[0] for use in ("acting", "full")]
    assert all(row["floor"] < row["median"] < 1024 for row in rows)
    assert rows[0]["median"] < rows[1]["median"]


def test_what_is_measured_elsewhere_names_a_program_that_exists() -> None:
    for name in WANTING:
        (row,) = table.measure(repeats=1, only=name)
        program = next(word for word in row["pending"].split() if word.endswith(".py"))
        assert (ROOT / program).is_file()


@needs_no_gpu
def test_a_step_with_what_a_gpu_does_to_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "compile_blocks", partial(training.compile_blocks, backend="aot_eager"))
    machine = Machine(device="cpu", copy_bytes_s=1e9, flops_s=1e9)
    for way in training.BLOCKS:
        assert training.policy_step(TINY, machine=machine, repeats=1, blocks=way)["median"] > 0
        assert f"training_policy_{way}_224" in table.entries()


@pytest.mark.alone
def test_the_server_is_asked_in_turns_with_openpis_loop() -> None:
    (row,) = table.measure(repeats=2, only="server")
    assert row["runs"] == 10
    (other,) = row["beside"].values()
    assert 0 < row["min"] <= row["median"] <= row["max"]
    assert 0.1 < other["times"] < 10


@pytest.mark.slow
def test_the_reader_is_measured_on_a_dataset_made_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FRAMES", 8)
    monkeypatch.setattr(reader, "SIDE", 32)
    (row,) = table.measure(repeats=1, only="reader")
    assert (row["unit"], row["runs"], row["frames"]) == ("samples/s", 1, 24)
    other = row["beside"]["LeRobotDataset"]
    assert other["times"] == pytest.approx(row["median"] / other["median"])


def test_one_row_leaves_the_record_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"out={tmp_path}", "repeats=2", "only=copy_bandwidth"]) == 0
    assert "GB/s" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_fast_path_that_differs_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = acting.FastPath.predict
    monkeypatch.setattr(acting.FastPath, "predict", lambda self, given: exact(self, given) + 0.01)
    machine = Machine(device="cpu", copy_bytes_s=1.0, flops_s=1.0)
    with pytest.raises(ValueError, match=r"actions of the fast path differ by 0\.01 from the plain path's"):
        acting.Acting(head=table.PARALLEL, batch=1, unit="ms")(TINY, machine=machine, repeats=1)


@needs_no_gpu
def test_a_row_that_runs_out_of_memory_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(machine: Machine, repeats: int) -> acting.Row:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(table, "entries", lambda: {"big": table.Entry(shape=TINY, run=run, gib=72)})
    assert table.measure(repeats=1, only="big") == [{"name": "big", "pending": "needs a GPU with more than 72 GiB"}]


def test_an_unknown_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown bench row 'latency'"):
        main([f"out={tmp_path}", "only=latency", "repeats=1"])


def test_the_prompt_is_as_long_as_it_says() -> None:
    policy = make_policy(TINY, head=table.PARALLEL, dtype=torch.float32)
    first, second = observations(TINY, policy=policy, count=2)
    assert prompt_tokens(policy, task=first[TASK_KEY]) == TEXT_TOKENS
    assert first[TASK_KEY] == second[TASK_KEY]


def test_work_is_what_a_count_of_operations_finds() -> None:
    """torch counts the operations of matrix products itself, layer by layer; attention is left to the next test."""
    policy = make_policy(TINY, head=table.PARALLEL, dtype=torch.float32)
    pipeline = acting.InferencePipeline(policy)
    path = acting.FastPath(policy, pipeline=pipeline)
    given = observations(TINY, policy=policy, count=1)
    path.predict(given)
    with FlopCounterMode(display=False) as counter:
        path.predict(given)
    work = acting.acting_work(policy, shape=TINY, batch=1)
    # The path skips what no slot asks for in the last of four layers, and counters differ on causal attention.
    assert 0.75 * work.flops < counter.get_total_flops() < 1.05 * work.flops


def test_three_billion_weights_and_their_work() -> None:
    """The released network has 3.75 billion weights; issue 9 counts 1.6 TFLOP for two cameras."""
    with torch.device("meta"):
        policy = make_policy(
            type(VST_3B)(**{**vars(VST_3B), "device": "meta"}), head=table.PARALLEL, dtype=torch.bfloat16
        )
    assert sum(p.numel() for p in policy.vlm.parameters()) == pytest.approx(3.75e9, rel=0.01)
    language = language_work(policy, length=167)
    tower = tower_work(policy, patches=256, pictures=2)
    assert language.flops + tower.flops == pytest.approx(1.6e12, rel=0.1)
    assert language.num_bytes + tower.num_bytes == pytest.approx(6.9e9, rel=0.05)


def test_ways_are_timed_in_turns() -> None:
    order: list[str] = []
    seconds = in_turns({name: lambda name=name: order.append(name) for name in "ab"}, repeats=2)
    assert order == ["a", "b"] * 5
    assert [len(values) for values in seconds.values()] == [2, 2]
    assert times_faster({"a": [1.0, 2.0, 1.0], "b": [3.0, 6.0, 9.0]}, than="b", ours="a") == 3.0
