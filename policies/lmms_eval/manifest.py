"""What lmms-eval's registry of models is told about this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest

MODEL_ID = "vst_vla"
MODEL_CLASS = "vst_vla.policies.lmms_eval.model.VstVla"


def manifest() -> ModelManifest:
    """The entry point's payload: a chat model's name and class, which the registry imports when it is asked for."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(model_id=MODEL_ID, chat_class_path=MODEL_CLASS)
