"""Any server of openpi's websocket protocol as a policy to evaluate; each running episode has its own connection."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from vst_vla.policies.client import PolicyClient, PolicyUnavailable
from vst_vla.policies.server_request import wire_name
from vst_vla.vla.contracts import (
    IMAGE_KEYS,
    LIBERO_ACTION,
    MOMENT_KEY,
    STEP_KEY,
    ActionSpec,
    Array,
    Moment,
    Observation,
    StateSpec,
)

API_KEY_VARIABLE = "VST_VLA_API_KEY"


class ServerPolicy:
    """Asks a server for every chunk.

    A server of `vst-vla serve` says its conventions and gets the pictures as they are drawn; any other gets what
    openpi's LIBERO client sends: its key names and pictures of `image_size` pixels. Actions beyond LIBERO's range
    are clipped, as LIBERO's controller does it. A server that is lost in an episode raises a ConnectionError; the next
    episode waits for it.

    Args:
        address: `ws://HOST:PORT`.
        replan: actions executed of every reply, None for as many as the server says that it sends.
        image_size: see above.
        timeout_s: longest wait for a reply.
        reconnect_s: longest wait for a server that is not there as an episode begins.

    Raises:
        ValueError: no address, no number of actions from anybody, or a server that turns this client away.
        TimeoutError: no server within `reconnect_s` seconds.
    """

    reads_moment = True

    def __init__(
        self,
        address: str,
        *,
        replan: int | None = None,
        image_size: int = 224,
        timeout_s: float = 60.0,
        reconnect_s: float = 60.0,
    ) -> None:
        self._address, self._image_size = address, image_size
        self._timeout_s, self._reconnect_s = timeout_s, reconnect_s
        self._clients: dict[int, PolicyClient] = {}
        first = self._client(0)
        metadata = self._wait_for(first)
        self._is_ours = "action_spec" in metadata
        self.action_spec: ActionSpec = first.action_spec
        self.state_spec: StateSpec | None = first.state_spec
        self.checkpoint = str(metadata.get("checkpoint", ""))
        chunk = replan or first.chunk
        if chunk is None:
            raise ValueError(
                f"{first.uri} does not say how many actions it sends: give policy.replan=N, the number to execute"
            )
        self.chunk: int = chunk

    def infer(self, observation: Observation) -> dict[str, Array]:
        """One observation with its `Moment` -> {"actions": (C, A) float32}.

        Raises:
            ConnectionError: the server was lost.
            TimeoutError: there was none as the episode began, nor within `reconnect_s` seconds.
            ValueError: what the server has against the observation, or a reply of another width.
        """
        moment: Moment = observation[MOMENT_KEY]
        client = self._client(moment.slot)
        if moment.step == 0:
            self._wait_for(client)
            client.reset()
        reply = client.infer(self._message(observation))
        actions = np.asarray(reply["actions"], np.float32)
        if np.isfinite(actions).all():
            actions = LIBERO_ACTION.clip(actions)
        return {"actions": actions}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """`infer` on all at once, for a server that makes a batch of them."""
        with ThreadPoolExecutor(max(1, len(observations))) as pool:
            return list(pool.map(self.infer, observations))

    def reset(self) -> None:
        """Every episode says by itself that it begins."""

    def _client(self, slot: int) -> PolicyClient:
        if slot not in self._clients:
            self._clients[slot] = PolicyClient(
                self._address,
                api_key=os.environ.get(API_KEY_VARIABLE),
                timeout_s=self._timeout_s,
                connect_timeout_s=5.0,
            )
        return self._clients[slot]

    def _wait_for(self, client: PolicyClient) -> dict[str, Any]:
        try:
            return client.wait_until_ready(self._reconnect_s)
        except PolicyUnavailable as error:
            raise TimeoutError(
                f"{error}, for {self._reconnect_s:g} s: start it and run the same command again, it goes on"
            ) from error

    def _message(self, observation: Observation) -> Observation:
        kept = {key: value for key, value in observation.items() if key != MOMENT_KEY}
        if self._is_ours:
            moment: Moment = observation[MOMENT_KEY]
            return kept | {STEP_KEY: moment.step}
        resized = {key: _resized(kept[key], size=self._image_size) for key in IMAGE_KEYS}
        return {wire_name(key): value for key, value in (kept | resized).items()}


def _resized(picture: Array, *, size: int) -> Array:
    """A square picture (H, H, 3) as openpi's client makes it, by PIL's bilinear filter."""
    if picture.shape[0] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))
