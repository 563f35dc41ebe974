"""Exercises in reading: every answer stands in its question, equal settings give equal bytes, bad input is refused."""

import re

import numpy as np
import pytest

from vst_vla.envs.qa.repeats import KINDS, exercise, make_repeats
from vst_vla.scripts import qa
from vst_vla.vla.data.records import SpatialRecords


def options(question):
    return dict(re.findall(r"([A-F]) ([^,.?]+)[,.]", question.split("?")[-1]))


def test_what_is_asked_is_what_stands_there():
    rng, seen = np.random.default_rng(0), set()
    for _ in range(300):
        question, answer = exercise(rng)
        if said := re.fullmatch("Say again: (.+)", question):
            assert answer == said[1]
        elif asked := re.match(r"Which letter has the (.+)\?", question):
            assert options(question)[answer] == asked[1]
        elif asked := re.match(r"What stands under ([A-F])\?", question):
            assert options(question)[asked[1]] == answer
        else:
            name = re.search(r"How much is the (.+)\?", question)[1]
            assert re.search(rf"\bthe {name} {re.escape(answer)}[,.]", question, re.IGNORECASE)
        seen.add(question.split()[0])
    assert seen == {"Say", "Which", "What", "The"}
    assert len(set(KINDS)) == 4


def test_equal_settings_give_equal_bytes_that_training_reads(tmp_path):
    for name in ("a", "b"):
        assert qa.main(["repeats=50", "seed=3", f"out={tmp_path / name}"]) == 0
    first, second = ((tmp_path / name / "part-00000.parquet").read_bytes() for name in ("a", "b"))
    assert first == second
    records = SpatialRecords(tmp_path / "a")
    assert len(records) == 50
    assert records[0]["images"] == []
    assert len({record["id"] for record in records}) == 50


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="num_items is 0, expected at least 1"):
        make_repeats(tmp_path, num_items=0)
    with pytest.raises(ValueError, match="suite= has no meaning with repeats="):
        qa.main(["repeats=5", "suite=libero_goal", f"out={tmp_path}"])
    make_repeats(tmp_path, num_items=5)
    with pytest.raises(ValueError, match="repeats=5, not 6"):
        make_repeats(tmp_path, num_items=6)
