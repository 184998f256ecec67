"""`ping`: the smallest complete job type: a typed request, a typed response and a file."""

import asyncio
import datetime as dt

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from headway import Context, job


class Ping(BaseModel):
    """What to send back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "hello"}]})

    message: str = Field(default="ping", max_length=200, title="Message")


class Pong(BaseModel):
    """The reply, and the message that it replies to."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    reply: str
    message: str
    answered_at: dt.datetime


@job("ping", title="Ping")
async def ping(ctx: Context, input: Ping) -> Pong:
    """Sends back a reply, and writes it to a file."""
    pong = Pong(reply="pong", message=input.message, answered_at=dt.datetime.now(dt.UTC))
    await asyncio.to_thread((ctx.output_dir / "pong.json").write_text, pong.model_dump_json(by_alias=True), "utf-8")
    return pong
