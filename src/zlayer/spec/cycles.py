"""Cycles in a graph of names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def find_cycle(graph: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Cycles that share no name, each once, from the name that comes first in the graph. Names outside it are ignored.

    Depth first with an explicit stack (a chain of thousands of services must not end in a recursion error).
    """
    done: set[str] = set()
    for start in graph:
        yield from _from(start, graph, done)


def _from(start: str, graph: Mapping[str, Sequence[str]], done: set[str]) -> Iterator[tuple[str, ...]]:
    if start in done:
        return
    order = {name: i for i, name in enumerate(graph)}
    trail, place = [start], {start: 0}
    ahead = [iter(graph[start])]
    reported: set[str] = set()
    while trail:
        wanted = next(ahead[-1], None)
        if wanted is None:
            ahead.pop()
            done.add(last := trail.pop())
            del place[last]
        elif wanted in place:
            cycle = trail[place[wanted] :]
            if reported.isdisjoint(cycle):
                reported.update(cycle)
                first = cycle.index(min(cycle, key=order.__getitem__))
                yield (*cycle[first:], *cycle[:first])
        elif wanted in graph and wanted not in done:
            place[wanted] = len(trail)
            trail.append(wanted)
            ahead.append(iter(graph[wanted]))
