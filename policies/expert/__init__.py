"""Scripted experts: they read a task's BDDL goal and the simulator's ground truth, and act through the same 7-D actions
as every policy.

`goal.py` turns the goal into sub-goals, `planner.py` puts them in order, `expert.py` maps each to a skill (one file
each in `skills/`) and runs them; `geometry.py` says where things are and `motion.py` how the hand gets there.

Picking and placing are planned on a map of the scene seen from above (`heights.py`): `grasp.py` finds where the
fingers fit, `spot.py` and `rest.py` where the object may lie, `put_down.py` and `insert.py` pair the two, and
`transit.py` leads the hand over what stands between.
"""
