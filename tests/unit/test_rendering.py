"""Rendering for many requests: each text once, in turns, within the time limit, undisturbed by cancelled requests."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from chatserver.errors import UnavailableError
from chatserver.message_schemas import VersionedMessage
from chatserver.rendering.queue import RenderQueue
from chatserver.schemas import Page
from chatserver.services import rendering
from chatserver.services.access import local_actor
from chatserver.services.rendering import MAX_TEXT_CHARS, RenderingService, RenderText
from tests.kit.virtual_time import in_virtual_time, now

pytestmark = pytest.mark.usefixtures("no_error_is_logged")


ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


class Renderer:
    """Renders when it is told to. `asked`: the texts in order. `most`: the most texts at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.most = 0
        self.closed = False
        self._now = 0
        self._outcomes: asyncio.Queue[str | BaseException | None] = asyncio.Queue()

    async def render(self, text: str, headings: Sequence[int] | None = None) -> str | None:
        self.asked.append(text if headings is None else f"{text} below {headings}")
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            outcome = await self._outcomes.get()
        finally:
            self._now -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome and outcome.format(text)

    def go_on(self, *outcomes: str | BaseException | None) -> None:
        for outcome in outcomes or ("<p>{}</p>",):
            self._outcomes.put_nowait(outcome)

    async def close(self) -> None:
        assert self._now == 0
        self.closed = True


@asynccontextmanager
async def service(**settings: Any) -> AsyncIterator[tuple[RenderingService, Renderer]]:
    renderer = Renderer()
    made = RenderingService(cast("Any", renderer), **settings)
    try:
        async with asyncio.timeout(20):
            yield made, renderer
    finally:
        await made.close()
        gc.collect()  # makes a coroutine that was never awaited warn now


async def settle() -> None:
    """Let all tasks run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_text_is_rendered_once() -> None:
    async with service() as (texts, renderer):
        renderer.go_on("<p>{}</p>", "<i>{}</i>")
        assert await texts.render(["a", "b", "a"]) == ["<p>a</p>", "<i>b</i>", "<p>a</p>"]
        assert await texts.render(["b", "a"]) == ["<i>b</i>", "<p>a</p>"]
        assert renderer.asked == ["a", "b"]


async def test_text_in_concurrent_requests_is_rendered_once() -> None:
    async with service() as (texts, renderer):
        requests = [asyncio.create_task(texts.render(["a"])) for _ in range(5)]
        await settle()
        renderer.go_on()
        assert await asyncio.gather(*requests) == [["<p>a</p>"]] * 5
        assert renderer.asked == ["a"]


async def test_text_that_cannot_be_rendered_is_not_tried_again() -> None:
    async with service() as (texts, renderer):
        renderer.go_on(None)
        assert await texts.render(["a"]) == [None]
        assert await texts.render(["a"]) == [None]
        assert renderer.asked == ["a"]


async def test_text_is_tried_again_if_the_renderer_was_missing() -> None:
    async with service() as (texts, renderer):
        renderer.go_on(UnavailableError())
        assert await texts.render(["a"]) == [None]
        renderer.go_on()
        assert await texts.render(["a"]) == ["<p>a</p>"]


async def test_defect_is_logged_and_other_texts_are_rendered(caplog: pytest.LogCaptureFixture) -> None:
    async with service() as (texts, renderer):
        renderer.go_on(ZeroDivisionError(), "<p>{}</p>")
        assert await texts.render(["a", "b"]) == [None, "<p>b</p>"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    caplog.clear()


async def test_html_of_a_company_is_forgotten_when_a_text_of_it_was_erased_even_while_it_is_rendered() -> None:
    async with service() as (texts, renderer):
        renderer.go_on("<p>{}</p>", "<p>{}</p>")
        assert await texts.render(["a"], ONE) == ["<p>a</p>"]
        assert await texts.render(["of two"], TWO) == ["<p>of two</p>"]
        texts.forget(ONE)
        assert len(texts._queue._texts) == 1
        asked = [asyncio.create_task(texts.render([text], TWO)) for text in ("b", "c", "d")]
        await settle()
        asked += [asyncio.create_task(texts.render([text], ONE)) for text in ("b", "c")]  # one has begun, one waits
        await settle()
        texts.forget(ONE)
        renderer.go_on(*["<p>{}</p>"] * 3)
        assert await asyncio.gather(*asked) == [[f"<p>{text}</p>"] for text in "bcdbc"]
        assert len(texts._queue._texts) == 2
        renderer.go_on("<p>{}</p>")
        assert await texts.render(["of two", "d", "b"], TWO) == ["<p>of two</p>", "<p>d</p>", "<p>b</p>"]
        assert renderer.asked == ["a", "of two", "b", "c", "d", "b"]


@in_virtual_time
async def test_html_is_forgotten_after_five_minutes_by_itself() -> None:
    renderer = Renderer()
    texts = RenderingService(cast("Any", renderer))
    for name in ("a", "b"):
        renderer.go_on("<p>{}</p>")
        assert await texts.render([name]) == [f"<p>{name}</p>"]
        await asyncio.sleep(200)
        assert await texts.render([name]) == [f"<p>{name}</p>"]
    assert [len(texts._queue._texts), renderer.asked] == [1, ["a", "b"]]
    await asyncio.sleep(101)
    assert len(texts._queue._texts) == 0
    await texts.close()


async def test_requests_take_turns() -> None:
    async with service() as (texts, renderer):
        many = asyncio.create_task(texts.render([f"m{number}" for number in range(5)]))
        await settle()
        few = asyncio.create_task(texts.render(["f0", "f1"]))
        for _ in range(7):
            await settle()
            renderer.go_on()
        await asyncio.gather(many, few)
        assert renderer.asked == ["m0", "f0", "m1", "f1", "m2", "m3", "m4"]
        assert renderer.most == 1


@in_virtual_time
async def test_text_that_failed_is_not_tried_again_an_hour_later() -> None:
    renderer = Renderer()
    texts = RenderingService(cast("Any", renderer))
    renderer.go_on(None)
    assert await texts.render(["a"]) == [None]
    await asyncio.sleep(3600)
    assert await texts.render(["a"]) == [None]
    assert renderer.asked == ["a"]
    await texts.close()


async def test_text_of_a_second_company_is_rendered_before_the_rest_of_the_first() -> None:
    async with service() as (texts, renderer):
        flood = [asyncio.create_task(texts.render([f"a{number}"], ONE)) for number in range(5)]
        await settle()
        others = [asyncio.create_task(texts.render([f"b{number}"], TWO)) for number in range(2)]
        others.append(asyncio.create_task(texts.render(["c0"], THREE)))
        for _ in range(8):
            await settle()
            renderer.go_on()
        await asyncio.gather(*flood, *others)
        assert renderer.asked == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]


@in_virtual_time
async def test_company_that_used_much_time_waits_for_those_that_used_little() -> None:
    async with service(request_seconds=60) as (texts, renderer):
        flood = [asyncio.create_task(texts.render([f"a{number}"], ONE)) for number in range(2)]
        await asyncio.sleep(2)  # the first of them takes so long
        others = [asyncio.create_task(texts.render([f"b{number}"], TWO)) for number in range(5)]
        await settle()
        renderer.go_on(*["{}"] * 7)
        await asyncio.gather(*flood, *others)
        assert renderer.asked == ["a0", "b0", "b1", "b2", "b3", "b4", "a1"]


@in_virtual_time
async def test_pause_does_not_clear_what_a_company_used() -> None:
    async with service(request_seconds=60) as (texts, renderer):

        async def use(seconds: float, company: UUID, *names: str) -> None:
            asked = [asyncio.create_task(texts.render([name], company)) for name in names]
            await asyncio.sleep(seconds)
            renderer.go_on(*["{}"] * len(names))
            await asyncio.gather(*asked)

        await use(2, ONE, "a0")
        await use(0, TWO, "b0")
        asked = [asyncio.create_task(texts.render([name], company)) for name, company in (("c", TWO), ("a1", ONE))]
        asked += [asyncio.create_task(texts.render([name], TWO)) for name in ("b1", "b2")]
        await settle()
        renderer.go_on(*["{}"] * 4)
        await asyncio.gather(*asked)
        assert renderer.asked == ["a0", "b0", "c", "b1", "b2", "a1"]


async def test_text_of_two_companies_is_rendered_in_the_turn_of_either() -> None:
    async with service() as (texts, renderer):
        first = asyncio.create_task(texts.render(["a"], ONE))
        await settle()
        asked = [asyncio.create_task(texts.render([name], ONE)) for name in ("b", "c", "same")]
        asked.append(asyncio.create_task(texts.render(["same"], TWO)))
        await settle()
        renderer.go_on(*["{}"] * 4)
        assert await asyncio.gather(first, *asked) == [["a"], ["b"], ["c"], ["same"], ["same"]]
        assert renderer.asked == ["a", "same", "b", "c"]


async def test_second_renderer_serves_other_companies_only() -> None:
    renderers = [Renderer(), Renderer()]
    queue = RenderQueue(cast("Any", renderers), cache_chars=10_000)
    deadline = asyncio.get_running_loop().time() + 20
    slow = [asyncio.create_task(queue.render(text, deadline, ONE)) for text in ("a0", "a1", "a2")]
    await settle()
    assert [each.asked for each in renderers] == [["a0"], []]
    renderers[1].go_on("{}", "{}")
    assert await queue.render("b0", deadline, TWO) == "b0"
    assert await queue.render("b1", deadline, THREE) == "b1"
    assert [each.asked for each in renderers] == [["a0"], ["b0", "b1"]]
    # While the first company's text takes long, whoever is idle takes the others' texts, and then its own.
    renderers[0].go_on("{}", "{}", "{}")
    assert await asyncio.gather(*slow) == ["a0", "a1", "a2"]
    assert [each.most for each in renderers] == [1, 1]
    await queue.close()


@in_virtual_time
async def test_request_waits_no_longer_than_its_limit() -> None:
    async with service(request_seconds=1) as (texts, renderer):
        renderer.go_on()
        assert await texts.render(["a", "b", "c"]) == ["<p>a</p>", None, None]
        assert now() == pytest.approx(1)
        assert renderer.asked == ["a", "b"], "past the time nothing is begun"
        # The begun text goes on, and nothing has failed.
        renderer.go_on("<p>{}</p>", "<p>{}</p>")
        await settle()
        assert await texts.render(["b", "c"]) == ["<p>b</p>", "<p>c</p>"]
        assert renderer.asked == ["a", "b", "c"]


async def test_cached_text_needs_no_wait() -> None:
    async with service(request_seconds=0) as (texts, renderer):
        assert await texts.render(["a"]) == [None]
        assert renderer.asked == []
        texts.request_seconds = 10
        renderer.go_on()
        await texts.render(["a"])
        texts.request_seconds = 0
        assert await texts.render(["a"]) == ["<p>a</p>"]


async def test_cancelled_request_does_not_interrupt_rendering() -> None:
    async with service() as (texts, renderer):
        first, second = (asyncio.create_task(texts.render([text, f"{text} more"])) for text in ("a", "b"))
        await settle()
        first.cancel()
        await settle()
        assert first.cancelled()
        assert renderer.asked == ["a"]
        renderer.go_on("<p>{}</p>", "<i>{}</i>", "<b>{}</b>")
        assert await second == ["<i>b</i>", "<b>b more</b>"]
        assert await texts.render(["a"]) == ["<p>a</p>"]
        assert renderer.asked == ["a", "b", "b more"]


async def test_text_without_waiting_requests_is_not_begun() -> None:
    async with service() as (texts, renderer):
        first, leaving, staying, alone = (asyncio.create_task(texts.render([text])) for text in ("a", "b", "b", "c"))
        await settle()
        leaving.cancel()
        alone.cancel()
        await settle()
        renderer.go_on("<p>{}</p>", "<p>{}</p>")
        assert await asyncio.gather(first, staying) == [["<p>a</p>"], ["<p>b</p>"]]
        await settle()
        assert renderer.asked == ["a", "b"]
        # It is rendered when it is asked for again, at once or later.
        renderer.go_on()
        assert await texts.render(["c"]) == ["<p>c</p>"]


async def test_close_ends_all_waiting_requests() -> None:
    async with service() as (texts, renderer):
        requests = [asyncio.create_task(texts.render(["a", "b"])) for _ in range(2)]
        requests.append(asyncio.create_task(texts.render(["c"])))
        await settle()
        await texts.close()
        assert await asyncio.gather(*requests) == [[None, None], [None, None], [None]]
        assert renderer.closed
        assert await texts.render(["a"]) == [None]
        assert renderer.asked == ["a"]


async def test_very_long_texts_are_not_tried() -> None:
    async with service() as (texts, renderer):
        renderer.go_on("fits")
        assert await texts.render(["x" * (MAX_TEXT_CHARS + 1), "x" * MAX_TEXT_CHARS]) == [None, "fits"]
        assert len(renderer.asked) == 1


async def test_response_holds_no_more_html_than_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MAX_PAGE_CHARS", 10)
    async with service() as (texts, renderer):
        renderer.go_on("{}" + "x" * 5, "{}" + "x" * 5, "{}xx")
        assert await texts.render(["a", "b", "c", "a"]) == ["axxxxx", None, None, None]


async def test_page_has_html_for_answers_only() -> None:
    """Answers get the HTML of their effective content; all other fields stay."""

    def message(number: int, role: Any, content: str, edited: str | None = None) -> VersionedMessage:
        now = datetime.now(UTC)
        return VersionedMessage(
            id=UUID(int=number), conversation_id=UUID(int=9), role=role, content=content, agent_id=None, created_at=now,
            edited_content=edited, edited_at=None, reply_to=None, status="completed", superseded_at=None, usage=None,
            model=None, stop_reason=None, duration_ms=None, reasoning=None, reasoning_ms=None, author=None,
            failure=None, former_answers=[] if role == "user" else None,
        )  # fmt: skip

    items = [
        message(1, "user", "q"),
        message(2, "assistant", "a"),
        message(3, "system", "s"),
        message(4, "assistant", "old", "new"),
        message(5, "assistant", "a"),
    ]
    async with service() as (texts, renderer):
        renderer.go_on("<p>{}</p>", None)
        page = await texts.render_page(Page[VersionedMessage](items=items, has_more=True, next_cursor="next"))
    assert renderer.asked == ["a", "new"]
    assert [each.html for each in page.items] == [None, "<p>a</p>", None, None, "<p>a</p>"]
    assert [VersionedMessage(**dict(each)) for each in page.items] == items
    assert (page.has_more, page.next_cursor) == (True, "next")


async def test_blocks_are_not_taken_for_html_nor_for_blocks_below_other_headings() -> None:
    async with service() as (texts, renderer):
        renderer.go_on("html", "none", "one", "two")
        assert await texts.render(["a"]) == ["html"]
        for levels, outcome in (([], "none"), ([1], "one"), ([1, 2], "two")):
            for _ in range(2):
                assert await texts.render_blocks(local_actor(), ONE, RenderText(text="a", headings=levels)) == outcome
        assert renderer.asked == ["a", "a below []", "a below [1]", "a below [1, 2]"]
