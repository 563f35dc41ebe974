"""The scripted expert: one skill a step of the plan, closed loop on ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.geometry import box_of
from vst_vla.policies.expert.goal import Goal, parse_goals
from vst_vla.policies.expert.planner import WIDEN, plan_steps
from vst_vla.policies.expert.skills import Skill
from vst_vla.policies.expert.skills.pick_place import PickPlace
from vst_vla.policies.expert.skills.pull import Pull
from vst_vla.policies.expert.skills.push_shut import PushShut
from vst_vla.policies.expert.skills.slide import Slide, is_flat
from vst_vla.policies.expert.skills.turn import Turn
from vst_vla.policies.expert.skills.widen import Widen
from vst_vla.vla.contracts import LIBERO_ACTION, STILL_ACTION, ActionSpec, Array, Observation

_MAKERS: dict[str, Callable[[Simulator, Goal], Skill]] = {
    WIDEN: lambda simulator, goal: Widen(target=goal.arguments[0]),
    "in": lambda simulator, goal: PickPlace(item=goal.arguments[0], target=goal.arguments[1], relation="in"),
    "on": lambda simulator, goal: _put_on(simulator, item=goal.arguments[0], target=goal.arguments[1]),
    "open": lambda simulator, goal: Pull(target=goal.arguments[0]),
    "close": lambda simulator, goal: PushShut(target=goal.arguments[0]),
    "turnon": lambda simulator, goal: Turn(target=goal.arguments[0], predicate="turnon"),
    "turnoff": lambda simulator, goal: Turn(target=goal.arguments[0], predicate="turnoff"),
}
"""What makes the skill that reaches a predicate, BDDL's or the planner's own."""


class Expert:
    """Solves one episode of a task.

    Make a new one for each episode. Raises ValueError for a task whose goal needs a skill that does not exist.

    Args:
        simulator: the scene; its goal is read once, its state at every `act`.
    """

    def __init__(self, simulator: Simulator) -> None:
        goals = parse_goals(simulator.goal, predicates=[name for name in _MAKERS if name != WIDEN])
        self._steps = [
            (step, _MAKERS[step.goal.predicate](simulator, step.goal)) for step in plan_steps(simulator, goals)
        ]
        self._present: Skill = self._steps[0][1]

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the exploration noise that the present phase bears, in action units."""
        return self._present.noise_scale

    @property
    def retries(self) -> int:
        """Tries begun after the first one of each step: 0 when nothing slipped."""
        return sum(skill.attempts - 1 for _, skill in self._steps)

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,) float32: towards the first step that is pending, still when none is."""
        if not self._present.busy:
            pending = next((skill for step, skill in self._steps if step.is_pending(simulator)), None)
            if pending is None:
                return np.array(STILL_ACTION, dtype=np.float32)
            self._present = pending
        return self._present.act(simulator)


def _put_on(simulator: Simulator, *, item: str, target: str) -> Skill:
    """Carries the item; shifts it over the table when it is flat and belongs somewhere on the table."""
    site = simulator.problem.object_sites_dict.get(target)
    on_table = site is not None and site.parent_name is None  # regions of a fixture or an object have it as parent
    if on_table and is_flat(box_of(simulator, item)):
        return Slide(item=item, target=target)
    return PickPlace(item=item, target=target, relation="on")


class ExpertPolicy:
    """The expert behind the policy protocol, for one environment in this process; it looks at ground truth, not images.

    Args:
        env: the environment that is being stepped.
    """

    action_spec: ActionSpec = LIBERO_ACTION

    def __init__(self, env: LiberoEnv) -> None:
        self._env = env
        self._expert: Expert | None = None

    def infer(self, observation: Observation) -> dict[str, Array]:
        """The next action as a chunk of one, {"actions": (1, 7)}."""
        if self._expert is None:
            self._expert = Expert(self._env.simulator)
        return {"actions": self._expert.act(self._env.simulator)[None]}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """As `infer`, for the one observation of the one environment."""
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        """Forgets the running episode; call it after each reset of the environment."""
        self._expert = None
