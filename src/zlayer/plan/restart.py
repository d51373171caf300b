"""Whether and when an instance that ended is followed by another in its slot."""

from __future__ import annotations

from dataclasses import dataclass

from zlayer.model.instance import State
from zlayer.plan.backoff import STABLE, delay
from zlayer.plan.seen import Seen


@dataclass(frozen=True, slots=True)
class Verdict:
    """`at` None: never (`reason` says why). `failures` is what the successor starts with."""

    at: float | None
    failures: int
    reason: str


def describe_end(seen: Seen) -> str:
    """`exited with code 1`, `killed: out of memory`, or the agent's own reason."""
    status = seen.status
    if status is None:
        return "never started"
    if status.oom:
        return "killed: out of memory"
    if status.reason:
        return status.reason
    if status.exit_code is None:
        return "ended, exit code unknown"
    return f"exited with code {status.exit_code}"


def unwell(seen: Seen) -> bool:
    """Wanted, but it ended, and not as a job that is done: another `up` tries it again."""
    if not (seen.live and seen.ended):
        return False
    done = seen.state is State.EXITED and seen.status is not None and seen.status.exit_code == 0
    return not (done and judge(seen).at is None)


def asked_again(seen: Seen, asked_at: float) -> bool:
    """Somebody wanted it anew after it had failed: neither back-off nor policy holds it back."""
    return unwell(seen) and seen.status is not None and (seen.status.finished_at or 0.0) <= asked_at


def judge(seen: Seen) -> Verdict:
    """The restart policy applied to an instance that ended by itself."""
    status, policy = seen.status, seen.instance.spec.restart
    assert status is not None
    assert status.state.ended
    failed = status.state is not State.EXITED or status.exit_code != 0
    started, finished = status.started_at, status.finished_at or 0.0
    stable = started is not None and finished - started >= STABLE
    failures = 1 if stable else seen.instance.failures + 1
    end = describe_end(seen)
    if policy.kind == "no":
        return Verdict(None, failures, f"{end}; restart policy is no")
    if policy.kind == "on_failure" and not failed:
        return Verdict(None, failures, f"{end}; restart policy is on_failure")
    if policy.max_attempts is not None and seen.instance.attempt >= policy.max_attempts:
        return Verdict(None, failures, f"{end}; gave up after {policy.max_attempts} restarts")
    return Verdict(finished + delay(failures, seen.id), failures, end)
