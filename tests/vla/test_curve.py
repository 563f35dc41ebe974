"""The course of a run out of Trainer's log."""

import json

from vst_vla.vla.train.curve import training_curve


def test_a_curve_is_thinned_and_keeps_losses_and_rewards(tmp_path):
    history = [{"step": n, "loss": 2.0 - n / 100, "rewards/format/mean": 0.5, "grad_norm": 3.0} for n in range(1, 101)]
    history.append({"step": 100, "train_runtime": 12.0})
    (tmp_path / "checkpoint-100").mkdir()
    state = {"global_step": 100, "log_history": history}
    (tmp_path / "checkpoint-100" / "trainer_state.json").write_text(json.dumps(state))
    curve = training_curve(tmp_path, points=10)
    assert [row["step"] for row in curve] == list(range(1, 101, 10))
    assert curve[0] == {"step": 1, "loss": 1.99, "rewards/format/mean": 0.5}
    assert training_curve(tmp_path / "none") == []
