"""What questions give away without their pictures: baselines that read the text only, beside chance.

    python tests/bench/qa_shortcuts.py --items 16000 --out docs/results/qa_shortcuts.json

Every family that offers candidates takes part: options under letters, names in the question, numbered points. Items are
those that `vst-vla qa` makes, of the families in such parts that each has about as many choices; their pictures are
drawn small and never encoded. Of every five shards four train (10,000 of 12,500 choices, of 16,000 items) and the fifth
tests, in five turns. Three baselines, a model for
each family: the candidate that is most often right, the place that is most often right, and a bag of words, which is a
logistic regression over the words of a candidate, its rivals, its place, and pairs of it with words of the question.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import FAMILIES
from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.interview import Interview
from vst_vla.envs.qa.plan import QASettings, Shard, plan_shards
from vst_vla.envs.qa.stage import Stage
from vst_vla.envs.suites import num_tasks
from vst_vla.envs.threads import one_thread_each
from vst_vla.policies.episode_states import expert_states
from vst_vla.vla.files import write_json

FREE_FORM = ("detection", "grounding", "caption", "measurement", "mi_detection", "mi_caption", "video_caption")
FREE_FORM += ("video_measurement", "video_counting")
FREE_FORM += ("robot_point", "robot_box", "robot_gripper", "robot_trace", "fields", "quiz", "mi_quiz")
"""Families that ask for boxes, points, numbers or sentences only."""
ITEMS_PER_CHOICE = {"distance": 2.2, "mi_camera_relation": 1.5, "reason_camera_relation": 1.3, "reason_single": 1.3}
ITEMS_PER_CHOICE |= {"video_mixed": 2.2, "video_object_relation": 1.6}
"""Of families that ask for other answers too; about one of all others."""
FOLDS = 5
BUCKETS = 1 << 15
EPOCHS, RATE, DECAY = 6, 0.2, 1e-3


class Choice(NamedTuple):
    """A question as a text-only reader sees it."""

    family: str
    fold: int
    words: tuple[str, ...]  # of the question, without the options
    candidates: tuple[str, ...]  # in the order in which they are read
    right: int


Scorer = Callable[[Choice], Sequence[float]]


def main(argv: Sequence[str]) -> int:
    """Makes, trains, tests and records; 1 when a family gives more than `--margin` away."""
    chosen = parser().parse_args(argv)
    start = time.monotonic()
    choices = [choice for row in texts(chosen) if (choice := as_choice(row)) is not None]
    families = {name: tested([c for c in choices if c.family == name]) for name in sorted({c.family for c in choices})}
    record = {
        "command": " ".join(["python tests/bench/qa_shortcuts.py", *argv]),
        **{key: value for key, value in vars(chosen).items() if key not in ("out", "texts", "workers")},
        "choices": len(choices),
        "trained_on": len(choices) * (FOLDS - 1) // FOLDS,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "left_right": sides(choices),
        "results": families,
    }
    write_json(Path(chosen.out), record)
    for name, row in families.items():
        print(
            f"{name:<24} {row['items']:>5} items, chance {row['chance']:.3f}, best {row['best']:.3f} {row['by_place']}"
        )
    worst = max(row["best"] - row["chance"] for row in families.values())
    print(f"{chosen.out}: at most {worst:+.3f} over chance; left and right {record['left_right']}")
    return int(worst > chosen.margin)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--items", type=int, default=16000)
    made.add_argument("--suites", nargs="*", default=["libero_object", "libero_goal"])
    made.add_argument("--families", nargs="*", default=[name for name in FAMILIES if name not in FREE_FORM])
    made.add_argument("--image-size", type=int, default=128)
    made.add_argument("--shard-size", type=int, default=256)
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--workers", type=int, default=1)
    made.add_argument("--margin", type=float, default=0.05, help="by which a baseline may beat chance")
    made.add_argument("--texts", help="a file that keeps the questions, and is read when it is there")
    made.add_argument("--out", default="docs/results/qa_shortcuts.json")
    return made


def texts(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """Every item's family, fold, question, answer and candidates."""
    kept = Path(chosen.texts) if chosen.texts else None
    if kept is not None and kept.is_file():
        return list(json.loads(kept.read_text()))
    rows = list(itertools.chain.from_iterable(made(plan(chosen), num_workers=chosen.workers)))
    if kept is not None:
        write_json(kept, rows)
    return rows


def plan(chosen: argparse.Namespace) -> QASettings:
    """What is made, as `vst-vla qa` makes it, but for pictures of another size."""
    tasks = [(suite, task) for suite in chosen.suites for task in range(num_tasks(suite))]
    return QASettings(
        tasks=tuple(tasks),
        num_items=chosen.items,
        families=tuple((name, ITEMS_PER_CHOICE.get(name, 1.0)) for name in chosen.families),
        seed=chosen.seed,
        image_size=chosen.image_size,
        mirror=True,
        short_prompt=False,
        cameras=("agentview", "robot0_eye_in_hand"),
        extra_views=2,
        episodes="expert_states",
        episode_share=0.4,
        items_per_scene=32,
        items_per_clip=24,
        shard_size=chosen.shard_size,
        init_states=tuple(range(20, 50)),
    )


def made(settings: QASettings, *, num_workers: int) -> Iterator[list[dict[str, Any]]]:
    """The items' texts task by task, each in a process of its own, since a scene's memory is not all given back."""
    groups = [list(g) for _, g in itertools.groupby(plan_shards(settings), key=lambda s: (s.suite, s.task_id))]
    pool = ProcessPoolExecutor(num_workers, mp_context=get_context("spawn"), max_tasks_per_child=1)
    with one_thread_each(), pool:
        for number, rows in enumerate(pool.map(partial(ask, settings), groups), start=1):
            print(f"{number} of {len(groups)} tasks", file=sys.stderr, flush=True)
            yield rows


def ask(settings: QASettings, shards: Sequence[Shard]) -> list[dict[str, Any]]:
    """One task's items."""
    suite, task_id = shards[0].suite, shards[0].task_id
    stage = Stage(suite, task_id=task_id, assets=find_assets(suite))
    rows = [
        {"fold": shard.number % FOLDS, **plain(item)}
        for shard in shards
        for asked in Interview(settings, shard, stage=stage, episodes=expert_states).run()
        for item in asked.items
    ]
    stage.close()
    return rows


def plain(item: QAItem) -> dict[str, Any]:
    """What matters of an item. The names in `contest` say which of the question's words are candidates."""
    return {
        "family": item.family,
        "question": item.question,
        "answer": item.answer.rpartition("</think>")[2].strip(),
        "names": [name.split(", ")[0] for name in item.contest],
    }


def as_choice(row: dict[str, Any]) -> Choice | None:
    """The item as a choice; None when it offers no candidates."""
    question, answer = row["question"], re.sub(r"^\w+-point ", "", row["answer"])  # contests name no points
    options = re.findall(r"^([A-F])\. (.+)$", question, re.MULTILINE)
    bare = re.sub(r"^[A-F]\. .+$", "", question, flags=re.MULTILINE)
    if options and answer in dict(options):
        candidates, right = tuple(text for _, text in options), [letter for letter, _ in options].index(answer)
    else:
        candidates = without_letters(row)
        right = next((n for n, text in enumerate(candidates) if text == answer.split(", ")[0]), -1)
    if len(candidates) < 2 or right < 0:
        return None
    return Choice(row["family"], row["fold"], tuple(re.findall(r"[a-z0-9']+", bare.lower())), candidates, right)


def without_letters(row: dict[str, Any]) -> tuple[str, ...]:
    """Candidates that the question itself names, in its order; the first of an order of lettered points."""
    question, answer = row["question"], row["answer"]
    if re.fullmatch(r"point-\d", answer):
        return tuple(f"point-{n}" for n in range(1, 5))
    if re.fullmatch(r"[A-E](, [A-E])+", answer):
        return tuple(sorted(answer.split(", ")))
    for pair in (("yes", "no"), ("Yes", "No")):
        if answer in pair:
            return pair
    if listed := re.search(r"Answer with one of: (.+)\.", question):
        return tuple(re.split(r", | or ", listed[1]))
    places = {name: question.find(name) for name in row["names"]}
    return tuple(sorted((name for name in places if places[name] >= 0), key=lambda name: places[name]))


def tested(choices: Sequence[Choice]) -> dict[str, Any]:
    """How often each baseline is right on shards that it was not trained on."""
    hits: Counter[str] = Counter()
    for fold in range(FOLDS):
        train, test = ([c for c in choices if (c.fold == fold) == held] for held in (False, True))
        for name, learn in LEARNERS.items():
            scorer = learn(train)
            hits[name] += sum(int(np.argmax(scorer(choice))) == choice.right for choice in test)
    rates = {name: round(hits[name] / len(choices), 4) for name in LEARNERS}
    return {
        "items": len(choices),
        "chance": round(float(np.mean([1 / len(choice.candidates) for choice in choices])), 4),
        "best": max(rates.values()),
        **rates,
        "by_place": by_place(choices),
    }


def by_place(choices: Sequence[Choice]) -> dict[str, list[int]]:
    """Number of candidates -> how often each place is right."""
    counts: dict[str, list[int]] = {}
    for choice in choices:
        size = len(choice.candidates)
        counts.setdefault(str(size), [0] * size)[choice.right] += 1
    return dict(sorted(counts.items()))


def sides(choices: Sequence[Choice]) -> dict[str, int]:
    """Right answers that hold the word left, and the word right."""
    words = [choice.candidates[choice.right].split() for choice in choices]
    return {side: sum(side in answer for answer in words) for side in ("left", "right")}


def word_rates(train: Sequence[Choice]) -> Scorer:
    """The candidate that is most often right."""
    wins: dict[str, list[float]] = defaultdict(lambda: [1.0, 3.0])
    for choice in train:
        for place, text in enumerate(choice.candidates):
            wins[text][0] += place == choice.right
            wins[text][1] += 1
    return lambda choice: [wins[text][0] / wins[text][1] for text in choice.candidates]


def place_rates(train: Sequence[Choice]) -> Scorer:
    """The place that is most often right."""
    wins = Counter((len(choice.candidates), choice.right) for choice in train)
    return lambda choice: [wins[len(choice.candidates), place] for place in range(len(choice.candidates))]


def bag_of_words(train: Sequence[Choice]) -> Scorer:
    """Logistic regression over the candidates' features, by stochastic gradient steps that shrink (Adagrad)."""
    rng = np.random.default_rng(0)
    weights, squares = np.zeros(BUCKETS), np.full(BUCKETS, 1e-2)
    rows = [([features(choice, place) for place in range(len(choice.candidates))], choice.right) for choice in train]
    for _ in range(EPOCHS):
        for number in rng.permutation(len(rows)):
            found, right = rows[int(number)]
            scores = np.array([weights[used].sum() for used in found])
            odds = np.exp(scores - scores.max())
            errors = odds / odds.sum() - np.eye(len(found))[right]
            for used, error in zip(found, errors, strict=True):
                slope = error + DECAY * weights[used]
                squares[used] += slope**2
                weights[used] -= RATE * slope / np.sqrt(squares[used])
    return lambda choice: [float(weights[features(choice, n)].sum()) for n in range(len(choice.candidates))]


def features(choice: Choice, place: int) -> np.ndarray:
    """Buckets of what is said of a candidate."""
    text = choice.candidates[place]
    rivals = [other for other in choice.candidates if other != text]
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(choice.words)]
    told = [f"is {text}", f"at {place} of {len(choice.candidates)}", *(f"has {word}" for word in text.split())]
    told += [f"{text} beats {other}" for other in rivals]
    told += [f"{text} with {word}" for word in {*choice.words, *pairs}]
    return np.unique([zlib.crc32(word.encode()) % BUCKETS for word in told])


LEARNERS: dict[str, Callable[[Sequence[Choice]], Scorer]] = {
    "most_frequent_candidate": word_rates,
    "most_frequent_place": place_rates,
    "bag_of_words": bag_of_words,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
