"""Exports: read back with plain JSON, PIL and pyarrow; taken up where they stopped; folders that are refused."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vst_vla.scripts import qa
from vst_vla.vla.data import export
from vst_vla.vla.data.export import export_records
from vst_vla.vla.data.stored import StoredRow
from vst_vla.vla.data.verifiable import verifiable
from vst_vla.vla.prompt import SYSTEM_PROMPT, THINKING_PROMPT


@pytest.fixture(scope="module")
def source(upstream_layout: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files; the second's first row cannot be used, and its second has the first file's picture."""
    folder = tmp_path_factory.mktemp("export") / "source"
    rows = upstream_layout.rows()
    upstream_layout.write(folder / "a.parquet", rows)
    bad = upstream_layout.row("bad", "mm_qa", "<image>\nWhat?", "this", [b"no picture"])
    long = upstream_layout.row(
        "long", "mm_qa", "<image>\nSay all.", "A bed stands to the left of it.", [upstream_layout.jpeg(0)]
    )
    more = upstream_layout.row("talk", "mm_qa", "<image>\nWhat?", "bed", [upstream_layout.jpeg(0)])
    more["conversations"] = more["conversations"] * 2
    more["conversations"][2] = {"from": "human", "value": "And then?"}
    upstream_layout.write(folder / "b.parquet", [bad, long, more])
    return folder


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def llava(source: Path) -> Path:
    done = export_records(source, out=source.with_name("llava"), form="llava")
    assert (done.num_rows, done.skipped, done.left_out) == (9, 1, {})
    return done.folder


def test_llava_json_has_conversations_and_files_beside_it(llava: Path, upstream_layout: ModuleType) -> None:
    entries = {entry["id"]: entry for entry in json.loads((llava / "questions.json").read_text())}
    assert list(entries) == [*(row["id"] for row in upstream_layout.rows()), "long", "talk"]
    depth, pair, film, words = (entries[name] for name in ("depth", "pair", "film", "words"))
    assert depth["conversations"][0] == {"from": "human", "value": "<image>\nWhich is nearer, the bed or the door?"}
    assert depth["conversations"][1] == {"from": "gpt", "value": "bed"}
    assert (llava / depth["image"]).read_bytes() == upstream_layout.jpeg(0)
    assert [len(pair["image"]), pair["conversations"][0]["value"].count("<image>\n")] == [2, 2]
    assert entries["unmarked"]["conversations"][0]["value"].startswith("<image>\nHow tall")
    assert film["conversations"][0]["value"].startswith("<video>\nThese are frames")
    with av.open(str(llava / film["video"])) as container:
        assert len(list(container.decode(video=0))) == 5
    assert not {"image", "video"} & words.keys()
    assert entries["cot"]["system"] == THINKING_PROMPT
    assert entries["long"]["image"] == depth["image"], "one picture, one file"
    assert entries["boxes"]["conversations"][1]["value"] == upstream_layout.BOX_ANSWER


def test_llava_folder_holds_what_it_names_and_no_more(llava: Path) -> None:
    entries = json.loads((llava / "questions.json").read_text())
    named = set()
    for entry in entries:
        files = entry.get("image", entry.get("video", []))
        named |= {files} if isinstance(files, str) else set(files)
    assert set(listing(llava)) == named | {"questions.json", "manifest.json"}


@pytest.fixture(scope="module")
def easyr1(source: Path) -> Path:
    done = export_records(source, out=source.with_name("easyr1"), form="easyr1")
    assert (done.num_rows, done.skipped) == (6, 1)
    assert done.left_out == {"free text": 1, "no picture": 1, "several questions": 1}
    return done.folder


def test_easyr1_rows_have_what_both_readers_take(easyr1: Path, upstream_layout: ModuleType) -> None:
    files = sorted((easyr1 / "data").iterdir())
    rows = {row["extra_info"]["id"]: row for file in files for row in pq.read_table(file).to_pylist()}
    assert list(rows) == ["depth", "pair", "cot", "boxes", "film", "unmarked"]
    for row in rows.values():
        assert row["problem"].count("<image>") == len(row["images"])
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]
        assert row["prompt"][1]["content"] == row["problem"]
        assert row["reward_model"] == {"style": "rule", "ground_truth": row["answer"]}
        for picture in row["images"]:
            assert Image.open(io.BytesIO(picture["bytes"])).size == (64, 48)
    assert rows["cot"]["answer"] == "B", "without its reasoning"
    assert len(rows["film"]["images"]) == 5
    assert rows["boxes"]["prompt"][0]["content"] == SYSTEM_PROMPT
    assert rows["depth"]["prompt"][0]["content"] == THINKING_PROMPT
    modes = {name: row["extra_info"]["mode"] for name, row in rows.items()}
    assert modes["boxes"] == ["bbox3d"]
    assert modes["cot"] == ["multi_choices_score"]
    assert modes["film"] == modes["unmarked"] == ["relaxed_score"]
    assert modes["depth"] == ["vqa_score"]


def test_easyr1_opens_with_the_datasets_library(easyr1: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "parquet", data_dir=str(easyr1 / "data"), split="train", cache_dir=str(easyr1.parent / "hf")
    )
    assert len(loaded) == 6
    assert loaded[3]["problem"].startswith("<image>")
    assert isinstance(loaded[3]["images"][0]["bytes"], bytes)


@pytest.mark.parametrize("form", ["llava", "easyr1"])
def test_an_export_that_was_cut_short_goes_on(
    source: Path, llava: Path, easyr1: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    out, done = tmp_path / "out", []
    write = type(export.FORMATS[form]).write_part

    def dying(self: Any, folder: Path, *, number: int, rows: Iterable[StoredRow]) -> Mapping[str, int]:
        done.append(number)
        if len(done) == 2:
            next(iter(rows))
            raise KeyboardInterrupt
        return write(self, folder, number=number, rows=rows)

    monkeypatch.setattr(type(export.FORMATS[form]), "write_part", dying)
    with pytest.raises(KeyboardInterrupt):
        export_records(source, out=out, form=form)
    assert not out.exists()
    export_records(source, out=out, form=form)
    assert done == [0, 1, 1], "the first file is not exported again"
    assert listing(out) == listing({"llava": llava, "easyr1": easyr1}[form])
    assert not out.with_name("out.partial").exists()


def test_an_export_killed_between_its_end_and_its_name_is_finished(source: Path, llava: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_records(source, out=out, form="llava")
    out.rename(tmp_path / "out.partial")
    export_records(source, out=out, form="llava")
    assert listing(out) == listing(llava)


def test_an_export_made_before_is_left_alone(source: Path, llava: Path) -> None:
    before = (llava / "questions.json").stat().st_mtime_ns
    assert export_records(source, out=llava, form="llava").num_rows == 9
    assert (llava / "questions.json").stat().st_mtime_ns == before


def test_folders_of_something_else_are_refused(source: Path, llava: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds something else: give another out="):
        export_records(source, out=llava, form="easyr1")
    (tmp_path / "full").mkdir()
    with pytest.raises(ValueError, match="holds something else"):
        export_records(source, out=tmp_path / "full", form="llava")
    (tmp_path / "new.partial").mkdir()
    (tmp_path / "new.partial" / "settings.json").write_text('{"form": "llava", "files": []}')
    with pytest.raises(ValueError, match="the beginning of another export: remove it"):
        export_records(source, out=tmp_path / "new", form="llava")
    with pytest.raises(ValueError, match="unknown export format 'lava': did you mean 'llava'"):
        export_records(source, out=tmp_path / "other", form="lava")
    with pytest.raises(ValueError, match="no parquet file at"):
        export_records(tmp_path / "nowhere", out=tmp_path / "other", form="llava")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("answer", "mode"),
    [
        ("B", "multi_choices_score"),
        ("C. to the left", "multi_choices_score"),
        ("-0.35", "relaxed_score"),
        ("12 centimeters", "relaxed_score"),
        ("point-3", "vqa_score"),
        ("A, C, B", "relaxed_score"),
        ("the alphabet soup", "vqa_score"),
        ("<think>B would be wrong.</think>\nA", "multi_choices_score"),
    ],
)
def test_answers_find_their_reward(answer: str, mode: str) -> None:
    found = verifiable(answer, kind="mm_qa")
    assert found is not None
    assert found.modes == (mode,)
    assert "<think>" not in found.answer


def test_free_text_has_no_reward() -> None:
    assert verifiable("A bowl stands to the left of the milk.", kind="mm_qa") is None
    assert verifiable("", kind="mm_qa") is None


def test_the_verb_exports_and_says_so(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert qa.main(["export=easyr1", f"from={source}", f"out={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"6 questions as easyr1 in .*out, 1 unusable rows skipped, 1 left out \(free text\)", said)
    table = pq.read_table(tmp_path / "out" / "data" / "part-00000.parquet")
    assert np.all([source == "scannet" for source in table.column("data_source").to_pylist()])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["export=llava", "from=x"], "an export needs out=: give export=llava from=QUESTIONS out=FOLDER"),
        (["export=llava", "out=x"], "an export needs from="),
        (["from=y", "out=x"], "an export needs export="),
        (["export=llava", "from=y", "out=x", "seed=3"], "seed= has no meaning with export="),
        (["preview=x", "num_items=3"], "num_items= has no meaning with preview="),
        (["preview=x", "preview_items=0"], "preview_items 0 is too small"),
        (["preview=x", "preview_mib=0"], "preview_mib 0 is too small"),
    ],
)
def test_keys_that_do_not_go_together(argv: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        qa.main(argv)
