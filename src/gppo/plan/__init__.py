"""What a recipe's run will need: memory part by part, work, time, disk, price, and what fits. Needs no torch."""

from gppo.plan.fit import Room, advice, room
from gppo.plan.machine import Machine, gpus, here, main_memory, nvidia_gpus
from gppo.plan.planner import Phase, Plan, StagePlan, plan
from gppo.plan.shape import ModelShape, shape_of

__all__ = [
    "Machine",
    "ModelShape",
    "Phase",
    "Plan",
    "Room",
    "StagePlan",
    "advice",
    "gpus",
    "here",
    "main_memory",
    "nvidia_gpus",
    "plan",
    "room",
    "shape_of",
]
