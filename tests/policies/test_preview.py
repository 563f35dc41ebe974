"""The preview: real datasets in both storages, read off the page again, and every bad input."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from html_page import Page
from PIL import Image

from vst_vla.policies import preview
from vst_vla.policies.preview import write_preview
from vst_vla.policies.preview_data import read_numbers
from vst_vla.policies.preview_pictures import read_pictures
from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, Array
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset

NAMES = {STATE_KEY: LIBERO_STATE.names, ACTION_KEY: LIBERO_ACTION.names}
TASKS = ("put the <b>soup</b> in the basket", "open the drawer")
LENGTHS = (24, 30, 26, 28, 22)
NO_OPS = 2  # in every episode


def png(picture: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def pictures(number: int, length: int) -> list[Array]:
    """A bright square that moves over a ground whose grey tells the episode."""
    frames = np.full((length, 48, 64, 3), 20 + 40 * number, np.uint8)
    for t in range(length):
        frames[t, 10:30, t : t + 16] = (240, 200, 40)
    return list(frames)


def vectors(number: int, length: int) -> dict[str, Array]:
    rng = np.random.default_rng(number)
    actions = rng.uniform(-0.9, 0.9, (length, 7)).astype(np.float32)
    actions[:, 6] = np.where(np.arange(length) < length // 2, -1, 1)
    actions[3 : 3 + NO_OPS, :6] = 0
    states = np.cumsum(rng.uniform(0.005, 0.01, (length, 8)), axis=0).astype(np.float32)
    return {STATE_KEY: states, ACTION_KEY: actions}


def made() -> dict[str, Any]:
    lines = [{"init_state": 20 + i, "tries": 1 + (i == 1), "frames": n} for i, n in enumerate(LENGTHS)]
    lines[2]["variation"] = {"layout": {"moved": "soup & salad"}}
    return {"suite": "libero_object", "assets": "placeholder", "seed": 3, "episodes": lines}


def write(folder: Path, *, video: bool = False, lengths: tuple[int, ...] = LENGTHS) -> Path:
    episodes = [
        Episode(
            task=TASKS[number % 2],
            vectors=vectors(number, length),
            images={key: [png(p) for p in pictures(number, length)] for key in IMAGE_KEYS},
        )
        for number, length in enumerate(lengths)
    ]
    write_dataset(
        folder, episodes, fps=20, robot_type="panda", names=NAMES, video=video, extra={"vst_vla.json": made()}
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("preview") / "demos")


@pytest.fixture(scope="module")
def filmed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("preview") / "filmed", video=True, lengths=LENGTHS[:3])


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    before = sorted(folder.rglob("*"))
    path = write_preview(folder)
    assert path == folder.with_name("demos-preview.html")
    assert sorted(folder.rglob("*")) == before, "nothing is written into the dataset"
    return Page(path)


def test_page_is_one_file_without_script(page: Page) -> None:
    addresses = [
        value for _, attrs in page.tags for key, value in attrs.items() if key in {"src", "href", "srcset", "poster"}
    ]
    assert addresses
    assert all(address.startswith(("data:image/jpeg;", "data:video/mp4;", "#task-")) for address in addresses)
    assert not re.search(r"https?://|url\(|@import", re.sub(r"base64,[^\"]+", "", page.source))
    assert not {"script", "b", "link"} & {name for name, _ in page.tags}


def test_page_says_what_the_dataset_is(page: Page) -> None:
    for part in ("5 episodes of 2 tasks", TASKS[0], "130, 0.1 min", "64 x 48 px, image", "7 numbers", "panda"):
        assert part in page.text
    assert "5 of 6 attempts (83%)" in page.text
    assert f"{5 * NO_OPS / 130:.1%}" in page.text
    assert "No warnings: 11 checks found nothing." in page.text
    assert ["2", "26", "1.3 s", "2", "22", "1", 'layout: {"moved": "soup & salad"}'] in page.rows


def test_statistics_are_those_of_the_data(page: Page) -> None:
    actions = np.concatenate([vectors(i, n)[ACTION_KEY] for i, n in enumerate(LENGTHS)]).astype(np.float64)
    for i, name in enumerate(LIBERO_ACTION.names):
        row = next(row for row in page.rows if row[:1] == [f"action {name}"])
        column = actions[:, i]
        wanted = [column.min(), np.quantile(column, 0.01), column.mean(), np.quantile(column, 0.99), column.max()]
        np.testing.assert_allclose([float(cell) for cell in row[1:6]], wanted, rtol=2e-3)
        assert row[6] == ("" if name == "gripper" else "0.0%")


def test_histograms_count_every_frame(page: Page) -> None:
    drawings = page.source.split('<svg class="histogram"')[1:]
    assert len(drawings) == 1 + LIBERO_ACTION.dim
    counts = [sum(map(int, re.findall(r": (\d+)</title>", drawing.split("</svg>")[0]))) for drawing in drawings]
    assert counts == [len(LENGTHS)] + [sum(LENGTHS)] * LIBERO_ACTION.dim


def test_films_and_sheets_show_the_episodes(page: Page) -> None:
    films, sheets = page.files("video"), page.files("img")
    assert len(films) == len(sheets) == 5
    for film, sheet, length in zip(films, sheets, (24, 26, 22, 30, 28), strict=True):
        with av.open(io.BytesIO(film)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert container.streams.video[0].codec_context.name == "h264"
        assert len(frames) == length
        assert frames[0].shape == (48, 128, 3)
        assert Image.open(io.BytesIO(sheet)).size == (3 * 66 - 2, 2 * 50 - 2)
    start, middle = (np.asarray(Image.open(io.BytesIO(sheets[0])))[20, x] for x in (8, 66 + 20))
    for shown in (start, middle):
        np.testing.assert_allclose(shown, (240, 200, 40), atol=20)


def test_sections_of_tasks_open_by_keyboard(page: Page) -> None:
    assert page.count("details") == page.count("summary") == 2
    assert all("controls" in attrs and attrs["aria-label"] for name, attrs in page.tags if name == "video")
    assert all(attrs["alt"] for name, attrs in page.tags if name == "img")
    assert "prefers-color-scheme: dark" in page.source


def test_pictures_of_videos_are_those_recorded(filmed_folder: Path) -> None:
    numbers = read_numbers(filmed_folder)
    for number, episode in enumerate(numbers.episodes):
        found = read_pictures(numbers, episode, camera=IMAGE_KEYS[1], side=64)
        wanted = np.stack(pictures(number, LENGTHS[number]))
        assert found.shape == wanted.shape
        assert np.abs(found.astype(int) - wanted).mean(axis=(1, 2, 3)).max() < 6


def test_a_dataset_of_videos_has_the_same_page(filmed_folder: Path, tmp_path: Path) -> None:
    page = Page(write_preview(filmed_folder, out=tmp_path / "sub" / "page.html"))
    assert "64 x 48 px, video" in page.text
    assert "No warnings" in page.text
    assert len(page.files("video")) == 3


def test_pictures_that_do_not_fit_are_left_out_and_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_preview(folder, out=tmp_path / "whole.html").stat().st_size
    limit = 20_000
    monkeypatch.setattr(preview, "PICTURE_LIMIT", limit)
    page = Page(write_preview(folder, out=tmp_path / "page.html"))
    spent = sum(len(attrs["src"]) for name, attrs in page.tags if name in {"img", "video"})
    assert 0 < spent <= limit + 100 * page.count("img")
    assert len(page.source) < whole
    assert 0 < len(page.files("video")) < 5
    assert "the film would make the page too large" in page.text
    assert f"5 of 5 episodes in 2 of 2 tasks, evenly chosen, made smaller and compressed; {page.count('video')}" in (
        page.text
    )


def test_a_few_episodes_and_tasks_stand_for_many(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "EPISODES", 2)
    monkeypatch.setattr(preview, "PICTURED_TASKS", 1)
    page = Page(write_preview(folder, out=tmp_path / "page.html"))
    assert [attrs["aria-label"] for name, attrs in page.tags if name == "video"] == ["episode 0", "episode 4"]
    assert "2 of 5 episodes in 1 of 2 tasks" in page.text
    assert "No pictures of this task are shown." in page.text


def test_larger_pictures_are_made_smaller(folder: Path) -> None:
    numbers = read_numbers(folder)
    found = read_pictures(numbers, numbers.episodes[1], camera=IMAGE_KEYS[0], side=32)
    assert found.shape == (30, 24, 32, 3)


def test_dropped_replays_count_as_attempts(copy: Path) -> None:
    (copy / "meta" / "vst_vla.json").write_text(json.dumps(made() | {"dropped": 4}))
    page = Page(write_preview(copy))
    assert page.text.count("attempts (") == 1  # nobody says which tasks they were of
    assert "5 of 10 attempts (50%)" in page.text


def replace_pictures(folder: Path, frames: dict[int, bytes]) -> None:
    """Puts other bytes into the first camera's cells of the dataset's only file."""
    path = folder / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    cells = table[IMAGE_KEYS[0]].to_pylist()
    for index, content in frames.items():
        cells[index] = {"bytes": content, "path": None}
    at = table.column_names.index(IMAGE_KEYS[0])
    field = table.schema.field(IMAGE_KEYS[0])
    pq.write_table(table.set_column(at, field, pa.array(cells, type=field.type)), path)


def test_a_camera_that_stands_still_is_a_warning(copy: Path) -> None:
    still = png(pictures(0, 1)[0])
    replace_pictures(copy, dict.fromkeys(range(LENGTHS[0]), still))
    page = Page(write_preview(copy))
    assert (
        "Frozen pictures: the picture stands still while the hand moves: "
        f"14 frames of {IMAGE_KEYS[0]} in episode 0." in page.text
    )
    assert "1 warning" in page.text


def test_a_damaged_picture_is_named(copy: Path) -> None:
    replace_pictures(copy, {5: b"\x89PNG broken"})
    with pytest.raises(ValueError, match=r"row 5 of '.*file-000.parquet' has a picture that cannot be decoded"):
        write_preview(copy)
    assert not list(copy.parent.glob("*.html"))


def test_a_damaged_video_is_named(filmed_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(filmed_folder, tmp_path / "copy"))
    path = copy / "videos" / IMAGE_KEYS[0] / "chunk-000" / "file-000.mp4"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"file-000.mp4' cannot be decoded"):
        write_preview(copy)
    path.unlink()
    with pytest.raises(ValueError, match=r"file-000.mp4' is missing"):
        write_preview(copy)


def test_folders_that_are_no_dataset(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no LeRobot dataset: meta/info.json is missing"):
        write_preview(tmp_path / "nowhere")
    info, stats = copy / "meta" / "info.json", copy / "meta" / "stats.json"
    said = json.loads(info.read_text())
    stats.write_text("{")
    with pytest.raises(ValueError, match=r"stats.json' is not JSON"):
        write_preview(copy)
    info.write_text(json.dumps(said | {"codebase_version": "v1.6"}))
    with pytest.raises(ValueError, match=r"LeRobot format v1.6, expected v3.0"):
        write_preview(copy)
    del said["features"][ACTION_KEY]
    info.write_text(json.dumps(said))
    with pytest.raises(ValueError, match=r"no 'action', found .*observation\.state, "):
        write_preview(copy)


def test_an_empty_or_damaged_dataset(copy: Path) -> None:
    path = copy / "data" / "chunk-000" / "file-000.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, LENGTHS[0]), path)
    with pytest.raises(ValueError, match=r"file-000.parquet' holds no frame of episode 1"):
        write_preview(copy)
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(ValueError, match="holds no frame: the dataset is empty"):
        write_preview(copy)
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match=r"file-000.parquet' is no parquet file"):
        write_preview(copy)
    path.unlink()
    with pytest.raises(ValueError, match=r"file-000.parquet' is missing"):
        write_preview(copy)


def as_published(folder: Path, target: Path) -> Path:
    """The dataset in format v2.0 with the column names of physical-intelligence/libero."""
    names = dict(zip((*IMAGE_KEYS, STATE_KEY, ACTION_KEY), ("image", "wrist_image", "state", "actions"), strict=True))
    info = json.loads((folder / "meta" / "info.json").read_text())
    info["features"] = {names.get(key, key): value for key, value in info["features"].items()}
    place = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    table = pq.read_table(folder / "data" / "chunk-000" / "file-000.parquet")
    table = table.rename_columns([names.get(key, key) for key in table.column_names])
    (target / "data" / "chunk-000").mkdir(parents=True)
    (target / "meta").mkdir()
    for index, start in enumerate(np.cumsum([0, *LENGTHS[:-1]])):
        part = table.slice(start, LENGTHS[index])
        pq.write_table(part, target / place.format(episode_chunk=0, episode_index=index))
    lines = [json.dumps({"episode_index": i, "length": n}) for i, n in enumerate(LENGTHS)]
    (target / "meta" / "episodes.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"task_index": i, "task": task}) for i, task in enumerate(TASKS)]
    (target / "meta" / "tasks.jsonl").write_text("\n".join(lines))
    said = info | {"codebase_version": "v2.0", "data_path": place, "fps": 10, "chunks_size": 1000}
    (target / "meta" / "info.json").write_text(json.dumps(said))
    return target


def test_an_older_published_layout(folder: Path, tmp_path: Path) -> None:
    page = Page(write_preview(as_published(folder, tmp_path / "published")))
    assert "LeRobot v2.0" in page.text
    assert "Frame rate: info.json says 10 frames a second, LIBERO runs at 20." in page.text
    assert len(page.files("video")) == 5
    assert [row[:2] for row in page.rows if row[:1] == ["2"]] == [["2", "26"]]
    assert "attempts" not in page.text


def test_out_must_be_a_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder, expected a file: give out=.*preview.html"):
        write_preview(folder, out=tmp_path)
