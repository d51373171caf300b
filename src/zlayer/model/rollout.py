"""What became of a change of containers: the verdict on it, and the revisions one can go back to."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from zlayer.model.base import Document
from zlayer.model.units import Timestamp

RolloutState = Literal["new", "updating", "good", "failed"]


class CanaryStep(Document):
    """Where a canary stands. `index` past the last step: all of the traffic is the new revision's."""

    index: int = 0
    since: Timestamp | None = None
    """When the step's weight was reached; its pause counts from then. None: its replicas are not there yet."""
    resumes: int = 0
    """The deployment's `resumes` by then: one more ends a pause without an end."""


class Rollout(Document):
    """The change that is or was under way. Written by controllers only; part of the deployment's document.

    A change is a set of container digests: scaling, stopping or another host name is none. `good` once every replica
    was ready for `update.min_ready`; `failed` stays until somebody wants something new, or the same again.
    """

    state: RolloutState = "new"
    digests: dict[str, str] = Field(default_factory=dict)
    """Of each service the container digest that the state is about."""
    since: Timestamp = Timestamp(0)
    asked_at: Timestamp = Timestamp(0)
    """The deployment's when the state began: asked for again later, what failed is tried again."""
    reason: str = ""
    """Why it failed, for people."""
    culprit: str = ""
    """The instance that made it fail."""
    proven: dict[str, str] = Field(default_factory=dict)
    """Of each service the container digest that was last found good: what is gone back to."""
    images: dict[str, str] = Field(default_factory=dict)
    """Of each service the image's manifest digest its proven replicas ran with."""
    canaries: dict[str, CanaryStep] = Field(default_factory=dict)


class RevisionNote(Document):
    """What is known of a revision beyond its services. `what` is the change in words; values are never told."""

    what: str = ""
    good: bool = False
    failed: str = ""
    """Why it failed, empty when it did not."""
    rolled_back: bool = False
    """It was undone by the controllers."""
    reason: str = ""
    """Why there is this revision, where nobody asked for it in a file."""
    images: dict[str, str] = Field(default_factory=dict)
    """Manifest digests of the images its services ran with, once it was good."""
