"""What each stage of a tuning did, family by family, out of the replies that a benchmark has saved.

Differences are paired, item by item; their 95 % intervals resample whole pictures (`envs.statistics`), since questions
about one picture share its difficulties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from vst_vla.envs.statistics import mcnemar_exact, paired_bootstrap, wilson_interval
from vst_vla.policies.guessing import guesses
from vst_vla.vla.benchmarks import Benchmark
from vst_vla.vla.benchmarks.base import Scored, by_category, mean
from vst_vla.vla.tasks.choice import Choice
from vst_vla.vla.tasks.form import is_well_formed

Answers = Mapping[str, Sequence[Scored]]
"""Stage -> its scored items, in the order of the stages; every stage was asked the same."""

FALL = 0.02


def family_rows(benchmark: Benchmark, answers: Answers, *, families: Sequence[str]) -> list[dict[str, Any]]:
    """A row a family: its score after each stage, beside guessing and beside the stage before.

    Guessing is what the right answers to other questions would score (`guessing`). A family without items (its answers
    are free text) has a row without scores.

    Args:
        benchmark: that scored the answers.
        answers: of all stages.
        families: in the order of the rows.

    Raises:
        ValueError: stages that were asked different questions.
    """
    _require_same(answers)
    grouped = {stage: by_category(scored) for stage, scored in answers.items()}
    return [
        _row(benchmark, family, {stage: found.get(family, []) for stage, found in grouped.items()})
        for family in families
    ]


def lifted(rows: Sequence[Mapping[str, Any]], *, stage: str) -> list[str]:
    """Families that a stage has brought above guessing, by an interval that excludes zero."""
    return [row["family"] for row in rows if row["num_items"] and row["over_guessing"][stage]["ci95"][0] > 0]


def fallen(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """By stage, the families that lost more than 2 points to the stage before, with their differences."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        for stage, change in row.get("over_previous", {}).items():
            found.setdefault(stage, [])
            if change["difference"] < -FALL:
                found[stage].append({"family": row["family"], **change})
    return found


def form_rows(answers: Answers) -> dict[str, dict[str, Any]]:
    """By stage, how many replies to thinking prompts are well formed."""
    return {
        stage: {
            "num_items": len(scored),
            "well_formed": _share(scored, lambda entry: is_well_formed(entry.reply, thinking=True)),
        }
        for stage, scored in answers.items()
    }


def choice_rows(answers: Answers) -> dict[str, dict[str, Any]]:
    """By stage, how many letters are right, and how many more than after the stage before.

    Raises:
        ValueError: stages that were asked different questions.
    """
    _require_same(answers)
    chosen = {stage: _choices(scored) for stage, scored in answers.items()}
    rows: dict[str, dict[str, Any]] = {
        stage: {"num_choices": len(scored), "right": _share(scored, lambda entry: entry.score == 1.0)}
        for stage, scored in chosen.items()
    }
    for (_, before), (stage, now) in pairwise(chosen.items()):
        rows[stage]["over_previous"] = _choices_change(before, now)
    return rows


def _require_same(answers: Answers) -> None:
    asked = [(stage, [entry.item.id for entry in scored]) for stage, scored in answers.items()]
    for (first, items), (stage, ids) in pairwise(asked):
        if ids != items:
            raise ValueError(f"stages '{first}' and '{stage}' were asked different questions: remove their replies")


def _row(benchmark: Benchmark, family: str, answers: Answers) -> dict[str, Any]:
    stages = list(answers)
    asked = answers[stages[0]]
    if not asked:
        return {"family": family, "num_items": 0, "why": "free text, which no rule scores"}
    guessed = guesses(benchmark, asked)
    return {
        "family": family,
        "level": asked[0].item.about["level"],
        "num_items": len(asked),
        "num_pictures": len({entry.group for entry in asked}),
        "guessing": round(sum(guessed) / len(guessed), 4),
        "scores": {stage: round(mean(answers[stage]), 4) for stage in stages},
        "over_guessing": {stage: _difference(guessed, answers[stage]) for stage in stages},
        "over_previous": {now: _difference(_scores(answers[before]), answers[now]) for before, now in pairwise(stages)},
    }


def _scores(scored: Sequence[Scored]) -> list[float]:
    return [entry.score for entry in scored]


def _difference(before: Sequence[float], now: Sequence[Scored]) -> dict[str, Any]:
    differences = [entry.score - old for old, entry in zip(before, now, strict=True)]
    low, high = paired_bootstrap(differences, groups=[entry.group for entry in now])
    return {"difference": round(sum(differences) / len(differences), 4), "ci95": [round(low, 4), round(high, 4)]}


def _choices(scored: Sequence[Scored]) -> list[Scored]:
    return [entry for entry in scored if Choice.name in entry.item.about["modes"]]


def _share(scored: Sequence[Scored], holds: Callable[[Scored], bool]) -> dict[str, Any] | None:
    if not scored:
        return None
    count = sum(map(holds, scored))
    low, high = wilson_interval(count, trials=len(scored))
    return {"share": round(count / len(scored), 4), "ci95": [round(low, 4), round(high, 4)]}


def _choices_change(before: Sequence[Scored], now: Sequence[Scored]) -> dict[str, Any] | None:
    if not now:
        return None
    lost = sum(old.score > new.score for old, new in zip(before, now, strict=True))
    won = sum(new.score > old.score for old, new in zip(before, now, strict=True))
    return {**_difference(_scores(before), now), "mcnemar_p": round(mcnemar_exact(lost, won), 6)}
