"""What an episode's cameras showed earlier, for policies that look back (`ModelSpec.history`).

Training looks back by single control steps; a policy that acts sees only what it is asked about. Of those moments the
latest that lies far enough back stands in: with a history of multiples of the steps between two queries, it is the very
one that training took. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence

from vst_vla.vla.contracts import Array, Observation, keys_over_time


class PictureMemory:
    """The pictures of one episode's queries, as far back as they can still be wanted.

    Args:
        image_keys: the policy's cameras.
        history: control steps before the present, ascending; none remembers nothing.
    """

    def __init__(self, image_keys: Sequence[str], *, history: Sequence[int]) -> None:
        self._history = tuple(history)
        self._past_keys = {key: keys_over_time(key, history=history)[1:] for key in image_keys}
        self._seen: list[tuple[int, Observation]] = []  # pictures by control step, ascending

    def clear(self) -> None:
        """A new episode: nothing of the last one is seen again."""
        self._seen.clear()

    def complete(self, observation: Observation, *, step: int) -> Observation:
        """The observation with its past pictures; its present ones are remembered.

        Where the episode is younger than a picture is to be, its first one is taken, as in training. An observation
        that brings past pictures, or lacks a present one, is left as it is.

        Args:
            observation: with a picture (H,W,3) of each camera.
            step: control steps that the episode took before; fewer than at the last call begin a new episode.
        """
        brings = any(past in observation for keys in self._past_keys.values() for past in keys)
        if not self._history or brings or not self._past_keys.keys() <= observation.keys():
            return observation
        self._remember({key: observation[key] for key in self._past_keys}, step=step)
        times = [self._at(step - steps) for steps in self._history]
        past = {
            past: shown[key] for key, keys in self._past_keys.items() for past, shown in zip(keys, times, strict=True)
        }
        return observation | past

    def _remember(self, pictures: dict[str, Array], *, step: int) -> None:
        """Keeps the pictures, and of the earlier ones those that this step or a later one may look back to."""
        if self._seen and step < self._seen[-1][0]:
            self._seen.clear()
        before = [when for when, _ in self._seen if when <= step - self._history[-1]]
        oldest = before[-1] if before else step - self._history[-1]
        self._seen = [(when, shown) for when, shown in self._seen if oldest <= when < step]
        self._seen.append((step, pictures))

    def _at(self, step: int) -> Observation:
        """The latest pictures of that step or before it; the first ones where there are none."""
        before = [shown for when, shown in self._seen if when <= step]
        return before[-1] if before else self._seen[0][1]
