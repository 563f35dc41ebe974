"""vst-vla's backbones in lmms-eval: `lmms-eval eval --model vst_vla --model_args pretrained=FOLDER --tasks …`.

Installing both packages is enough: lmms-eval finds `manifest` by the entry point group `lmms_eval.models`
(https://github.com/EvolvingLMMs-Lab/lmms-eval, `models/registry_v2.py`). Nothing here imports lmms-eval before it asks.
"""
