"""The places of requests at work, and the queue of those that were held: a few go on first, then ever more at once."""

from __future__ import annotations

import asyncio

import pytest

from game.service.traffic import FIRST_AT_ONCE, Capacity

MANY = 12


@pytest.mark.parametrize("most", [1, FIRST_AT_ONCE, 40])
def test_a_queue_goes_on_in_its_order_a_few_first_and_never_more_than_there_are_places(most: int) -> None:
    async def life() -> None:
        room = Capacity(most=most, share=1)
        places = [room.line_up() for _ in range(MANY)]
        at_once, gone = min(most, FIRST_AT_ONCE), 0
        while gone < MANY:
            called = sum(place.done() for place in places)
            assert [place.done() for place in places] == [True] * called + [False] * (MANY - called)
            assert called - gone == min(most, at_once, MANY - gone)
            assert room.has_queue is (called < MANY)
            room.leave()
            gone, at_once = gone + 1, at_once + 1
        assert all(room.enter() for _ in range(most))
        assert not room.enter()

    asyncio.run(life())


def test_reads_have_places_that_no_command_takes_also_in_the_queue() -> None:
    async def life() -> None:
        room = Capacity(most=2, for_reads=1, share=1)
        assert room.enter()
        assert room.enter()
        assert not room.enter()
        command, read, later = room.line_up(), room.line_up(reads=True), room.line_up(reads=True)
        assert [command.done(), read.done(), later.done()] == [False, True, False]
        assert not room.enter(reads=True)
        room.leave()
        assert [command.done(), later.done()] == [True, False], "in their order where there is a place for both"
        room.step_out(read, reads=True)
        assert later.done()
        assert not room.has_queue

    asyncio.run(life())


def test_reads_may_take_every_place() -> None:
    async def life() -> None:
        room = Capacity(most=2, for_reads=1, share=1)
        assert all(room.enter(reads=True) for _ in range(room.places))
        assert not room.enter(reads=True)
        assert not room.enter()

    asyncio.run(life())


def test_who_steps_out_gives_his_place_to_the_next() -> None:
    async def life() -> None:
        room = Capacity(most=MANY, share=1)
        places = [room.line_up() for _ in range(FIRST_AT_ONCE + 3)]
        waiting = places[FIRST_AT_ONCE:]
        room.step_out(waiting[0])
        room.step_out(places[0])
        assert waiting[0].cancelled()
        assert waiting[1].done()

    asyncio.run(life())


def test_a_later_queue_begins_with_a_few_again() -> None:
    async def life() -> None:
        room = Capacity(most=MANY, share=1)
        for _ in range(2):
            places = [room.line_up() for _ in range(MANY)]
            assert sum(place.done() for place in places) == FIRST_AT_ONCE
            for _place in places:
                room.leave()

    asyncio.run(life())
