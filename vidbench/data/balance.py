"""Which group of videos goes into which split: whole-number arithmetic, the same on every machine.

scikit-learn's StratifiedGroupKFold balances equal folds and promises no class in each: with some dozens of videos a
class and several a recording, val or test (one fold of ten) lacked a class in nine of ten trials.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import permutations

from vidbench.utils import seeded_place


class Balance:
    """What the splits still lack while groups are put into them, in videos times the sum of the ratios.

    `cost` is first the number of splits without a class; then the squared lacks of every class, which keep each
    class near the ratios, and half the plain lacks of all classes together: they settle to which side a class is
    rounded, so that the whole is near the ratios too, and are too light to pull a class further away.
    """

    def __init__(self, groups: Iterable[Counter], ratios: list[int]):
        self.unit = sum(ratios)
        counts: Counter = Counter()
        for content in groups:
            counts.update(content)
        self.lack = {label: [ratio * count for ratio in ratios] for label, count in counts.items()}
        self.total = [ratio * counts.total() for ratio in ratios]
        self.groups = {label: [0] * len(ratios) for label in counts}

    def put(self, content: tuple, split: int, times: int = 1) -> None:
        """Put a group with `content`, pairs of label and number of videos, into a split; times -1 takes it out."""
        for label, count in content:
            self.lack[label][split] -= times * count * self.unit
            self.total[split] -= times * count * self.unit
            self.groups[label][split] += times

    def cost(self, labels: Iterable[str]) -> tuple[int, int]:
        empty = squares = 0
        for label in labels:
            empty += self.groups[label].count(0)
            squares += sum(lack * lack for lack in self.lack[label])
        return empty, 2 * squares + self.unit * sum(map(abs, self.total))

    def cost_in(self, content: tuple, split: int) -> int:
        """The lacks that would be left if the group went into `split`."""
        self.put(content, split)
        cost = self.cost(dict(content))[1]
        self.put(content, split, -1)
        return cost

    def exchange(self, content: tuple, other: tuple, start: int, end: int) -> bool:
        """Put a group from `start` into `end`, and `other` (() for none) back; undone where that is no gain."""
        labels = dict(content) | dict(other)
        before = self.cost(labels)
        self._swap(content, other, start, end)
        if self.cost(labels) < before:
            return True
        self._swap(content, other, end, start)
        return False

    def _swap(self, content: tuple, other: tuple, start: int, end: int) -> None:
        for group, place, times in ((content, start, -1), (content, end, 1), (other, end, -1), (other, start, 1)):
            self.put(group, place, times)


def assign(groups: dict[str, Counter], ratios: list[int], seed: int) -> dict[str, int]:
    """{group: index of its split} for groups {name: videos of each class} and a positive ratio a split.

    In a seeded order each group goes where most is lacking; then groups are moved and exchanged as long as that
    is a gain. The result depends on names, contents, ratios and seed alone, not on the order of the groups. A class
    with a group for each split gets one in each, unless groups of several classes stand in the way.
    """
    balance = Balance(groups.values(), ratios)
    held: dict[tuple, list[list[str]]] = {}  # groups that hold the same are interchangeable: content → a list a split
    for name in sorted(groups, key=lambda name: seeded_place(name, seed)):
        content = tuple(sorted(groups[name].items()))
        split = min(range(len(ratios)), key=lambda split: balance.cost_in(content, split))
        balance.put(content, split)
        held.setdefault(content, [[] for _ in ratios])[split].append(name)
    while _exchanged(balance, held):
        pass
    return {name: split for homes in held.values() for split, names in enumerate(homes) for name in names}


def _exchanged(balance: Balance, held: dict[tuple, list[list[str]]]) -> bool:
    """Go once through all moves of a group, and all exchanges of two that share a class; whether any was a gain."""
    having = defaultdict(list)
    for content in held:
        for label, _ in content:
            having[label].append(content)
    gained = False
    for content, homes in held.items():
        others = dict.fromkeys(other for label, _ in content for other in having[label] if other != content)
        for start, end in permutations(range(len(homes)), 2):
            for other in ((), *others):
                back = held[other] if other else None
                while homes[start] and (not back or back[end]) and balance.exchange(content, other, start, end):
                    homes[end].append(homes[start].pop())
                    if back:
                        back[start].append(back[end].pop())
                    gained = True
    return gained
