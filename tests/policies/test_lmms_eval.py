"""lmms-eval's plug-in, driven as its registry and evaluator drive it.

lmms-eval itself is not among the test dependencies, so the two names that the plug-in imports of it stand in here,
with the registry's own conditions (`models/registry_v2.py` and `api/model.py` of lmms-eval). The real one drives it in
tests/bench/lmms_eval_plugin.py.
"""

from __future__ import annotations

import abc
import gc
import importlib
import subprocess
import sys
import tomllib
import weakref
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vst_vla.envs.qa.encoding import encode_video
from vst_vla.policies.lmms_eval.chat import to_question
from vst_vla.vla.answering import Answerer, Asked
from vst_vla.vla.backbone import load_backbone

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
PICTURE = Image.fromarray(np.full((40, 90, 3), 200, np.uint8))


class Lmms(abc.ABC):
    is_simple = True

    def __init__(self):
        self._rank, self._world_size, self.task_dict, self.cached = 0, 1, {}, []
        self.cache_hook = SimpleNamespace(add_partial=lambda *entry: self.cached.append(entry))

    def clean(self):
        gc.collect()

    @property
    def rank(self):
        return self._rank

    @property
    def world_size(self):
        return self._world_size

    @abc.abstractmethod
    def loglikelihood(self, requests): ...

    @abc.abstractmethod
    def generate_until(self, requests): ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests): ...


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


@pytest.fixture(scope="module")
def model_class():
    """The class that the registry finds through pyproject's entry point, checked as it checks it."""
    modules = {name: ModuleType(name) for name in ("lmms_eval", "lmms_eval.api", "lmms_eval.models")}
    modules["lmms_eval.api.model"] = SimpleNamespace(lmms=Lmms)
    modules["lmms_eval.models.registry_v2"] = SimpleNamespace(ModelManifest=ModelManifest)
    (entry,) = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["lmms_eval.models"].items()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        payload = EntryPoint(name=entry[0], value=entry[1], group="lmms_eval.models").load()()
        assert isinstance(payload, ModelManifest)
        assert payload.model_id == "vst_vla"
        module, _, name = payload.chat_class_path.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        assert issubclass(found, Lmms)
        assert not found.is_simple
        yield found
        patch.delitem(sys.modules, module)


@pytest.fixture(scope="module")
def model(model_class):
    return model_class(pretrained="tiny", batch_size="2", device="cpu", max_pixels=12544)


def user(*content):
    return [{"role": "user", "content": list(content)}]


def text(words):
    return {"type": "text", "text": words}


def requests_for(model, documents, **settings):
    """Requests as lmms-eval's task builds them for a chat model."""
    model.task_dict = {"mmstar": {"val": documents}}
    arguments = [(f"context {n}", lambda doc: doc, settings, n, "mmstar", "val") for n in range(len(documents))]
    return [SimpleNamespace(args=entry) for entry in arguments]


def test_replies_are_the_backbones_in_the_order_asked(model):
    documents = [
        user({"type": "image", "url": PICTURE}, text("Which is left?")),
        user(text("First "), {"type": "image", "url": PICTURE}, text(" then?")),
        user(text("And without a picture?")),
    ]
    requests = requests_for(model, documents, max_new_tokens=6, temperature=0, until=["\n\n"])
    requests[1].args = (*requests[1].args[:2], {"max_new_tokens": 3}, *requests[1].args[3:])
    replies = model.generate_until(requests)
    backbone, picture = load_backbone("tiny"), np.asarray(PICTURE)
    asked = [("<image>Which is left?", [picture], 6), ("First <image> then?", [picture], 3)]
    for place, (prompt, pictures, length) in enumerate([*asked, ("And without a picture?", [], 6)]):
        alone = Answerer(backbone, max_new_tokens=length, max_pixels=12544)
        assert replies[place] == alone.answer([Asked(id="0", prompt=prompt, pictures=pictures)])[0]
    assert [entry[1][0] for entry in model.cached] == ["context 0", "context 1", "context 2"]
    assert [entry[2] for entry in model.cached] == replies


def test_reasoning_is_cut_off_before_a_task_sees_it(model_class, monkeypatch):
    thinking = model_class(pretrained="tiny", device="cpu", thinking=True, max_new_tokens=4)
    reply = ["<think>B or C?</think>\nA"]
    monkeypatch.setattr(Answerer, "answer", lambda self, questions: reply)
    assert thinking.generate_until(requests_for(thinking, [user(text("Which?"))])) == ["A"]
    reply[0] = "<think>never closed"
    assert thinking.generate_until(requests_for(thinking, [user(text("Which?"))])) == [""]
    with pytest.raises(ValueError, match=r"thinking=True needs room .*: give max_new_tokens=2048"):
        model_class(pretrained="tiny", thinking=True)


def test_videos_and_system_turns_and_what_cannot_be_asked(tmp_path):
    film = tmp_path / "film.mp4"
    film.write_bytes(encode_video([np.full((64, 64, 3), 20 * n, np.uint8) for n in range(8)], fps=4))
    system = {"role": "system", "content": [text("Be brief.")]}
    asked = to_question(
        [system, *user({"type": "video", "url": str(film)}, text("<image>What moves?"))], name="a-0", num_frames=3
    )
    assert asked.prompt == "Be brief.\n<image><image><image>What moves?"
    assert len(asked.pictures) == 3
    with pytest.raises(ValueError, match="'a-1' holds an assistant's turn: give --num_fewshot 0"):
        to_question([{"role": "assistant", "content": [text("A")]}], name="a-1", num_frames=3)
    for part in ({"type": "audio", "url": b""}, {"type": "image", "url": "none.png"}, {"type": "video", "url": [1]}):
        with pytest.raises(ValueError, match=f"'a-2' has a part of type {part['type']} as"):
            to_question(user(part), name="a-2", num_frames=3)


def test_other_kinds_of_requests_say_so(model):
    with pytest.raises(NotImplementedError, match="no likelihoods"):
        model.loglikelihood([])
    with pytest.raises(NotImplementedError, match="single questions"):
        model.generate_until_multi_round([])


def test_the_backbone_is_let_go_before_a_judge_starts(model_class):
    answered = model_class(pretrained="tiny", device="cpu")
    weights = weakref.ref(answered._backbone.model)
    answered.clean()
    assert weights() is None
    answered.clean()


def test_the_entry_point_imports_nothing_before_it_is_asked():
    code = "import sys, vst_vla.policies.lmms_eval.manifest as m\nassert not {'torch', 'lmms_eval'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
