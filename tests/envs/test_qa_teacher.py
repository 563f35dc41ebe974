"""Teachers behind a real HTTP server: what is kept, dropped and counted, how failures are told. Bird's-eye views."""

import base64
import dataclasses
import io
import json
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import FAMILIES, make_family
from vst_vla.envs.qa.bird_view import SIZE, bird_view
from vst_vla.envs.qa.generate import make_qa
from vst_vla.envs.qa.layout import layout_of
from vst_vla.envs.qa.lesson import FIRST_REPLIES, MOST_SILENT, Lesson
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.envs.qa.teacher import Teacher
from vst_vla.envs.qa.teacher_reply import judge
from vst_vla.scripts import qa as qa_script
from vst_vla.scripts.config import compose
from vst_vla.vla.data.records import SpatialRecords

pytestmark = pytest.mark.sim
THOUGHT = "The can stands left of the box in both pictures, so it is on that side."


@pytest.fixture(scope="module")
def scene():
    stage = Stage("libero_object", task_id=0, assets=find_assets("libero_object"))
    shot = Shot(cameras=("agentview",), extra_views=2, image_size=64, mirror=True, init_states=(20,))
    made = stage.rearranged(shot, rng=np.random.default_rng(4))
    stage.close()
    return made


@pytest.fixture
def items(scene):
    family, rng = make_family("reason_single"), np.random.default_rng(0)
    return family(scene, count=40, rng=rng)


@contextmanager
def teacher_server(reply):
    """A server that answers request n with `reply(question, n)`: a text, (status, text), bytes, or seconds of sleep."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send(404, b"nothing here")

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
            said = reply(body["messages"][1]["content"][-1]["text"], len(requests) - 1)
            if isinstance(said, float):
                time.sleep(said)
                said = ""
            status, said = said if isinstance(said, tuple) else (200, said)
            if isinstance(said, str):
                said = json.dumps({"choices": [{"message": {"role": "assistant", "content": said}}]}).encode()
            self.send(status, said)

        def send(self, status, body):
            try:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client has given up, as it should

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()


def taught_by(url, **options):
    return Teacher(**({"url": url, "model": "big", "retries": 0, "backoff_s": 0.01, "parallel": 1} | options))


def truth(item):
    return item.answer.rpartition("</think>")[2]


def good(item):
    return f"<think>{THOUGHT}</think>{truth(item)}"


def test_only_a_right_reply_is_kept_and_the_rest_is_counted(scene, items):
    items = items[:8]
    replies = [
        good(items[0]),
        f"<think>{THOUGHT}</think>no idea",
        truth(items[2]),
        b"<html>not JSON</html>",
        (500, "overloaded"),
        4.0,
        f"<think>As the bird's-eye view shows, it is left.</think>{truth(items[6])}",
        f"\n<think>\n{THOUGHT}\n</think>\n\n{truth(items[7])}.",
    ]
    with teacher_server(lambda question, n: replies[n]) as (url, requests):
        lesson = Lesson(taught_by(url, timeout_s=2.0))
        taught = lesson.teach(items, scene=scene)
    assert [i.question for i in taught.kept] == [items[0].question, items[7].question]
    assert [i.question for i in taught.dropped] == [i.question for i in items[1:7]]
    assert all(new.answer == good(old) for new, old in zip(taught.kept, (items[0], items[7]), strict=True))
    assert all(item.about["teacher"] for item in taught.kept)
    assert lesson.counts == {
        "right": 2,
        "wrong": 1,
        "malformed": 2,
        "no reply": 1,
        "timed out": 1,
        "speaks of the map": 1,
    }
    assert len(requests) == 8


def test_a_failing_server_is_asked_again_with_pauses(scene, items):
    item, times = items[0], []

    def reply(question, n):
        times.append(time.monotonic())
        return [(503, "warming up"), (429, "slow down"), 4.0, good(item)][n]

    with teacher_server(reply) as (url, _):
        lesson = Lesson(taught_by(url, timeout_s=2.0, retries=3, backoff_s=0.1))
        assert len(lesson.teach([item], scene=scene).kept) == 1
    assert lesson.counts == {"right": 1}
    pauses = np.diff(times)
    assert pauses[0] >= 0.1
    assert pauses[1] >= 0.2
    assert pauses[2] >= 2.0 + 0.4


def test_questions_are_asked_in_parallel_and_keep_their_order(scene, items):
    items = items[:6]
    by_question = {item.question: item for item in items}
    together = threading.Barrier(len(items))

    def reply(question, n):
        together.wait(timeout=60)  # breaks unless all of them are asked at the same time
        return good(by_question[question.removeprefix("Question: ")])

    with teacher_server(reply) as (url, _):
        taught = Lesson(taught_by(url, parallel=6)).teach(items, scene=scene)
    assert [i.question for i in taught.kept] == [i.question for i in items]


def test_a_teacher_sees_views_map_and_places_and_nothing_secret_is_kept(scene, items, monkeypatch):
    monkeypatch.setenv("VST_VLA_TEACHER_KEY", "sesame")
    item = items[0]
    with teacher_server(lambda question, n: good(item)) as (url, requests):
        kept = Lesson(taught_by(url)).teach([item], scene=scene).kept[0]
    (request,) = requests
    assert (request["path"], request["key"], request["model"]) == ("/v1/chat/completions", "Bearer sesame", "big")
    parts = request["messages"][1]["content"]
    pictures = [part["image_url"]["url"].partition(",")[2] for part in parts if part["type"] == "image_url"]
    shown = [np.asarray(Image.open(io.BytesIO(base64.b64decode(picture)))) for picture in pictures]
    assert len(shown) == 2
    assert np.array_equal(shown[0], item.images[0])
    assert np.array_equal(shown[1], bird_view(layout_of(item.about, scene=scene)))
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    for name in item.about["mapped"]:
        number = scene.names.index(name)
        (x, y, box) = re.search(
            rf"- the {scene.categories[number]}: \((\S+), (\S+)\), box of (.+) m, shown in picture 1", text
        ).groups()
        sides = [float(side) for side in box.split(" x ")]
        assert sides == pytest.approx(2 * scene.half_extents[number], abs=0.0051)
        eye = np.linalg.inv(scene.world_to_camera[scene.cameras.index(item.about["cameras"][0])])[:3, 3]
        away = scene.poses[number, :2, 3] - eye[:2]
        assert np.hypot(float(x), float(y)) == pytest.approx(np.hypot(*away), abs=0.008)
    assert text.endswith(f"Question: {item.question}")
    assert truth(item) not in request["messages"][0]["content"].split()
    assert len(kept.images) == 1
    assert "sesame" not in repr(kept)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (
            (401, "bad key"),
            r"refuses \(HTTP 401 .*\): check teacher.url, teacher.model and the key in VST_VLA_TEACHER_KEY",
        ),
        ((404, "no such model"), r"refuses \(HTTP 404 "),
    ],
)
@pytest.mark.alone  # beside other tests the one that stops them may come late
def test_a_refusal_stops_at_once(scene, items, reply, message):
    with (
        teacher_server(lambda question, n: reply) as (url, requests),
        pytest.raises(ValueError, match=message) as raised,
    ):
        Lesson(taught_by(url, retries=3)).teach(items, scene=scene)
    assert len(requests) < 5
    assert "\n" not in str(raised.value)


def test_a_silent_or_hopeless_teacher_is_given_up(scene, items):
    with teacher_server(lambda question, n: (500, "broken")) as (url, requests):
        with pytest.raises(OSError, match=rf"left {MOST_SILENT} questions in a row without a reply \(no reply 8\)"):
            Lesson(taught_by(url, parallel=4)).teach(items, scene=scene)
        assert MOST_SILENT <= len(requests) < len(items)
    many = (items * FIRST_REPLIES)[: FIRST_REPLIES + 4]
    hopeless = pytest.raises(ValueError, match=rf"was never right \(malformed {FIRST_REPLIES}\): choose another")
    with teacher_server(lambda question, n: "whatever") as (url, _), hopeless:
        Lesson(taught_by(url, parallel=8)).teach(many, scene=scene)


def reply_kinds(item):
    yes = truth(item)
    return [
        (f"<think>a</think>{yes}", "right"),
        (f"<think>a</think> **{yes}**.", "right"),
        (f"<think>a</think>{yes}. {item.words}", "right"),
        (f"<think>a</think>({yes})", "right"),
        (f"<think>a</think>{yes}. something else", "wrong"),
        (f"<think>a</think>not {yes}", "wrong"),
        (f"<think></think>{yes}", "malformed"),
        ("<think>a</think>", "malformed"),
        (f"<think>a</think><think>b</think>{yes}", "malformed"),
        (f"well <think>a</think>{yes}", "malformed"),
        (f"<think>a{yes}", "malformed"),
        ("", "malformed"),
    ]


def test_replies_are_judged(items):
    item = next(item for item in items if len(truth(item)) == 1)
    for text, kind in reply_kinds(item):
        assert judge(text, item=item).kind == kind, text
    other = "B" if truth(item) == "A" else "A"
    assert judge(f"<think>a</think>{other}. {item.words}", item=item).kind == "wrong"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, "teacher.url 'localhost:8000' is no web address"),
        ({"model": ""}, "teacher.model is empty"),
        ({"timeout_s": 0}, "teacher.timeout_s 0 is out of range"),
        ({"parallel": 0}, "teacher.parallel 0 is out of range"),
        ({"retries": -1}, "teacher.retries -1 is out of range"),
        ({"parallel": 1.5}, "teacher.parallel 1.5 is out of range: give a whole number"),
        ({"timeout_s": "long"}, "teacher.timeout_s long is out of range: give a number"),
    ],
)
def test_bad_teachers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Teacher(**({"url": "http://localhost:1/v1", "model": "m"} | options))


SET = {
    "mixture": {"reason_single": 1.0},
    "task_ids": [0],
    "num_items": 3,
    "image_size": 64,
    "extra_views": 1,
    "num_workers": 1,
    "progress": False,
}


def test_an_address_that_nobody_answers_is_told_before_anything_is_written(tmp_path):
    with teacher_server(lambda question, n: "") as (url, _):
        pass  # closed again: nobody listens there any more
    with pytest.raises(OSError, match=rf"no teacher answers at {url} \(.+\): start it, or mend teacher.url") as raised:
        make_qa(tmp_path / "out", **SET, teacher=taught_by(url))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"teacher.model=m has no address: give teacher.url= too"):
        qa_script.main([f"out={tmp_path / 'out'}", "teacher.model=m"])
    with pytest.raises(ValueError, match=r"no family reasons: give mixture=vst_r"):
        make_qa(tmp_path / "out", **(SET | {"mixture": {"detection": 1}}), bird_views=True)


def answered(question, n):
    """Letters by turns, numbers never: a teacher that is right now and then."""
    return f"<think>{THOUGHT}</think>{'ABCD'[n % 4]}"


def test_a_taught_dataset_has_the_teachers_thoughts_and_resumes(tmp_path):
    with teacher_server(answered) as (url, requests):
        teacher = taught_by(url, parallel=2)
        manifest = make_qa(tmp_path / "out", **SET, bird_views=True, teacher=teacher)
        asked = len(requests)
        assert make_qa(tmp_path / "out", **SET, bird_views=True, teacher=teacher) == manifest
        assert len(requests) == asked
        with pytest.raises(ValueError, match="made with teacher=big, not other"):
            make_qa(tmp_path / "out", **SET, bird_views=True, teacher=dataclasses.replace(teacher, model="other"))
    assert manifest["teacher"]["right"] >= 3
    assert sum(manifest["teacher"].values()) == asked
    assert manifest["settings"]["teacher"] == "big"
    assert url not in json.dumps(manifest)
    records = list(SpatialRecords(tmp_path / "out"))
    assert len(records) == 3
    assert all(r["conversations"][1]["value"].startswith(f"<think>{THOUGHT}</think>") for r in records)
    assert Counter(r["type"] for r in records) == {"thought_mm_qa": 3}
    (path,) = (tmp_path / "out").glob("*.parquet")
    drawings = pq.read_table(path).column("bird_view").to_pylist()
    sizes = {Image.open(io.BytesIO(drawing["bytes"])).size for drawing in drawings}
    assert sizes == {(SIZE, SIZE)}


def test_the_default_mixture_is_all_of_vst():
    mixtures = {name: compose("qa", [f"mixture={name}"])["mixture"] for name in ("vst", "vst_p", "vst_r", "vst_r_rl")}
    assert mixtures["vst"] == mixtures["vst_p"] | mixtures["vst_r"] == compose("qa", [])["mixture"]
    assert len(mixtures["vst"]) == 19 + 4
    assert set(mixtures["vst_r"]) == set(mixtures["vst_r_rl"]) == {n for n in FAMILIES if n.startswith("reason_")}
    assert set(mixtures["vst"]) <= set(FAMILIES)


def test_a_bird_view_shows_objects_where_they_are(scene):
    rng, family = np.random.default_rng(1), make_family("reason_camera_relation")
    for item in family(scene, count=4, rng=rng):
        layout = layout_of(item.about, scene=scene)
        drawing = bird_view(layout)
        assert drawing.shape == (SIZE, SIZE, 3)
        assert np.array_equal(drawing, bird_view(layout_of(item.about, scene=scene)))
        eye, ahead = (np.linalg.inv(layout.views[0].world_to_camera)[:2, column] for column in (3, 2))
        right = np.array([ahead[1], -ahead[0]])
        spots, middles = [], []
        for place, number in enumerate(layout.numbers):
            away = scene.poses[number, :2, 3] - eye
            rows, columns = np.nonzero((drawing == FILLS[place]).all(axis=-1))
            if len(rows) > 30:
                spots.append(np.array([right @ away, ahead @ away]) / np.linalg.norm(ahead))
                middles.append((columns.mean(), -rows.mean()))
        # One scale for both axes, no turn: distances in the drawing are those of the scene.
        steps, drawn = (np.diff(np.array(values), axis=0) for values in (spots, middles))
        scale = (steps * drawn).sum() / (steps * steps).sum()
        assert len(steps) >= 3
        np.testing.assert_allclose(drawn, scale * steps, atol=14)
    moved = dataclasses.replace(scene, poses=scene.poses + np.array([[0, 0, 0, 0.05]] + 3 * [[0] * 4]))
    assert not np.array_equal(drawing, bird_view(layout_of(item.about, scene=moved)))


FILLS = [(158, 202, 225), (253, 208, 162), (161, 217, 155), (218, 182, 222), (255, 237, 140), (200, 200, 200)]
