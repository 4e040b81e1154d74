"""The background threads of a process: a listener for pushes, and chores for everything else."""

from canary_middleware.agent.agent import Agent

__all__ = ["Agent"]
