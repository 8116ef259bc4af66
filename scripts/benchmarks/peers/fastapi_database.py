"""Conversations stored with FastAPI and SQLAlchemy's asyncio, as their manuals show it.

Run with `python -m`; the argument is the database's URL, with the tables that targets.py makes.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, DateTime, ForeignKey, Text, make_url, select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sse_starlette.sse import EventSourceResponse, ServerSentEvent

from scripts.benchmarks.peers import answers, source
from scripts.benchmarks.peers.uvicorn_server import serve

HISTORY = 20


class Base(DeclarativeBase):
    pass


class Conversation(Base):
    __tablename__ = "peer_conversations"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    last_position: Mapped[int] = mapped_column(BigInteger, default=0)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Message(Base):
    __tablename__ = "peer_messages"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("peer_conversations.id"))
    position: Mapped[int] = mapped_column(BigInteger)
    role: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class NewConversation(BaseModel):
    id: str


class NewMessage(BaseModel):
    role: str
    content: str = Field(min_length=1, max_length=100_000)


class Created(BaseModel):
    id: str


# asyncpg does not know libpq's `options`.
url = make_url(sys.argv[1]).set(drivername="postgresql+asyncpg").difference_update_query(["options"])
engine = create_async_engine(url, pool_size=8, max_overflow=0)
Session = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


@app.post("/api/conversations", status_code=201)
async def create(new: NewConversation) -> Created:
    async with Session.begin() as session:
        session.add(Conversation(id=new.id, updated_at=datetime.now(UTC)))
    return Created(id=new.id)


@app.post("/api/conversations/{name}/messages", status_code=201)
async def add(name: str, new: NewMessage) -> Created:
    return Created(id=str(await _store(name, new.role, new.content)))


@app.get("/api/conversations/{name}/stream")
async def stream(name: str, triggerMessageId: uuid.UUID) -> EventSourceResponse:  # noqa: N803 - the query's name
    async with Session() as session:
        if await session.get(Message, triggerMessageId) is None:
            raise HTTPException(404)
        newest = select(Message).where(Message.conversation_id == name).order_by(Message.position.desc()).limit(HISTORY)
        prompt = [(message.role, message.content) for message in await session.scalars(newest)]
    assert prompt
    return EventSourceResponse(_events(name), headers=answers.HEADERS, sep="\n")


async def _events(name: str) -> AsyncIterator[ServerSentEvent]:
    yield ServerSentEvent(comment="ok", retry=1000, id=f"{answers.RUN}.1.0.0", sep="\n")
    async for id_, data in source.events(name):
        if id_.endswith("end"):
            break
        yield ServerSentEvent(data=data, id=id_, sep="\n")
    content = "".join(answers.word(number + 1) for number in range(answers.answer(name).tokens))
    id_, data = answers.end(str(await _store(name, "assistant", content)))
    yield ServerSentEvent(data=data, id=id_, sep="\n")


async def _store(name: str, role: str, content: str) -> uuid.UUID:
    """Add a message at the end of the conversation, which comes first in its list then."""
    now = datetime.now(UTC)
    async with Session.begin() as session:
        conversation = await session.get_one(Conversation, name, with_for_update=True)
        conversation.last_position += 1
        conversation.updated_at = now
        message = Message(
            conversation_id=name, position=conversation.last_position, role=role, content=content, created_at=now
        )
        session.add(message)
    return message.id


if __name__ == "__main__":
    serve(app)
