"""What travels between LeRobot's robot client and a policy server (lerobot.async_inference), as plain data.

    from the client   RemotePolicyConfig   once: what the robot looks like, how many actions it wants in a chunk
                      TimedObservation     whenever its queue of actions runs low: values by name, pictures, the task
    to the client     list of TimedAction  one for each step of a chunk

The client's messages are read by `grpc_pickle`, never unpickled. Letters: H/W pixels, C chunk, A action.
"""

from __future__ import annotations

import pickle  # only to write: nothing of a client's is unpickled
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lerobot.async_inference.helpers import TimedAction

from vst_vla.policies.grpc_pickle import Record, read_pickle
from vst_vla.vla.contracts import Array

HELPERS = "lerobot.async_inference.helpers"
SETUP, OBSERVATION = "RemotePolicyConfig", "TimedObservation"
RECORDS = {(HELPERS, name): name for name in (SETUP, OBSERVATION)}
STATE_FEATURE, PICTURE_FEATURES = "observation.state", "observation.images."


@dataclass(frozen=True, kw_only=True)
class RobotSetup:
    """How a robot client introduces itself.

    Args:
        state_names: the robot's names of its state's numbers, in order.
        cameras: the robot's names of its cameras.
        actions_per_chunk: how many actions of a chunk it wants.
        renamed: the robot's feature key -> the policy's, where the client gives such pairs.
        wanted: what it asked to be loaded, for the log: this server has loaded its policy already.
    """

    state_names: tuple[str, ...]
    cameras: tuple[str, ...]
    actions_per_chunk: int
    renamed: Mapping[str, str]
    wanted: str


@dataclass(frozen=True, kw_only=True)
class TimedValues:
    """One observation of a robot.

    Args:
        values: number by name of a motor, picture (H,W,3) by name of a camera, and the task.
        timestep: number of the action that was executed last, 0 at the start.
        timestamp: seconds, the client's clock.
        must_go: the robot stands still until it is answered.
    """

    values: Mapping[str, Any]
    timestep: int
    timestamp: float
    must_go: bool


def read_setup(data: bytes) -> RobotSetup:
    """Raises ValueError for anything but a RemotePolicyConfig whose entries are of the right kind."""
    fields = _read(data, SETUP)
    features = _of(dict, fields, "lerobot_features")
    count = _of(int, fields, "actions_per_chunk")
    if count < 1:
        raise ValueError(f"actions_per_chunk is {count}, expected at least 1")
    names = features.get(STATE_FEATURE, {}).get("names", [])
    cameras = [key.removeprefix(PICTURE_FEATURES) for key in features if key.startswith(PICTURE_FEATURES)]
    return RobotSetup(
        state_names=tuple(str(name) for name in names),
        cameras=tuple(cameras),
        actions_per_chunk=count,
        renamed={key: str(value) for key, value in (fields.get("rename_map") or {}).items()},
        wanted=f"{fields.get('policy_type')} {fields.get('pretrained_name_or_path')}"[:120],
    )


def read_observation_message(data: bytes) -> TimedValues:
    """Raises ValueError for anything but a TimedObservation whose entries are of the right kind."""
    fields = _read(data, OBSERVATION)
    return TimedValues(
        values=_of(dict, fields, "observation"),
        timestep=_of(int, fields, "timestep"),
        timestamp=_of(float, fields, "timestamp"),
        must_go=_of(bool, fields, "must_go"),
    )


def write_actions(actions: Array, *, timestep: int, timestamp: float, fps: float) -> bytes:
    """A chunk (C,A) as LeRobot's client expects it: a pickled list of TimedAction, first one due at `timestamp`."""
    steps = torch.from_numpy(actions)
    timed = [
        # A copy: a row that is a view would be sent with the whole chunk behind it.
        TimedAction(timestamp=timestamp + i / fps, timestep=timestep + i, action=step.clone())
        for i, step in enumerate(steps)
    ]
    return pickle.dumps(timed)


def _read(data: bytes, name: str) -> dict[str, Any]:
    record = read_pickle(data, records=RECORDS)
    if not isinstance(record, Record) or record.name != name:
        found = record.name if isinstance(record, Record) else type(record).__name__
        raise ValueError(f"message is a {found}, expected a {name} of LeRobot's robot client")
    return record.fields


def _of(kind: type, fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    if kind is float and isinstance(value, int):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(
            f"'{name}' is {type(value).__name__}, expected {kind.__name__}: use the robot client of LeRobot"
        )
    return value
