"""vst-vla's policy in LeRobot's own programs: `--policy.type=vst_vla`, after
`--policy.discover_packages_path=vst_vla.policies.lerobot` has registered it.

LeRobot finds the parts by name: `configuration_vst_vla` has the settings, `modeling_vst_vla` the policy,
`processor_vst_vla` the processors.
"""

from vst_vla.policies.lerobot.configuration_vst_vla import VstVlaConfig

__all__ = ["VstVlaConfig"]
