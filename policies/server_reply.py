"""What every policy server does before it listens and before it answers: warm up, check a reply, word a refusal."""

from __future__ import annotations

import logging

from vst_vla.policies.server_metrics import ServerMetrics
from vst_vla.policies.server_request import PolicyNeeds
from vst_vla.vla.contracts import ActionSpec, Array, Policy

log = logging.getLogger(__name__)

WARM_UP_RUNS = 2


def warm_up(policy: Policy, *, needs: PolicyNeeds) -> None:
    """Asks the policy with a blank observation, so that one that does not run is never served.

    Raises:
        ValueError: its actions are not finite or out of range; whatever the policy raises comes through.
    """
    blank = needs.blank(image_size=224)
    for _ in range(WARM_UP_RUNS):
        (reply,) = policy.infer_batch([blank])
    needs.action.check(reply["actions"])


def check_reply(actions: Array, *, spec: ActionSpec) -> None:
    """Raises RuntimeError unless the actions may be sent; `spec.check` is asked only when something seems wrong."""
    if actions.ndim == 2 and actions.shape[1] == spec.dim and actions.min() >= spec.low and actions.max() <= spec.high:
        return
    try:
        spec.check(actions)
    except ValueError as error:
        raise RuntimeError(f"its reply cannot be sent: {error}") from error


def explain(error: Exception, *, peer: str, metrics: ServerMetrics, seconds: float) -> str:
    """One line for the client; counted and logged here, with its traceback when it is not the client's mistake."""
    mistake = isinstance(error, ValueError)
    text = str(error) if mistake else f"the policy failed: {type(error).__name__}: {error}"
    text = " ".join(text.split())
    metrics.answered("refused" if mistake else "failed", seconds=seconds)
    if mistake:
        log.warning("%s: %s", peer, text)
    else:
        log.error("%s: %s", peer, text, exc_info=error)
    return text
