"""What was found in a root file system, kept by what that is a copy of: replicas of an image are looked into once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
MOST = 512


class Known(Generic[T]):
    """The newest `MOST` answers. Refusals are not kept."""

    def __init__(self) -> None:
        self._answers: dict[tuple[object, ...], T] = {}

    def get(self, content: str, question: tuple[object, ...], find: Callable[[], T]) -> T:
        """The answer to a question about the content; found anew each time when the content is unknown (empty)."""
        if not content:
            return find()
        key = (content, *question)
        if key not in self._answers:
            answer = find()
            while len(self._answers) >= MOST:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = answer
        return self._answers[key]
