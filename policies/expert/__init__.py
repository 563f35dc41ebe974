"""Scripted experts: they read a task's BDDL goal and the simulator's ground truth, and act through the same 7-D actions
as every policy.

`goal.py` turns the goal into sub-goals, `expert.py` maps each to a skill (one file each in `skills/`) and runs them in
order; `geometry.py` says where things are and `motion.py` how the hand gets there.
"""
