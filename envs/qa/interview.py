"""One shard's questions: scenes are set up and asked about until every family has its share.

The shard's own random generator and its own scenes decide everything, so a shard does not depend on others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.balance import Ledger
from vst_vla.envs.qa.base import Clip, QAItem, takes_clips
from vst_vla.envs.qa.lesson import Lesson
from vst_vla.envs.qa.plan import QASettings, Shard
from vst_vla.envs.qa.pointed import pointed
from vst_vla.envs.qa.renamed import invent_names, renamed
from vst_vla.envs.qa.stage import Episode, EpisodeSource, Stage
from vst_vla.envs.qa.teacher import Teacher
from vst_vla.vla.contracts import SceneState

SPARE = 4
"""Further questions among which the ledger chooses, for each that is wanted."""
BARREN_SCENES, BARREN_CLIPS = 40, 10
"""Scenes, and clips, in a row without one usable question, after which the families still missing are given up."""
LAST_PATIENCE = 4
"""How many times as long a family is waited for that no other can make up for: giving up would end the run."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """Items with the moments that they are about."""

    items: tuple[QAItem, ...]
    scenes: tuple[SceneState, ...]  # one, or a clip's frames


class Interview:
    """Makes one shard's items.

    Args:
        settings: of the dataset.
        shard: which one.
        stage: the shard's task.
        episodes: who plays episodes; needed by families that ask about clips, and for `episode_share`.
        teacher: who writes the thoughts of reasoning items; their own program when not given.
    """

    def __init__(
        self,
        settings: QASettings,
        shard: Shard,
        *,
        stage: Stage,
        episodes: EpisodeSource | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self._settings = settings
        self._stage = stage
        self._source = episodes
        self._rng = np.random.default_rng([settings.seed, shard.number])
        families = {name: make_family(name, short_prompt=settings.short_prompt) for name, _ in shard.wanted}
        self._of_clips = {name: family for name, family in families.items() if takes_clips(family)}
        self._of_scenes = {name: family for name, family in families.items() if not takes_clips(family)}
        self._wanted = Counter(dict(shard.wanted))
        self._fruitful: set[str] = set()
        self._ledger = Ledger()
        self._lesson = Lesson(teacher) if teacher else None
        self._episode: Episode | None = None
        self._frames: list[SceneState] = []
        self._where = f"{shard.suite} task {shard.task_id}"

    def run(self) -> Iterator[Asked]:
        """The shard's items, scene by scene.

        What the scenes allow no question of, such as the way between two pots of one name, other families take over.

        Raises:
            ValueError: there are no others.
        """
        yield from self._until_done(self._of_clips, self._ask_clip, patience=BARREN_CLIPS)
        yield from self._until_done(self._of_scenes, self._ask_scene, patience=BARREN_SCENES)

    @property
    def teacher_counts(self) -> dict[str, int]:
        """What the teacher's replies were worth so far; empty without a teacher."""
        return dict(sorted(self._lesson.counts.items())) if self._lesson else {}

    def _until_done(self, families: Mapping[str, Any], ask: Callable[[], Asked], *, patience: int) -> Iterator[Asked]:
        barren = 0
        while missing := sorted(name for name in families if self._wanted[name]):
            asked = ask()
            found = Counter(item.family for item in asked.items)
            self._wanted.subtract(found)
            self._fruitful.update(found)
            if asked.items:
                yield asked
            barren = 0 if asked.items else barren + 1
            heirs = self._heirs(missing) if barren >= patience else ()
            if heirs:
                self._hand_on(missing, heirs=heirs)
                barren = 0
            elif barren == LAST_PATIENCE * patience:
                raise ValueError(
                    f"{barren} scenes of {self._where} in a row allow no question of family {' or '.join(missing)}: "
                    "leave it out, or use larger pictures or other cameras"
                )

    def _heirs(self, missing: Sequence[str]) -> Sequence[str]:
        """Families that can make up for these: those about scenes for those about clips, where there are any."""
        of_clips = missing[0] in self._of_clips
        fruitful = self._fruitful - set(missing)
        heirs = sorted(self._of_scenes) if of_clips else []
        return heirs or sorted(fruitful & (self._of_clips if of_clips else self._of_scenes).keys())

    def _hand_on(self, missing: Sequence[str], *, heirs: Sequence[str]) -> None:
        self._fruitful -= set(missing)
        for number in range(sum(self._wanted.pop(name) for name in missing)):
            self._wanted[heirs[number % len(heirs)]] += 1

    def _ask_clip(self) -> Asked:
        self._episode = None  # another clip, another episode
        clip = self._stage.clip(self._played(), self._settings.shot, rng=self._rng)
        items = self._questions(self._of_clips, clip, limit=self._settings.items_per_clip)
        self._frames = [clip.frames[int(i)] for i in self._rng.permutation(len(clip.frames))]
        return Asked(items=items, scenes=clip.frames)

    def _ask_scene(self) -> Asked:
        scene = self._scene()
        items = self._questions(self._of_scenes, scene, limit=self._settings.items_per_scene)
        return Asked(items=self._taught(items, scene), scenes=(scene,))

    def _taught(self, items: tuple[QAItem, ...], scene: SceneState) -> tuple[QAItem, ...]:
        """The items that the teacher lets pass; the ledger forgets the others."""
        if self._lesson is None:
            return items
        taught = self._lesson.teach(items, scene=scene)
        self._ledger.withdraw(taught.dropped)
        return taught.kept

    def _scene(self) -> SceneState:
        """A rearranged scene, or a moment of an episode: one that a clip has pictured already, when one is left."""
        shot = self._settings.shot
        if self._rng.random() >= self._settings.episode_share:
            return self._stage.rearranged(shot, rng=self._rng)
        if self._frames:
            return self._frames.pop()
        return self._stage.moment(self._played(), shot, rng=self._rng)

    def _played(self) -> Episode:
        assert self._source is not None, "settings were checked: somebody plays"
        if self._episode is None:
            self._episode = self._stage.play(self._source, self._settings.shot, rng=self._rng)
        return self._episode

    def _questions(self, families: Mapping[str, Any], about: SceneState | Clip, *, limit: int) -> tuple[QAItem, ...]:
        """At most `limit` items, families drawn in proportion to what is still wanted of them."""
        pool = np.repeat(list(families), [self._wanted[name] for name in families])
        drawn = Counter(str(name) for name in self._rng.permutation(pool)[:limit])
        items: list[QAItem] = []
        for name in families:
            if drawn[name]:
                items += self._ask(families[name], about, count=drawn[name])
        return self._retold(items, about.frames[0] if isinstance(about, Clip) else about)

    def _retold(self, items: Sequence[QAItem], scene: SceneState) -> tuple[QAItem, ...]:
        """The items as the settings want objects to be referred to: pointed at, under invented names."""
        if self._settings.points:
            items = [pointed(item, scene=scene, rng=self._rng) for item in items]
        if self._settings.invented_names and self._rng.random() < self._settings.invented_names:
            names = invent_names(scene, rng=self._rng)
            items = [renamed(item, names=names) for item in items]
        return tuple(items)

    def _ask(self, family: Any, about: SceneState | Clip, *, count: int) -> list[QAItem]:
        """Items that the ledger admits, out of more than are needed where it has a choice to make."""
        offered = list(family(about, count=count, rng=self._rng))
        if any(item.contest for item in offered):
            offered += family(about, count=SPARE * count, rng=self._rng)
        return self._ledger.admit(_different(offered), count=count)


def _different(items: Sequence[QAItem]) -> list[QAItem]:
    """The items that do not repeat each other about the same scene, word for word."""
    return list({(item.question, str(item.about)): item for item in items}.values())
