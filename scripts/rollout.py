"""`vst-vla rollout`: a policy in closed loop, its records, its videos, its report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from vst_vla.envs.compare import COMPARE_HTML, write_comparison
from vst_vla.envs.merge import merge_runs
from vst_vla.envs.protocol import EvalProtocol
from vst_vla.envs.record import EpisodeRecord, count_successes
from vst_vla.envs.report import make_report, write_report
from vst_vla.envs.rollout import rollout
from vst_vla.envs.rollout_settings import OFFICIAL, RolloutSettings, Variation, protocol_report
from vst_vla.envs.suites import num_tasks
from vst_vla.policies.catalogue import Request, make_policy
from vst_vla.scripts.config import compose, read_yaml
from vst_vla.scripts.memory import PeakMemory
from vst_vla.vla.contracts import unknown_name

Config = dict[str, Any]
OF_THE_PROTOCOL = "protocol"
"""The value of a key that leaves it to the protocol."""
OF_A_REQUEST = ("checkpoint", "address", "data", "suite", "image_size", "seed")
SANITY = ("random", "zero", "shuffled")
PASSED_ON = ("num_envs", "exact", "seed", "video", "num_videos", "video_size", "render_device")


def main(argv: list[str]) -> int:
    """Runs the episodes of configs/rollout.yaml and writes OUT/report.json and OUT/report.html; or merges, compares."""
    config = compose("rollout", argv)
    out = Path(config["out"])
    if config["compare"]:
        return compare(config["compare"], out=out)
    if config["merge"]:
        start, records = time.monotonic(), merge_runs([Path(folder) for folder in config["merge"]], out=out)
        return finish(records, [], out=out, wall_s=time.monotonic() - start, peak_rss_gib=0.0)
    return evaluate(config, out=out)


def compare(folders: list[str], *, out: Path) -> int:
    """Holds two runs against each other. Raises ValueError unless there are two."""
    if len(folders) != 2:
        raise ValueError(f"compare={folders} names {len(folders)} runs: give two folders, compare=[A,B]")
    found = write_comparison(Path(folders[0]), Path(folders[1]), out=out)
    low, high = (100 * end for end in found["difference_ci95"])
    print(
        f"{found['second']['num_success']}/{found['num_pairs']} against {found['first']['num_success']}/"
        f"{found['num_pairs']} episodes: {100 * found['difference']:+.3g} points (95 % interval {low:+.3g} to "
        f"{high:+.3g}), p = {found['mcnemar_p']:.3g}\nlook: {out / COMPARE_HTML}"
    )
    return 0


def evaluate(config: Config, *, out: Path) -> int:
    """Runs what is missing of a policy's episodes, and of those it is compared with."""
    start = time.monotonic()
    for name in config["sanity"]:
        if name not in SANITY:
            raise unknown_name("sanity policy", name, SANITY)
    protocol = read_protocol(config["protocol"])
    with PeakMemory() as memory:
        records = run(config, protocol, out=out)
        baselines = [
            run(sanity_config(config, name, chunk=records[0].run.execute), protocol, out=out / "sanity" / name)
            for name in config["sanity"]
        ]
    return finish(records, baselines, out=out, wall_s=time.monotonic() - start, peak_rss_gib=memory.peak_gib)


def finish(
    records: list[EpisodeRecord],
    baselines: list[list[EpisodeRecord]],
    *,
    out: Path,
    wall_s: float,
    peak_rss_gib: float,
) -> int:
    """Writes the report and says how it went."""
    told = protocol_report(
        read_protocol(records[0].run.protocol), [record.key for record in records], run=records[0].run
    )
    report = make_report(
        records, wall_s=wall_s, peak_rss_gib=peak_rss_gib, baselines=baselines, extra={"protocol": told}
    )
    page = write_report(report, records, out=out)
    print(f"protocol {told['name']}" + "".join(f"; {phrase}" for phrase in told["deviations"]))
    for episodes in [records, *baselines]:
        print(f"{episodes[0].run.policy}: {count_successes(episodes)}/{len(episodes)} episodes succeeded")
    for row in report["axes"]:
        scene = f"{'+'.join(row['axes'])} {row['strength']:g}" if row["axes"] else "official scenes"
        print(f"  {scene}: {row['num_success']}/{row['num_episodes']}")
    print(f"watch them: {page}")
    return 0


def read_protocol(name: str) -> EvalProtocol:
    """One of `configs/protocols`. Raises ValueError, with a near-miss hint, for another name."""
    return EvalProtocol(**read_yaml("protocols", name, kind="protocol"))


def run(config: Config, protocol: EvalProtocol, *, out: Path) -> list[EpisodeRecord]:
    """One policy's episodes."""
    size = _numbers([_or(config["image_size"], protocol.image_size)], key="image_size", form="a number")[0]
    made = make_policy(request(config | {"image_size": size}, replan=protocol.replan))
    tasks, states = config["task_ids"], _or(config["init_states"], protocol.trials)
    if made.episodes and tasks == OF_THE_PROTOCOL:
        tasks = sorted({task for task, _ in made.episodes})
    if made.episodes and config["init_states"] == OF_THE_PROTOCOL:
        states = sorted({state for _, state in made.episodes})
    settings = RolloutSettings(
        suite=config["suite"],
        task_ids=task_ids(tasks, suite=config["suite"], whole=protocol.whole_suite),
        init_states=init_states(states),
        only=made.episodes,
        variations=variations(config),
        protocol=protocol,
        image_size=size,
        execute=made.chunk,
        max_steps=max_steps(config["max_steps"]),
        policy=config["policy"]["name"],
        checkpoint=made.checkpoint,
        **{key: config[key] for key in PASSED_ON},
    )
    return rollout(made.policy, settings=settings, out=out)


def request(config: Config, *, replan: int | None = None) -> Request:
    """The policy that a configuration asks for; `replan` for one that has no such number of its own."""
    options = dict(config["policy"])
    if options.get("replan", 0) is None:
        options["replan"] = replan
    given = {key: config[key] for key in OF_A_REQUEST if key in config}
    return Request(options=options, **given)


def sanity_config(config: Config, name: str, *, chunk: int) -> Config:
    """The run again with another policy, which executes as many actions a chunk as the one it is compared with."""
    return config | {
        "policy": {
            "device": "auto",
            "dtype": "auto",
            "quantize": None,
            "head": None,
            **config["policy"],
            "name": name,
            "chunk": chunk,
            "replan": chunk,
        }
    }


def task_ids(given: Any, *, suite: str, whole: bool) -> tuple[int, ...]:
    """A list of numbers, one number, `all`, or the protocol's: all of them, or the first one."""
    if given == "all" or (given == OF_THE_PROTOCOL and whole):
        return tuple(range(num_tasks(suite)))
    if given == OF_THE_PROTOCOL:
        return (0,)
    return _numbers(given if isinstance(given, list) else [given], key="task_ids", form="a number, a list, or all")


def init_states(given: Any) -> tuple[int, ...]:
    """A list of numbers, or how many from the first on."""
    form = "a list of numbers, or how many"
    if isinstance(given, list):
        return _numbers(given, key="init_states", form=form)
    (count,) = _numbers([given], key="init_states", form=form)
    return tuple(range(count))


def variations(config: Config) -> tuple[Variation, ...]:
    """The scenes that `vary` and its companions ask for; the official ones when there are none."""
    axes, given = config["vary"], config["vary_strength"]
    if isinstance(axes, str):
        raise ValueError(f"vary '{axes}' is no list: give vary=[{axes}]")
    strengths = [float(strength) for strength in (given if isinstance(given, list) else [given])]
    if not axes:
        return (OFFICIAL,)
    if not config["vary_each"]:
        return tuple(Variation(axes=tuple(sorted(axes)), strength=strength) for strength in strengths)
    return (OFFICIAL, *(Variation(axes=(axis,), strength=strength) for axis in axes for strength in strengths))


def max_steps(given: Any) -> int | None:
    """A number, or `horizon`."""
    return None if given == "horizon" else _numbers([given], key="max_steps", form="a number, or horizon")[0]


def _or(given: Any, of_the_protocol: int) -> Any:
    return of_the_protocol if given == OF_THE_PROTOCOL else given


def _numbers(given: list[Any], *, key: str, form: str) -> tuple[int, ...]:
    try:
        return tuple(int(str(item)) for item in given)
    except ValueError as error:
        raise ValueError(f"{key} is {given}, expected {form}") from error
