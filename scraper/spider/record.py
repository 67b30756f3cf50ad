"""The base class of declared records, apart from `records` because it costs pydantic's import."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A record with named, typed fields, as in `class Book(Record): title: str`; others are errors."""

    model_config = ConfigDict(extra="forbid")
