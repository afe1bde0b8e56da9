"""Answers in JSON while they grow: their text found among the events, and read as values of a type."""

from streamkit.answer.reader import ANSWER_EVENTS, AnswerReader, answer_text
from streamkit.answer.values import ElementReader, Elements, PartialReader

__all__ = ["ANSWER_EVENTS", "AnswerReader", "ElementReader", "Elements", "PartialReader", "answer_text"]
