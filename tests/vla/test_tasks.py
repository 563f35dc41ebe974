"""Every task against cases worked by hand, and against replies that are no answers."""

import json

import pytest

from vst_vla.vla.tasks import TASKS
from vst_vla.vla.tasks.judge import make_judge

MILK = '{"bbox_3d": [0, 0, 1, 2, 2, 2, 0, 0, 0], "label": "milk"}'
HALF = '{"bbox_3d": [1, 0, 1, 2, 2, 2, 0, 0, 0], "label": "milk"}'  # overlaps MILK by a third
FAR = '{"bbox_3d": [9, 9, 9, 2, 2, 2, 0, 0, 0], "label": "cup"}'
THOUGHT = "<think>Is it A? No, C.</think>"


def boxes(*entries):
    return "```json\n[\n\t" + ",\n\t".join(entries) + "\n]\n```"


CASES = [
    ("multi_choices_score", "B", "B", 1),
    ("multi_choices_score", "(B) left", "B. left", 1),
    ("multi_choices_score", f"{THOUGHT}The answer is B.", "B", 1),
    ("multi_choices_score", "A cup stands there: B", "B", 1),  # the article is no letter
    ("multi_choices_score", "\\boxed{B}", "B", 1),
    ("multi_choices_score", "Because C", "B", 0),
    ("multi_choices_score", "b", "B", 1),  # the truth's own words in another case
    ("multi_choices_score", "BAD", "B", 0),
    ("multi_choices_score", "<think>B", "B", 0),  # reasoning that never closes
    ("vqa_score", "The two cups.", "2 cups", 1),
    ("vqa_score", "dont know", "don't know", 1),
    ("vqa_score", "1,000", "1000", 1),
    ("vqa_score", "left-front", "left front", 1),
    ("vqa_score", "left", "right", 0),
    ("relaxed_score", "105", "100", 1),
    ("relaxed_score", "105.1", "100", 0),
    ("relaxed_score", "-95", "-100", 1),
    ("relaxed_score", "5%", "0.05", 1),
    ("relaxed_score", "2021", "2022", 0),  # a year
    ("relaxed_score", "0.0", "0", 1),
    ("relaxed_score", "B, a, C", "B, A, C", 1),
    ("relaxed_score", "71 cm", "70 cm", 0),  # a text: only a graded task reads units
    ("anls_score", "house", "house", 1),
    ("anls_score", "horse", "House", 0.8),
    ("anls_score", "ab", "abcd", 0.5),
    ("anls_score", "hat", "house", 0),  # 2 of 5 in common
    ("mra_score", "100", "100", 1),
    ("mra_score", "110", "100", 0.9),  # misses the threshold 0.95 alone
    ("mra_score", "about 70 in all", "100", 0.5),
    ("mra_score", "150", "100", 0.1),
    ("mra_score", "151", "100", 0),
    ("mra_score", "three", "3", 1),
    ("mra_score", "0.71 m", "71 cm", 1),
    ("mra_score", "71", "71 cm", 1),
    ("mra_score", "-4", "4", 0),
    ("mra_score", "0", "0", 1),
    ("mra_score", "0.1", "0", 0),
    ("bbox3d", boxes(MILK, FAR), boxes(MILK, FAR), 1),
    ("bbox3d", boxes(FAR, MILK), boxes(MILK, FAR), 1),  # order does not count
    ("bbox3d", boxes(HALF), boxes(MILK), 0.5 / 3 + 0.5),
    ("bbox3d", boxes(MILK), boxes(MILK, FAR), 0.25 + 0.5 * 2 / 3),
    ("bbox3d", boxes(MILK, FAR), boxes(MILK), 0.5 + 0.5 * 2 / 3),
    ("bbox3d", boxes(FAR), boxes(MILK), 0),
    ("bbox3d", "[]", boxes(MILK), 0),
    ("bbox3d", f"{THOUGHT}<3dbbox>0, 0, 1, 2, 2, 2, 0, 0, 0</3dbbox>", boxes(MILK), 1),
    ("bbox3d", '[{"bbox_3d": [0, 0, 1, 0, 2, 2, 0, 0, 0], "label": "flat"}]', boxes(MILK), 0),
]


@pytest.mark.parametrize(("name", "reply", "truth", "score"), CASES)
def test_scores(name, reply, truth, score):
    task = TASKS[name]()
    assert task.score(reply, truth=truth) == pytest.approx(score, abs=1e-9)
    assert task.reward(reply, truth=truth)["accuracy"] == pytest.approx(score, abs=1e-9)


SCENE = {
    "objects": [{"id": "mug.1", "bbox": [0, 0, 10, 10]}, {"id": "plate.1", "bbox": [20, 0, 40, 20]}],
    "relationships": [{"subject": "mug.1", "predicate": "left of", "object": "plate.1"}],
}
GRAPH_TRUTH = json.dumps({"answer": "left", "width": 40, "height": 20, "scene": SCENE})


def graph_reply(scene=SCENE, answer="Left"):
    text = scene if isinstance(scene, str) else json.dumps(scene)
    return f"<observe>a table</observe><scene>{text}</scene>\n<think>so</think><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("reply", "terms"),
    [
        (graph_reply(), (1, 1, 1, 1)),
        (graph_reply(answer="right"), (1, 1, 0, 0)),  # where things are counts below a right answer only
        (graph_reply({"objects": SCENE["objects"][:1], "relationships": []}), (1, 0.35, 1, 0.5)),
        (graph_reply({"objects": [], "relationships": []}), (1, 0, 1, 0)),
        (graph_reply("{"), (0, 0, 0, 0)),
        (graph_reply({"objects": SCENE["objects"][:1] * 2}), (0, 0, 0, 0)),  # an id twice
        (graph_reply({"objects": [{"id": "mug", "bbox": [0, 0, 1, 1]}]}), (0, 0, 0, 0)),
        (graph_reply() + "<answer>left</answer>", (0, 0, 0, 0)),
        ("left", (0, 0, 0, 0)),
    ],
)
def test_scene_graph_pays_in_order(reply, terms):
    task = TASKS["scene_graph"]()
    found = task.reward(reply, truth=GRAPH_TRUTH)
    assert [found[name] for name in ("format", "count", "accuracy", "spatial")] == pytest.approx(terms)


def test_complete_iou_falls_with_distance_and_shape():
    from vst_vla.vla.tasks.scene_graph import ciou

    assert ciou([0, 0, 2, 2], [0, 0, 2, 2]) == 1
    assert ciou([0, 0, 1, 1], [2, 0, 3, 1]) == pytest.approx(-4 / 10)  # centres 2 apart, diagonal sqrt(10)
    # Half of the square: IoU 1/2, centres 1/2 apart of a diagonal sqrt(8), and another shape.
    shape = 4 / 3.141592653589793**2 * (0.7853981633974483 - 0.4636476090008061) ** 2
    assert ciou([0, 0, 1, 2], [0, 0, 2, 2]) == pytest.approx(0.5 - 0.25 / 8 - shape**2 / (0.5 + shape))
    assert ciou([1, 1, 0, 0], [0, 0, 1, 1]) == -1


NO_ANSWERS = [
    "",
    " ",
    "<think>",
    "</think>",
    "<think></think>",
    "\\boxed{",
    "\\boxed{}",
    "{" * 5000,
    "[" * 100_000,
    "nan",
    "-inf",
    "1e999",
    "[[1, 2]]",
    '[{"bbox_3d": [NaN, 0, 0, 0, 0, 0, 0, 0, 0], "label": "x"}]',
    '[{"bbox_3d": [1' + "0" * 400 + ', 0, 0, 1, 1, 1, 0, 0, 0], "label": "x"}]',
    '[{"bbox_3d": [1' + "0" * 5000 + ', 0, 0, 1, 1, 1, 0, 0, 0], "label": "x"}]',
    '[{"bbox_3d": [0, 0, 0], "label": "x"}]',
    '[{"bbox_3d": "x", "label": 3}]',
    "\ud800\x00é→",
    "```json\n```",
    graph_reply("[" * 100_000),
    graph_reply({"objects": [{"id": "a.1", "bbox": [10**500, 0, 0, 0]}]}),
]
TRUTHS = {
    "multi_choices_score": "B",
    "vqa_score": "milk",
    "relaxed_score": "42",
    "anls_score": "milk",
    "mra_score": "42",
    "bbox3d": boxes(MILK),
    "scene_graph": GRAPH_TRUTH,
}


@pytest.mark.parametrize("name", TRUTHS)
def test_what_is_no_answer_is_worth_nothing(name):
    for reply in NO_ANSWERS:
        assert TASKS[name]().score(reply, truth=TRUTHS[name]) == 0, reply[:40]


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("multi_choices_score", "Z"),
        ("vqa_score", " "),
        ("mra_score", "a lot"),
        ("bbox3d", "[]"),
        ("bbox3d", "milk"),
        ("scene_graph", "{}"),
        ("scene_graph", json.dumps({"answer": "left", "scene": SCENE})),  # no size
    ],
)
def test_a_truth_that_cannot_be_read_is_an_error(name, truth):
    with pytest.raises(ValueError, match=f"is no truth for {name}: ") as error:
        TASKS[name]().score("B", truth=truth)
    assert "\n" not in str(error.value)


def test_the_form_asks_for_one_thought_before_an_answer():
    task = TASKS["multi_choices_score"]()
    assert task.reward(f"{THOUGHT}B", truth="B") == {"format": 1, "accuracy": 1}
    for reply in ("B", f"{THOUGHT}", f"{THOUGHT}{THOUGHT}B", "</think><think>B", "<think>B"):
        assert not task.well_formed(reply), reply
    direct = TASKS["multi_choices_score"](thinking=False)
    assert direct.well_formed("B")
    assert direct.well_formed(f"{THOUGHT}B")
    for reply in ("", "<think>B", f"{THOUGHT}{THOUGHT}B"):
        assert not direct.well_formed(reply), reply


def test_boxes_are_well_formed_without_a_thought():
    task = TASKS["bbox3d"]()
    assert task.well_formed(boxes(MILK))
    assert not task.well_formed("the milk")
    assert not TASKS["bbox3d"](thinking=True).well_formed(boxes(MILK))


def test_the_best_of_several_tasks_counts():
    judge = make_judge(["anls_score", "relaxed_score"], truth="100")
    assert judge.thinking
    assert judge.score("103") == 1  # the relaxed one; spelled, it is a third off
    assert judge.verdict(f"{THOUGHT}103").reward == 1
    assert judge.verdict("103").reward == 0.5
    assert judge.verdict("103").terms == {"format": 0, "accuracy": 1}
    assert not make_judge(["vqa_score"], truth="milk", thinking=False).thinking
    assert not make_judge(["bbox3d"], truth=boxes(MILK)).thinking


def test_a_judge_needs_a_known_task_and_a_truth_of_its_kind():
    with pytest.raises(ValueError, match="unknown task 'multi_choice_score': did you mean 'multi_choices_score'"):
        make_judge(["multi_choice_score"], truth="B")
    with pytest.raises(ValueError, match="'Z' is no truth for multi_choices_score"):
        make_judge(["multi_choices_score"], truth="Z")
    with pytest.raises(ValueError, match="no task to judge 'B' by"):
        make_judge([], truth="B")


def test_mathematics():
    task = TASKS["math_score"]()
    for reply, truth, score in [
        ("<think>2</think>\\boxed{\\frac{1}{2}}", "0.5", 1),
        ("The answer is $x^2+2x+1$.", "(x+1)^2", 1),
        ("3", "4", 0),
        ("", "4", 0),
    ]:
        assert task.score(reply, truth=truth) == score
