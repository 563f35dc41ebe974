"""The scripted expert: one skill a sub-goal, in the order of the BDDL goal, closed loop on ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import Simulator
from vst_vla.policies.expert.goal import Goal, parse_goals
from vst_vla.policies.expert.skills import Skill
from vst_vla.policies.expert.skills.pick_place import PickPlace
from vst_vla.vla.contracts import LIBERO_ACTION, STILL_ACTION, ActionSpec, Array, Observation

SKILLS: dict[str, Callable[[Goal], Skill]] = {
    "in": lambda goal: PickPlace(item=goal.arguments[0], target=goal.arguments[1], relation="in"),
}
"""The skill that reaches a BDDL predicate."""


class Expert:
    """Solves one episode of a task.

    Make a new one for each episode. Raises ValueError for a task whose goal needs a skill that does not exist.

    Args:
        simulator: the scene; its goal is read once, its state at every `act`.
    """

    def __init__(self, simulator: Simulator) -> None:
        goals = parse_goals(simulator.problem.parsed_problem["goal_state"], predicates=list(SKILLS))
        self._skills = [(goal, SKILLS[goal.predicate](goal)) for goal in goals]
        self._present: Skill = self._skills[0][1]

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the exploration noise that the present phase bears, in action units."""
        return self._present.noise_scale

    @property
    def attempts(self) -> int:
        """Grasps begun, over all sub-goals; one each when nothing slipped."""
        return sum(skill.attempts for _, skill in self._skills)

    def act(self, simulator: Simulator) -> Array:
        """The next action (7,) float32: towards the first sub-goal that does not hold, still when all do."""
        for goal, skill in self._skills:
            if not simulator.problem._eval_predicate([goal.predicate, *goal.arguments]):
                self._present = skill
                return skill.act(simulator)
        return np.array(STILL_ACTION, dtype=np.float32)


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
