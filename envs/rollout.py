"""Closed-loop evaluation: a policy acts in several LIBERO episodes at once and every episode leaves a record.

    settings = RolloutSettings(suite="libero_object", task_ids=(0,), init_states=tuple(range(20)))
    records = rollout(policy, settings=settings, out=Path("outputs/rollout"))

Letters: N workers, C actions in a chunk. A worker whose episode ended starts its next one, of the same task while there
are any, and the others go on. Where each observation is inferred by itself (`settings.exact`), the policy serves
whichever worker is ready, and records do not depend on the number of workers; otherwise all running episodes are
inferred in one batch, task by task or not.

A worker that dies is replaced and its episode run again; so is one whose policy's server was lost.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vst_vla.envs.assets import Assets, find_assets
from vst_vla.envs.libraries import require_libraries
from vst_vla.envs.record import RECORDS_FILE, EpisodeKey, EpisodeRecord, RecordFile, RunIdentity, count_successes
from vst_vla.envs.revision import code_revision
from vst_vla.envs.rollout_settings import RolloutSettings, Variation
from vst_vla.envs.suites import get_task
from vst_vla.envs.vector import Episode, WorkerSettings
from vst_vla.envs.video import remove_partial
from vst_vla.envs.worker import Report, WorkerLost, start_workers, wait_for_reports
from vst_vla.vla.contracts import (
    LIBERO_ACTION,
    LIBERO_STATE,
    MOMENT_KEY,
    TASK_KEY,
    Array,
    Moment,
    Observation,
    Policy,
    require_same_spec,
)

VIDEOS_FOLDER = "videos"
TRIES = 3
"""How often an episode is begun before what keeps ending it (a dying worker, a lost server) becomes its record."""


def rollout(
    policy: Policy,
    *,
    settings: RolloutSettings,
    out: Path | None = None,
    assets: Assets | None = None,
    on_episode: Callable[[EpisodeRecord], None] | None = None,
    progress: bool = True,
) -> list[EpisodeRecord]:
    """Runs every (task, initial state, variation) and returns their records, in that order.

    Args:
        policy: what acts; `reset` is called once, before the first episode. One that reads the state says so with
            `state_spec`; one that keeps something of an episode, with `reads_moment`, finds a `Moment` in observations;
            one with an `insider` acts inside the workers (see `WorkerSettings`); one that is `blind` gets no pictures.
        settings: which episodes and how.
        out: folder for `records.jsonl`, one line as each episode ends, and `videos/`. Episodes that it already holds
            are not run again, so a run goes on after a kill. None keeps nothing on disk.
        assets: resolved assets; looked for when not given.
        on_episode: called with each new record.
        progress: show a progress bar with an estimate.

    Raises:
        ValueError: when the policy's conventions are not LIBERO's, its chunk is too short or out of range, or `out`
            holds episodes of another configuration or is in use.
        ConnectionError: the policy's server does not come back.
    """
    _require_libero(policy)
    found = assets or find_assets(settings.suite)
    require_libraries()
    run = settings.identity(assets=found)
    file = RecordFile(out / RECORDS_FILE) if out else None
    with file.hold() if file else nullcontext():
        done = {record.key: record for record in (file.resume(run) if file else [])}
        done = {key: done[key] for key in settings.keys if key in done}
        missing = [key for key in settings.keys if key not in done]
        with tqdm(
            total=len(settings.keys), initial=len(done), unit="episode", desc=settings.policy, disable=not progress
        ) as bar:

            def finish(record: EpisodeRecord) -> None:
                if file:
                    file.append(record)
                done[record.key] = record
                bar.set_postfix_str(f"success {count_successes(done.values())}/{len(done)}")
                bar.update()
                if on_episode:
                    on_episode(record)

            if missing:
                _Run(policy, settings, run, found, out, finish).execute(missing)
    return [done[key] for key in sorted(done)]


def _require_libero(policy: Policy) -> None:
    """The policy's conventions against the environment's; a silent mismatch is the commonest cause of 0 %."""
    require_same_spec(policy.action_spec, LIBERO_ACTION, ours_name="the policy", theirs_name="LIBERO")
    state_spec = getattr(policy, "state_spec", None)
    if state_spec is not None:
        require_same_spec(state_spec, LIBERO_STATE, ours_name="the policy", theirs_name="LIBERO")


@dataclass
class _Slot:
    """What one worker is doing."""

    key: EpisodeKey | None = None
    since: float = 0.0
    start: dict[str, Any] = field(default_factory=dict)  # what was said of the episode as it began
    report: Report | None = None  # the last one

    @property
    def num_steps(self) -> int:
        """Control steps so far."""
        return int(self.report.info["num_steps"]) if self.report else 0


@dataclass
class _Run:
    """Some episodes in workers that live as long as it takes."""

    policy: Policy
    settings: RolloutSettings
    run: RunIdentity
    assets: Assets
    out: Path | None
    finish: Callable[[EpisodeRecord], None]

    def execute(self, keys: Sequence[EpisodeKey]) -> None:
        """Runs the episodes; on the way out no worker is left."""
        self._pending, self._begun = list(keys), Counter[EpisodeKey]()
        self._workers = start_workers(self._worker_settings(), count=min(self.settings.num_envs, len(keys)))
        self._slots = [_Slot() for _ in self._workers]
        try:
            self.policy.reset()
            self._loop()
        except BaseException:
            for worker in self._workers:
                worker.kill()
            raise
        finally:
            if self.out:
                remove_partial(self.out / VIDEOS_FOLDER)
        for worker in self._workers:
            worker.close()

    def _worker_settings(self) -> WorkerSettings:
        insider = getattr(self.policy, "insider", None)
        return WorkerSettings(
            suite=self.run.suite,
            image_size=self.run.image_size,
            execute=self.run.execute,
            max_steps=self.run.max_steps,
            settle_steps=self.run.settle_steps,
            assets=self.assets,
            render_device=self.settings.render_device,
            insider=insider,
            draws=insider is None and not getattr(self.policy, "blind", False),
        )

    def _loop(self) -> None:
        """Hears what the workers say, infers for those in an episode, and lets them go on."""
        for i in range(len(self._workers)):
            self._deal(i)
        while any(worker.busy for worker in self._workers):
            heard = wait_for_reports(self._workers)
            if not self.settings.exact:  # in step, so that batches are as large as can be, and the same in every run
                heard = [i for i, worker in enumerate(self._workers) if worker.busy]
            acting = [i for i in heard if self._hear(i)]
            for batch in [[i] for i in acting] if self.settings.exact else [acting]:
                self._act(batch)

    def _deal(self, i: int) -> None:
        """Gives worker i its next episode: of the task whose scene it has, else of the one with most episodes left."""
        slot, worker = self._slots[i], self._workers[i]
        before, slot.key, slot.report, slot.start = slot.key, None, None, {}
        if not self._pending:
            return
        left = Counter(key[0] for key in self._pending)
        task = before[0] if before and left[before[0]] else max(left, key=lambda task: left[task])
        slot.key = next(key for key in self._pending if key[0] == task)
        self._pending.remove(slot.key)
        self._begun[slot.key] += 1
        slot.since = time.perf_counter()
        worker.start_episode(self._episode(slot.key))

    def _hear(self, i: int) -> bool:
        """Takes worker i's report; whether its episode goes on."""
        slot = self._slots[i]
        try:
            report = self._workers[i].report()
        except WorkerLost as error:
            self._workers[i].replace()
            self._repeat(i, reason=str(error))
            return False
        if slot.report is None:
            slot.start = report.info
        slot.report = report
        if report.ended:
            self._record(i, error=str(report.info.get("error") or ""))
            self._deal(i)
        return not report.ended

    def _act(self, batch: Sequence[int]) -> None:
        """Infers for some workers and starts their chunks. When the policy's server is lost, their episodes are too."""
        try:
            chunks = self._infer(batch)
        except ConnectionError as error:
            for i in batch:
                self._repeat(i, reason=str(error))
            return
        for i, chunk in zip(batch, chunks, strict=True):
            self._workers[i].start_chunk(chunk)

    def _infer(self, batch: Sequence[int]) -> list[Array]:
        """The actions (C, 7) of each of these workers."""
        observations = [self._observation(i) for i in batch]
        if self.settings.exact:
            replies = [self.policy.infer(observation) for observation in observations]
        else:
            replies = self.policy.infer_batch(observations) if observations else []
        return [_leading_actions(reply["actions"], execute=self.run.execute) for reply in replies]

    def _observation(self, i: int) -> Observation:
        slot = self._slots[i]
        assert slot.report is not None
        assert slot.key is not None
        observation: Observation = {**slot.report.observation, TASK_KEY: slot.start["task"]}
        if getattr(self.policy, "reads_moment", False):
            task_id, init_state, *_ = slot.key
            observation[MOMENT_KEY] = Moment(slot=i, task_id=task_id, init_state=init_state, step=slot.num_steps)
        return observation

    def _repeat(self, i: int, *, reason: str) -> None:
        """Puts worker i's episode back; after `TRIES` the reason becomes its record."""
        slot = self._slots[i]
        assert slot.key is not None
        if self._begun[slot.key] < TRIES:
            self._pending.insert(0, slot.key)
        else:
            self._record(i, error=f"{reason}, {TRIES} times")
        self._deal(i)

    def _episode(self, key: EpisodeKey) -> Episode:
        """What a worker is told: filmed smoothly for the first states asked for, whether run now or before."""
        task_id, index, axes, strength = key
        settings = self.settings
        film, size = None, None
        if self.out is not None and settings.video != "off":
            film = self.out / VIDEOS_FOLDER / film_name(key)
            smooth = settings.video == "full" and index in settings.init_states[: settings.num_videos]
            size = settings.video_size if smooth else None
        return Episode(
            task_id=task_id,
            init_state=index,
            seed=settings.seed_of(index),
            perturb=Variation(axes=axes, strength=strength).perturbation(settings.seed, task_id, index),
            film=film,
            film_size=size,
        )

    def _record(self, i: int, *, error: str) -> None:
        slot = self._slots[i]
        assert slot.key is not None
        task_id, index, axes, strength = slot.key
        told = slot.start
        filmed = self.out is not None and self.settings.video != "off" and not error
        self.finish(
            EpisodeRecord(
                run=self.run,
                task_id=task_id,
                task=told.get("task") or get_task(self.run.suite, task_id=task_id).language,
                init_state=index,
                success=bool(slot.report and slot.report.info["success"]) and not error,
                num_steps=slot.num_steps,
                wall_s=round(time.perf_counter() - slot.since, 3),
                episode_seed=self.settings.seed_of(index),
                axes=axes,
                strength=strength,
                perturbation=json.loads(told.get("perturbation", "{}")),
                revision=code_revision(),
                error=error,
                video=f"{VIDEOS_FOLDER}/{film_name(slot.key)}" if filmed else "",
            )
        )


def film_name(key: EpisodeKey) -> str:
    """The video's file name of an episode, such as "task00_state003_camera_0.5.mp4"."""
    task_id, index, axes, strength = key
    varied = f"_{'-'.join(axes)}_{strength:g}" if axes else ""
    return f"task{task_id:02d}_state{index:03d}{varied}.mp4"


def _leading_actions(chunk: Array, *, execute: int) -> Array:
    """The first `execute` actions of a chunk, checked. Raises ValueError when it is shorter, or out of the spec."""
    chunk = np.asarray(chunk)
    LIBERO_ACTION.check(chunk)
    if len(chunk) < execute:
        raise ValueError(
            f"the policy returned {len(chunk)} actions, expected at least {execute}: set execute={len(chunk)}"
        )
    return chunk[:execute]
