from dataclasses import dataclass

import pytest
import torch

from pipeline.serving.room import Room, tensor_bytes


def enter(room, name, dropped):
    room.enter(name, lambda: dropped.append(name))


def test_the_holder_used_longest_ago_gives_way():
    room, dropped = Room(100), []
    for name in ("a", "b", "c"):
        enter(room, name, dropped)
    assert room.take("a", 40)
    assert room.take("b", 40)
    enter(room, "a", dropped)  # used again
    assert room.take("c", 60)
    assert dropped == ["b"]
    assert room.held_bytes == 100


def test_nobody_gives_way_for_what_does_not_fit_anyway():
    room, dropped = Room(100), []
    enter(room, "a", dropped)
    enter(room, "b", dropped)
    assert room.take("a", 90)
    assert not room.take("b", 101)
    assert dropped == []


def test_a_holder_never_drives_itself_out():
    room, dropped = Room(100), []
    enter(room, "a", dropped)
    assert room.take("a", 70)
    assert not room.take("a", 40)
    assert (room.held_bytes, dropped) == (70, [])
    enter(room, "b", dropped)
    assert room.take("b", 30)
    assert room.take("a", 20)  # used longest ago, and the one that wants more
    assert (room.held_bytes, dropped) == (90, ["b"])


def test_who_has_left_holds_nothing():
    room = Room(100)
    enter(room, "a", [])
    assert room.take("a", 70)
    room.leave("a")
    assert room.held_bytes == 0


@dataclass
class Layer:
    keys: torch.Tensor
    more: object = None


def test_tensors_are_found_however_they_are_nested_and_shared_memory_counts_once():
    base = torch.zeros(10, 4)
    nested = {"layers": (Layer(base), Layer(base[2:]), [Layer(torch.zeros(3, dtype=torch.float16))]), "name": "x"}
    assert tensor_bytes(nested) == 10 * 4 * 4 + 3 * 2
    cycle = Layer(torch.zeros(1))
    cycle.more = cycle
    assert tensor_bytes(cycle) == pytest.approx(4)
