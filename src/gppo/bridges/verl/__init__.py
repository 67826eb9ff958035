"""Recipes run by verl on a Ray cluster: options rendered, objectives and rewards brought along, results brought back.

``render`` and ``data`` need nothing beyond gppo. ``plugin``, ``losses``, ``trainer`` and ``rewards`` are imported
inside verl's own processes.
"""
