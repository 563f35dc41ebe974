"""Episodes other than LIBERO's fixed ones: objects moved, goals exchanged, another view, another light.

`perturbation.py` holds the request (plain data) and carries it out on a settled scene. An axis is one file that fits
the protocol in `axis.py`: `layout.py`, `goal.py`, `robot.py`, `camera.py`, `light.py`, `background.py`, `noise.py`,
`language.py`. Layout stands on `outlines.py` (what lies
where, seen from above) and `scratch.py` (a copy of the physics to try things in), goal and layout on `things.py` (what
the scene holds and what stands on what) and `wording.py` (true sentences about it, in LIBERO's patterns).
"""
