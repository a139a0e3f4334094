from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidbench.data.balance import Balance, assign

RATIOS = st.sampled_from([(8, 1, 1), (7, 2, 1), (2, 1, 1), (1, 1, 1), (3, 1), (1,)])


@st.composite
def classes_of_groups(draw, largest=10, most=20):
    """{group: Counter of one class}: three groups or more of each of one to five classes."""
    sizes = draw(st.lists(st.lists(st.integers(1, largest), min_size=3, max_size=most), min_size=1, max_size=5))
    return {f"{c}/{n}": Counter({f"c{c}": size}) for c, row in enumerate(sizes) for n, size in enumerate(row)}


def table(groups, place, ratios):
    """{class: videos in each split}"""
    labels = {label for content in groups.values() for label in content}
    videos = {label: [0] * len(ratios) for label in labels}
    for group, split in place.items():
        for label, count in groups[group].items():
            videos[label][split] += count
    return videos


@settings(deadline=None, max_examples=60)
@given(classes_of_groups(), RATIOS, st.integers(0, 99))
def test_every_group_has_one_split_and_every_class_is_in_each(groups, ratios, seed):
    place = assign(groups, ratios, seed)
    assert place.keys() == groups.keys() and set(place.values()) == set(range(len(ratios)))
    assert all(min(row) > 0 for row in table(groups, place, ratios).values())
    assert assign(dict(reversed(groups.items())), ratios, seed) == place


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(10, 40), min_size=1, max_size=6), RATIOS, st.integers(0, 99))
def test_single_videos_come_within_two_of_the_ideal_in_each_class_and_in_all(sizes, ratios, seed):
    groups = {f"{c}/{n}": Counter({f"c{c}": 1}) for c, size in enumerate(sizes) for n in range(size)}
    rows = table(groups, assign(groups, ratios, seed), ratios)
    lacks = [
        [size * r / sum(ratios) - n for r, n in zip(ratios, rows[f"c{c}"], strict=True)] for c, size in enumerate(sizes)
    ]
    assert all(abs(lack) < 2 for row in lacks for lack in row)
    assert all(abs(sum(column)) < 2 for column in zip(*lacks, strict=True))


@pytest.mark.parametrize(
    ("sizes", "ratios", "counts"),
    [
        ([4, 2, 2, 2], (6, 2, 2), [6, 2, 2]),  # the one of 4 trains, whatever the order
        ([5, 3, 1, 1], (8, 1, 1), [8, 1, 1]),
        ([10, 10, 1, 1], (8, 1, 1), [20, 1, 1]),  # ideal: 17.6, 2.2, 2.2
        ([1] * 14, (8, 1, 1), [11, 2, 1]),  # squares of 11.2, 1.4, 1.4 less these: .04 + .36 + .16
        ([5, 5, 5], (8, 1, 1), [5, 5, 5]),  # as small as a class may be
    ],
)
def test_small_cases_worked_by_hand(sizes, ratios, counts):
    groups = {f"g{n}": Counter({"run": size}) for n, size in enumerate(sizes)}
    for seed in range(8):
        (row,) = table(groups, assign(groups, ratios, seed), ratios).values()
        assert row[0] == counts[0] and sorted(row) == sorted(counts)


def test_what_one_class_has_too_many_of_another_makes_up_for():
    groups = {f"{c}/{n}": Counter({c: 1}) for c in "abcde" for n in range(14)}  # ideal 56, 7, 7 of 70
    rows = table(groups, assign(groups, (8, 1, 1), 0), (8, 1, 1)).values()
    assert [sum(column) for column in zip(*rows, strict=True)] == [56, 7, 7]


def test_groups_of_several_classes_are_shared_out_too():
    groups = {f"g{n}": Counter({"run": 2, "sit": 1}) for n in range(10)} | {
        f"h{n}": Counter({"sit": 1}) for n in range(10)
    }
    assert table(groups, assign(groups, (8, 1, 1), 0), (8, 1, 1)) == {"run": [16, 2, 2], "sit": [16, 2, 2]}


def test_costs_are_whole_numbers_worked_by_hand():
    balance = Balance([Counter(run=3), Counter(run=1)], [3, 1])  # 4 videos, wanted 3 and 1: in quarters 12 and 4
    assert balance.cost(["run"]) == (2, 2 * (144 + 16) + 4 * (12 + 4))
    assert balance.cost_in((("run", 3),), 0) == 2 * 16 + 4 * 4
    balance.put((("run", 3),), 1)
    balance.put((("run", 1),), 0)
    assert balance.cost(["run"]) == (0, 2 * (64 + 64) + 4 * (8 + 8))
    assert balance.exchange((("run", 1),), (("run", 3),), 0, 1) and balance.cost(["run"]) == (0, 0)
    assert not balance.exchange((("run", 3),), (("run", 1),), 0, 1) and balance.cost(["run"]) == (0, 0)
