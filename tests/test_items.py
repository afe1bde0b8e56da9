"""Items, parts and annotations: known shapes become models, and every other object comes through whole."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter, ValidationError

from streamkit.items import (
    Annotation,
    ContentPart,
    FunctionCall,
    ImageGenerationCall,
    McpCall,
    Message,
    OutputItem,
    OutputText,
    Reasoning,
    Refusal,
    SummaryText,
    UnknownAnnotation,
    UnknownItem,
    UnknownPart,
    UrlCitation,
    WebSearchCall,
)
from tests.interpreters import in_fresh_interpreter

ITEM: TypeAdapter[OutputItem] = TypeAdapter(OutputItem)
PART: TypeAdapter[ContentPart] = TypeAdapter(ContentPart)
ANNOTATION: TypeAdapter[Annotation] = TypeAdapter(Annotation)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
WIRE_NAMES = st.sampled_from(["message", "reasoning", "mcp_call", "output_text", "refusal", "file_path", "other"])
FIELD_NAMES = st.sampled_from(["id", "status", "content", "summary", "text", "annotations", "error"]) | st.text()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"type": "message", "role": "assistant", "content": []}, Message(role="assistant")),
        ({"type": "message", "content": None}, Message()),
        ({"type": "message", "status": "from the future"}, Message(status="from the future")),
        ({"type": "function_call", "name": "f", "arguments": None}, FunctionCall(name="f", arguments="")),
        ({"type": "reasoning", "summary": None, "content": None}, Reasoning()),
        ({"type": "mcp_call", "error": "refused"}, McpCall(error="refused")),
        ({"type": "web_search_call", "status": "searching"}, WebSearchCall(status="searching")),
        ({"type": "image_generation_call", "prompt": "a cat"}, ImageGenerationCall.model_validate({"prompt": "a cat"})),
    ],
)
def test_a_known_item_becomes_its_model(data: dict[str, JsonValue], expected: OutputItem) -> None:
    assert ITEM.validate_python(data) == expected


@pytest.mark.parametrize(
    ("adapter", "unknown", "data"),
    [
        (ITEM, UnknownItem, {"type": "hologram_call", "id": "h_1", "status": "completed", "depth": 3}),
        (ITEM, UnknownItem, {"type": "message", "content": "not a list"}),
        (ITEM, UnknownItem, {"type": "reasoning", "summary": [17]}),
        (PART, UnknownPart, {"type": "output_hologram", "voxels": []}),
        (PART, UnknownPart, {"type": "output_text", "text": {"value": "nested"}}),
        (ANNOTATION, UnknownAnnotation, {"type": "footnote", "number": 1}),
        (ANNOTATION, UnknownAnnotation, {"type": "file_path", "index": "first"}),
    ],
)
def test_what_fits_no_model_is_kept_whole(
    adapter: TypeAdapter[object], unknown: type[UnknownItem], data: dict[str, JsonValue]
) -> None:
    result = adapter.validate_python(data)
    assert type(result) is unknown
    assert result.model_dump(exclude_unset=True) == data


@pytest.mark.parametrize("name", [None, 5, [], {}, True])
@pytest.mark.parametrize("adapter", [ITEM, PART, ANNOTATION], ids=["item", "part", "annotation"])
def test_a_type_that_is_no_name_counts_as_none(adapter: TypeAdapter[UnknownItem], name: JsonValue) -> None:
    assert adapter.validate_python({"type": name}).type == ""


@given(st.dictionaries(FIELD_NAMES, JSON, max_size=4), st.none() | WIRE_NAMES)
def test_no_object_fails(fields: dict[str, JsonValue], name: str | None) -> None:
    data = fields if name is None else {**fields, "type": name}
    for adapter in (ITEM, PART, ANNOTATION):
        adapter.validate_python(data)


def test_an_unknown_part_does_not_spoil_its_message() -> None:
    item = ITEM.validate_python({"type": "message", "content": [{"type": "video"}, {"type": "refusal"}, {}]})
    assert item == Message(content=[UnknownPart(type="video"), Refusal(), UnknownPart()])


def test_an_annotation_without_its_fields_is_still_typed() -> None:
    part = PART.validate_python({"type": "output_text", "annotations": [{"type": "url_citation", "url": "u"}]})
    assert part == OutputText(annotations=[UrlCitation(url="u")])


def test_unknown_fields_are_kept() -> None:
    part = PART.validate_python({"type": "summary_text", "text": "so", "lang": "en"})
    assert isinstance(part, SummaryText)
    assert part.model_extra == {"lang": "en"}


def test_models_do_not_share_their_lists() -> None:
    first, second = Message(), Message()
    first.content.append(Refusal())
    assert second.content == []


def test_models_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Message().role = "assistant"  # type: ignore[misc]


def test_a_field_whose_wire_name_is_a_keyword_keeps_that_name() -> None:
    call = FunctionCall.model_validate_json('{"type": "function_call", "async": true}')
    assert call.async_ is True
    assert call.model_dump(exclude_unset=True) == {"type": "function_call", "async": True}


UNBUILT = """
from pydantic import BaseModel
import streamkit.client
from streamkit.events import ResponseCreated
from streamkit.items import Item, OutputText
from streamkit.response import Response

def below(base):
    for model in base.__subclasses__():
        yield from (model, *below(model))

assert not [model for model in below(BaseModel) if "streamkit" in model.__module__ and model.__pydantic_complete__]
ResponseCreated(response=Response())
assert all(model.__pydantic_complete__ for model in (Response, OutputText, *Item.__subclasses__()))
"""


def test_models_are_built_with_the_first_that_holds_them_and_not_on_import() -> None:
    in_fresh_interpreter(UNBUILT)


MESSAGE = Message.model_validate({"type": "message", "content": [{"type": "output_text", "text": "Hello"}]})
UNVALIDATED = {
    "pickled": f"import pickle; model = pickle.loads({pickle.dumps(MESSAGE)!r})",
    "concluded": """
from streamkit import Completed, Response
from streamkit.structured import Conclusion
model = Conclusion(None)(Completed(response=Response())).response
""",
}


@pytest.mark.parametrize("make", UNVALIDATED.values(), ids=UNVALIDATED)
def test_a_model_that_was_never_validated_is_built_and_can_be_written_within_others(make: str) -> None:
    written = "import pydantic_core; assert model.__pydantic_complete__; pydantic_core.to_json([model])"
    in_fresh_interpreter(f"{make}\n{written}")
