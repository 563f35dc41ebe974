"""The parallel L1 head and the table of heads."""

import pytest
import torch

from vst_vla.vla.heads import Sizes, make_head
from vst_vla.vla.heads.parallel import ParallelHead

SIZES = Sizes(hidden=16, action=7, state=8)


def _head(**options):
    torch.manual_seed(0)
    return ParallelHead(sizes=SIZES, chunk=4, **options)


class Prompts:
    """Prompts whose states at the slots are known."""

    def __init__(self, hidden):
        self.hidden, self.batch_size, self.state = hidden, len(hidden), torch.zeros(len(hidden), 8)

    def read(self, slots):
        assert slots.shape == self.hidden.shape
        return self.hidden


def test_slots_are_the_state_then_the_queries():
    head = _head()
    slots = head.slots(torch.randn(3, 8), batch_size=3)
    assert slots.shape == (3, head.num_slots, 16) == (3, 5, 16)
    assert torch.equal(slots[0, 1:], head.queries)
    assert not torch.equal(slots[0, 0], slots[1, 0])


def test_without_a_state_there_are_only_queries():
    head = ParallelHead(sizes=Sizes(hidden=16, action=7), chunk=4)
    assert head.slots(None, batch_size=2).shape == (2, 4, 16)


def test_a_missing_state_is_an_error():
    with pytest.raises(ValueError, match="add 'state'"):
        _head().slots(None, batch_size=2)


def test_padded_steps_do_not_count():
    head, prompts = _head(), Prompts(torch.randn(2, 5, 16))
    actions = torch.randn(2, 4, 7)
    padding = torch.tensor([[False, False, True, True], [False, True, True, True]])
    loss = head.loss(prompts, actions=actions, action_is_pad=padding)["loss"]
    error = (head.predict(prompts) - actions).abs()[~padding]
    torch.testing.assert_close(loss, error.mean())
    actions[padding] = 1e6
    torch.testing.assert_close(head.loss(prompts, actions=actions, action_is_pad=padding)["loss"], loss)


def test_an_all_padded_batch_has_zero_loss_not_nan():
    prompts, padding = Prompts(torch.randn(1, 5, 16)), torch.ones(1, 4).bool()
    loss = _head().loss(prompts, actions=torch.ones(1, 4, 7), action_is_pad=padding)
    assert loss["loss"].item() == 0.0


def test_half_precision_states_give_float32_actions():
    assert _head().predict(Prompts(torch.randn(1, 5, 16, dtype=torch.bfloat16))).dtype == torch.float32


def test_every_query_reaches_its_own_action_step():
    head, hidden = _head(), torch.randn(1, 5, 16, requires_grad=True)
    head.predict(Prompts(hidden))[0, 2].sum().backward()
    assert hidden.grad[0].abs().sum(-1).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"chunk": 8}, "no 'name'"),
        ({"name": "paralel"}, "did you mean 'parallel'"),
        ({"name": "parallel", "chunks": 8}, "did you mean 'chunk'"),
        ({"name": "parallel", "chunk": 0}, "at least 1"),
    ],
)
def test_bad_head_configs(config, message):
    with pytest.raises(ValueError, match=message):
        make_head(config, sizes=SIZES)
