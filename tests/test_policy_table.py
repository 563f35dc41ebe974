"""The table of policies in small: the verbs for real, two rows, one episode each, and a record at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vst_vla.scripts.config import CONFIGS, compose
from vst_vla.scripts.policy_table import chosen_rows, data_stages, kinds_of, make_record, row_stages, told
from vst_vla.scripts.stages import Progress, run_stages

TABLES = sorted(path.stem for path in (CONFIGS / "table").glob("*.yaml"))


@pytest.mark.parametrize("table", TABLES)
def test_every_verb_knows_what_a_table_asks_of_it(table):
    config = compose("policy_table", [f"table={table}", "out=O"])
    assert config["record"] == "O/table.json"
    stages = [*data_stages(config), *(stage for row in chosen_rows(config) for stage in row_stages(config, row))]
    composed = [(stage, compose(stage.verb, stage.arguments)) for stage in stages]
    assert len({given["out"] for _, given in composed}) == len(stages), "two stages would write to one folder"
    made = {given["out"] for stage, given in composed if stage.verb != "rollout"}
    for stage, given in composed:
        if stage.verb == "train":
            read = [given["data"]["robot"], given["data"]["spatial"], given["backbone"]["name"].removesuffix("/model")]
            assert set(filter(None, read)) <= made | {"tiny", "tiny-reader"}, "a row reads what no stage makes"


def test_rows_are_chosen_by_name_and_stay_in_order():
    assert chosen_rows(compose("policy_table", ["table=heads", "rows=[flow,tokens]"])) == ["tokens", "flow"]
    with pytest.raises(ValueError, match="unknown row 'flwo' of table heads: did you mean 'flow'"):
        chosen_rows(compose("policy_table", ["table=heads", "rows=[flwo]"]))


def test_some_rows_alone_are_judged_by_some_kinds_of_episodes():
    table = compose("policy_table", ["table=ten_tasks"])["table"]
    assert set(table["only"]) < set(table["judge"])
    assert {name for rows in table["only"].values() for name in rows} <= set(table["rows"])
    assert kinds_of(table, "flow") == ["official"]
    assert kinds_of(table, "parallel_varied") == ["official", "moved", "swapped"]
    judged = {"num_success": 1, "num_episodes": 2, "ci95": [0.1, 0.9]}
    lines = told({"rows": {"flow": {"judged": {"official": judged}}, "varied": {"judged": {"moved": judged}}}}).split(
        "\n"
    )
    assert [line.split() for line in lines[0:1]] == [["official", "moved"]]
    assert [line.index("1/2") < 45 for line in lines[1:]] == [True, False]


@pytest.mark.slow
@pytest.mark.sim
def test_a_table_in_small(tmp_path):
    config = compose("policy_table", ["table=heads", f"out={tmp_path}", "rows=[parallel_alone,tokens_alone]"])
    table = config["table"]
    table["qa"] = table["spatial"] = {}
    table["demos"]["thirty"] |= {"num_episodes": 1, "image_size": 64}
    table["train"] |= {"recipe.steps": 2, "recipe.batch_size": 4, "recipe.log_every": 1}
    table["judge"]["official"] |= {"init_states": 1, "max_steps": 8, "image_size": 64}
    rows, progress = chosen_rows(config), Progress(tmp_path / "progress.json")
    stages = [*data_stages(config), *(stage for row in rows for stage in row_stages(config, row))]
    assert run_stages(stages, progress=progress) == 0
    record = make_record(config, rows, progress)
    json.dumps(record, allow_nan=False)
    assert list(record["rows"]) == ["tokens_alone", "parallel_alone"]
    for name, row in record["rows"].items():
        judged = row["judged"]["official"]
        assert (judged["num_success"], judged["num_episodes"], judged["tasks"]) == (0, 1, {"0": 0}), name
        assert row["curve"][-1]["step"] == 2
        assert "recipe.steps=2" in row["trained"]
    hashes = {row["judged"]["official"]["checkpoint"] for row in record["rows"].values()}
    assert len(hashes) == 2
    assert None not in hashes
    assert "0/1 (0% to 79%)" in told(record)
    assert Path(config["record"]).name == "table.json"


def test_processes_that_share_a_recipe_add_to_one_file(tmp_path):
    one, other = (Progress(tmp_path / "progress.json") for _ in range(2))
    one.add("flow", seconds=3.0, peak_gib=2.0)
    other.add("fast", seconds=5.0, peak_gib=1.0)
    one.add("flow", seconds=0.5, peak_gib=0.5)
    assert Progress(tmp_path / "progress.json").seconds == one.seconds == {"flow": 3.5, "fast": 5.0}
    assert one.peak_gib == 2.0
