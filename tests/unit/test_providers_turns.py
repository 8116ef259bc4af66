"""Arranging turns: roles alternate, the user begins and ends, and no content is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatserver.providers.base import Prompt, Turn
from chatserver.providers.turns import OPENING, alternate, lift_system

CONTENT = st.text(min_size=1)
SPOKEN = st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), CONTENT))
HISTORY = st.lists(st.builds(Turn, st.sampled_from(["user", "assistant", "system"]), CONTENT))


def user(content: str) -> Turn:
    return Turn("user", content)


def assistant(content: str) -> Turn:
    return Turn("assistant", content)


def test_neighbours_are_joined() -> None:
    turns = [user("a"), user("b"), assistant("c"), assistant("d"), user("e")]
    assert alternate(turns) == [user("a\n\nb"), assistant("c\n\nd"), user("e")]


def test_conversation_that_the_assistant_began_gets_an_opening() -> None:
    assert alternate([assistant("hi"), user("a")]) == [user(OPENING), assistant("hi"), user("a")]


def test_blank_turns_except_the_last_are_left_out() -> None:
    assert alternate([user("a"), assistant(" \n"), user("b")]) == [user("a\n\nb")]
    assert alternate([assistant("\t"), user(" ")]) == [user(" ")]
    assert alternate([]) == []


def test_system_messages_join_the_system_prompt() -> None:
    turns = (Turn("system", "b"), user("x"), Turn("system", "c"), user("y"))
    assert lift_system(Prompt(turns, system="a")) == ("a\n\nb\n\nc", [user("x"), user("y")])
    assert lift_system(Prompt(turns)) == ("b\n\nc", [user("x"), user("y")])
    assert lift_system(Prompt((user("x"),))) == (None, [user("x")])


@given(SPOKEN, CONTENT)
def test_arranged_turns_alternate_and_keep_everything(before: list[Turn], trigger: str) -> None:
    turns = [*before, user(trigger)]
    arranged = alternate(turns)
    assert [turn.role for turn in arranged] == ["user", "assistant"] * (len(arranged) // 2) + ["user"]
    assert arranged[-1].content.endswith(trigger)
    joined = "\n\n".join(turn.content for turn in arranged)
    kept = [turn for turn in before if turn.content.strip()]
    opening = [OPENING] if kept and kept[0].role == "assistant" else []
    assert joined == "\n\n".join([*opening, *(turn.content for turn in kept), trigger])


@given(SPOKEN, CONTENT)
def test_arranging_twice_changes_nothing(before: list[Turn], trigger: str) -> None:
    once = alternate([*before, user(trigger)])
    assert alternate(once) == once


@given(HISTORY, st.none() | CONTENT)
def test_lifting_keeps_order_and_content(history: list[Turn], system: str | None) -> None:
    text, turns = lift_system(Prompt(tuple(history), system=system))
    assert turns == [turn for turn in history if turn.role != "system"]
    texts = [*([system] if system else []), *(turn.content for turn in history if turn.role == "system")]
    assert text == ("\n\n".join(texts) if texts else None)
