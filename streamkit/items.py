"""What a response is made of: output items, their parts and annotations, and the open unions that hold them.

Models are thin: nearly every field is optional and unknown fields are kept, because servers differ in what they send.
An object that fits no model comes through as `UnknownItem`, `UnknownPart` or `UnknownAnnotation`.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, JsonValue
from pydantic_core import CoreSchema, core_schema

T = TypeVar("T")


class NullAs:
    """Marks a field in which servers write ``null`` for an empty value; all other values are validated in Rust."""

    def __init__(self, empty: Callable[[], object]) -> None:
        self._empty = empty

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept ``null`` besides what the annotated type accepts."""
        null = core_schema.no_info_after_validator_function(lambda _: self._empty(), core_schema.none_schema())
        return core_schema.union_schema([handler(source), null], mode="left_to_right")


class _AsItCame:
    """Marks a field that takes any value, and whose type pydantic need not look at."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Accept everything."""
        return core_schema.any_schema()


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


ListOf = Annotated[list[T], NullAs(list)]
Text = Annotated[str, NullAs(str)]

# What comes from a JSON parser is JSON, and a second look at it would cost more than the rest of the model.
Json = Annotated[JsonValue, _AsItCame()]
JsonObject = dict[str, Json]

# The unknown models accept any object, so that not even these fields may fail them.
AnyType = Annotated[str, BeforeValidator(_text_or_empty)]
AnyText = Annotated[str | None, BeforeValidator(_text_or_none)]

ItemStatus = Literal[
    "in_progress", "searching", "interpreting", "generating", "calling", "completed", "incomplete", "failed"
]


class Model(BaseModel):
    """Base of everything the wire carries: immutable, with fields it does not know kept in ``model_extra``."""

    # To build a class takes longer than to define it, and a program uses few of them: each waits for its first use.
    model_config = ConfigDict(
        frozen=True, extra="allow", serialize_by_alias=True, validate_by_name=True, defer_build=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler, /) -> CoreSchema:
        """Build the models in the fields first: pydantic would build them anew for each model that holds them."""
        if not cls.__pydantic_complete__:
            for model in _models_in(*(field.annotation for field in cls.model_fields.values())):
                model.model_rebuild()
        return handler(source)

    def __setstate__(self, state: dict[str, object]) -> None:
        # What holds it may be written in Rust, where pydantic can build nothing (its issue 7713).
        self.model_rebuild()
        super().__setstate__(state)

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Show what was sent, and leave out the many fields that were not."""
        return [(name, value) for name, value in super().__repr_args__() if value is not None]


def _models_in(*annotations: object) -> Iterator[type[Model]]:
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, Model):
            yield annotation
        yield from _models_in(*get_args(annotation))


class FileCitation(Model):
    """A file that text refers to, by its position in the list of files."""

    type: Literal["file_citation"] = "file_citation"
    file_id: str | None = None
    filename: str | None = None
    index: int | None = None


class UrlCitation(Model):
    """A web page that a span of the text comes from."""

    type: Literal["url_citation"] = "url_citation"
    url: str | None = None
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class ContainerFileCitation(Model):
    """A file in a code interpreter's container that a span of the text refers to."""

    type: Literal["container_file_citation"] = "container_file_citation"
    container_id: str | None = None
    file_id: str | None = None
    filename: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class FilePath(Model):
    """A path to a file that the model wrote."""

    type: Literal["file_path"] = "file_path"
    file_id: str | None = None
    index: int | None = None


class UnknownAnnotation(Model):
    """An annotation of a type, or of a shape, that has no model; its fields are in ``model_extra``."""

    type: AnyType = ""


Annotation = Annotated[
    Annotated[FileCitation | UrlCitation | ContainerFileCitation | FilePath, Field(discriminator="type")]
    | UnknownAnnotation,
    Field(union_mode="left_to_right"),
]


class TopLogprob(Model):
    """One of the likeliest tokens at a position."""

    token: str | None = None
    bytes: list[int] | None = None
    logprob: float | None = None


class Logprob(Model):
    """The log probability of a token of the output, with those of its rivals."""

    token: str | None = None
    bytes: list[int] | None = None
    logprob: float | None = None
    top_logprobs: ListOf[TopLogprob] = []


class OutputText(Model):
    """A part of a message that is text."""

    type: Literal["output_text"] = "output_text"
    text: Text = ""
    annotations: ListOf[Annotation] = []
    logprobs: ListOf[Logprob] = []


class Refusal(Model):
    """A part of a message in which the model declines to answer."""

    type: Literal["refusal"] = "refusal"
    refusal: Text = ""


class ReasoningText(Model):
    """A part of the reasoning itself, where a server shows it."""

    type: Literal["reasoning_text"] = "reasoning_text"
    text: Text = ""


class SummaryText(Model):
    """A part of the summary of a reasoning."""

    type: Literal["summary_text"] = "summary_text"
    text: Text = ""


class UnknownPart(Model):
    """A part of a type, or of a shape, that has no model; its fields are in ``model_extra``."""

    type: AnyType = ""


ContentPart = Annotated[
    Annotated[OutputText | Refusal | ReasoningText | SummaryText, Field(discriminator="type")] | UnknownPart,
    Field(union_mode="left_to_right"),
]


class InputPart(Model):
    """A text, an image or a file that a tool gave back; ``type`` says which."""

    type: Literal["input_text", "input_image", "input_file"] | str | None = None
    text: str | None = None
    detail: Literal["low", "high", "auto", "original"] | str | None = None
    file_id: str | None = None
    image_url: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    prompt_cache_breakpoint: JsonObject | None = None


class Caller(Model):
    """Who made a call: the model itself, or a program it wrote."""

    type: Literal["direct", "program"] | str | None = None
    caller_id: str | None = None


class Item(Model):
    """Base of the output items that have a model."""

    id: str | None = None
    status: ItemStatus | str | None = None


class Message(Item):
    """What the model says, as text or as a refusal."""

    type: Literal["message"] = "message"
    role: Literal["assistant"] | str | None = None
    content: ListOf[ContentPart] = []
    phase: Literal["commentary", "final_answer"] | str | None = None


class Reasoning(Item):
    """What the model thought before it went on: a summary, the text itself, or only an encrypted form."""

    type: Literal["reasoning"] = "reasoning"
    summary: ListOf[ContentPart] = []
    content: ListOf[ContentPart] = []
    encrypted_content: str | None = None


class FunctionCall(Item):
    """A call of one of the caller's functions; the answer goes into the next request under the same ``call_id``."""

    type: Literal["function_call"] = "function_call"
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Text = ""
    caller: Caller | None = None
    async_: bool | None = Field(default=None, alias="async")


class FunctionCallOutput(Item):
    """The answer to a function call."""

    type: Literal["function_call_output"] = "function_call_output"
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    output: str | list[InputPart] | None = None
    caller: Caller | None = None
    created_by: str | None = None


class CustomToolCall(Item):
    """A call of a custom tool, whose input is free text."""

    type: Literal["custom_tool_call"] = "custom_tool_call"
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    input: Text = ""
    caller: Caller | None = None
    async_: bool | None = Field(default=None, alias="async")


class CustomToolCallOutput(Item):
    """The answer to a custom tool call."""

    type: Literal["custom_tool_call_output"] = "custom_tool_call_output"
    call_id: str | None = None
    output: str | list[InputPart] | None = None
    caller: Caller | None = None
    created_by: str | None = None


class FileSearchResult(Model):
    """A passage that a file search found."""

    file_id: str | None = None
    filename: str | None = None
    score: float | None = None
    text: str | None = None
    attributes: JsonObject | None = None


class FileSearchCall(Item):
    """A search of the caller's vector stores."""

    type: Literal["file_search_call"] = "file_search_call"
    queries: ListOf[str] = []
    results: ListOf[FileSearchResult] = []


class WebSource(Model):
    """A page that a web search read."""

    type: Literal["url"] | str | None = None
    url: str | None = None


class WebSearchAction(Model):
    """One step of a web search: a query, a page opened, or a pattern looked for on a page; ``type`` says which."""

    type: Literal["search", "open_page", "find_in_page"] | str | None = None
    query: str | None = None
    queries: ListOf[str] = []
    sources: ListOf[WebSource] = []
    url: str | None = None
    pattern: str | None = None


class WebSearchCall(Item):
    """A search of the web; most servers fill the action in only when it is done."""

    type: Literal["web_search_call"] = "web_search_call"
    action: WebSearchAction | None = None


class SafetyCheck(Model):
    """A warning that must be acknowledged before a computer action is carried out."""

    id: str | None = None
    code: str | None = None
    message: str | None = None


class Point(Model):
    """A position on the screen."""

    x: int | None = None
    y: int | None = None


class ComputerAction(Model):
    """Something to do with the mouse, the keyboard or the screen; ``type`` says what."""

    type: (
        Literal["click", "double_click", "drag", "keypress", "move", "screenshot", "scroll", "type", "wait"]
        | str
        | None
    ) = None
    x: int | None = None
    y: int | None = None
    button: Literal["left", "right", "wheel", "back", "forward"] | str | None = None
    keys: ListOf[str] = []
    path: ListOf[Point] = []
    scroll_x: int | None = None
    scroll_y: int | None = None
    text: str | None = None


class ComputerCall(Item):
    """Actions that the caller is to carry out on a computer, in ``actions`` or, in older models, in ``action``."""

    type: Literal["computer_call"] = "computer_call"
    call_id: str | None = None
    action: ComputerAction | None = None
    actions: ListOf[ComputerAction] = []
    pending_safety_checks: ListOf[SafetyCheck] = []


class Screenshot(Model):
    """The screen after computer actions."""

    type: Literal["computer_screenshot"] | str | None = None
    file_id: str | None = None
    image_url: str | None = None


class ComputerCallOutput(Item):
    """The answer to a computer call."""

    type: Literal["computer_call_output"] = "computer_call_output"
    call_id: str | None = None
    output: Screenshot | None = None
    acknowledged_safety_checks: ListOf[SafetyCheck] = []
    created_by: str | None = None


class Program(Item):
    """A program that the model wrote in order to call tools."""

    type: Literal["program"] = "program"
    call_id: str | None = None
    code: Text = ""
    fingerprint: str | None = None


class ProgramOutput(Item):
    """What such a program returned."""

    type: Literal["program_output"] = "program_output"
    call_id: str | None = None
    result: str | None = None


class ToolSearchCall(Item):
    """A search among tools whose definitions were not loaded at first."""

    type: Literal["tool_search_call"] = "tool_search_call"
    call_id: str | None = None
    arguments: Json = None
    execution: Literal["server", "client"] | str | None = None
    created_by: str | None = None


class ToolSearchOutput(Item):
    """The tools that such a search found."""

    type: Literal["tool_search_output"] = "tool_search_output"
    call_id: str | None = None
    execution: Literal["server", "client"] | str | None = None
    tools: ListOf[Json] = []
    created_by: str | None = None


class AdditionalTools(Item):
    """Tools that became available in the course of a conversation."""

    type: Literal["additional_tools"] = "additional_tools"
    role: (
        Literal["unknown", "user", "assistant", "system", "critic", "discriminator", "developer", "tool"] | str | None
    ) = None
    tools: ListOf[Json] = []


class Compaction(Item):
    """The conversation so far in a short, encrypted form."""

    type: Literal["compaction"] = "compaction"
    encrypted_content: str | None = None
    created_by: str | None = None


class ImageGenerationError(Model):
    """Why an image was not made."""

    type: str | None = None
    code: str | None = None
    message: str | None = None
    param: str | None = None
    moderation_details: JsonObject | None = None


class ImageGenerationCall(Item):
    """An image that the model makes; ``result`` is base64."""

    type: Literal["image_generation_call"] = "image_generation_call"
    result: str | None = None
    action: Literal["generate", "edit", "auto"] | str | None = None
    background: Literal["transparent", "opaque", "auto"] | str | None = None
    error: ImageGenerationError | None = None
    output_format: Literal["png", "webp", "jpeg", "gif", "svg"] | str | None = None
    quality: Literal["low", "medium", "high", "xhigh", "max", "auto"] | str | None = None
    revised_prompt: str | None = None
    size: Literal["1024x1024", "1024x1536", "1536x1024"] | str | None = None
    svg_usage: JsonObject | None = None


class CodeInterpreterOutput(Model):
    """What code printed, or an image that it drew; ``type`` says which."""

    type: Literal["logs", "image"] | str | None = None
    logs: str | None = None
    url: str | None = None


class CodeInterpreterCall(Item):
    """Python code that the model wrote and the server runs; outputs come only where the request includes them."""

    type: Literal["code_interpreter_call"] = "code_interpreter_call"
    code: Text = ""
    container_id: str | None = None
    outputs: ListOf[CodeInterpreterOutput] = []


class LocalShellAction(Model):
    """A command for the caller's shell, as a list of arguments."""

    type: Literal["exec"] | str | None = None
    command: ListOf[str] = []
    env: JsonObject | None = None
    timeout_ms: int | None = None
    user: str | None = None
    working_directory: str | None = None


class LocalShellCall(Item):
    """A command that the caller is to run."""

    type: Literal["local_shell_call"] = "local_shell_call"
    call_id: str | None = None
    action: LocalShellAction | None = None


class LocalShellCallOutput(Item):
    """The answer to a local shell call."""

    type: Literal["local_shell_call_output"] = "local_shell_call_output"
    output: str | None = None


class ShellAction(Model):
    """Commands for a shell, with their limits."""

    commands: ListOf[str] = []
    timeout_ms: int | None = None
    max_output_length: int | None = None


class ShellEnvironment(Model):
    """Where shell commands run: on the caller's machine, or in a container."""

    type: Literal["local", "container_reference"] | str | None = None
    container_id: str | None = None


class ShellCall(Item):
    """Shell commands, run by the server in a container or by the caller."""

    type: Literal["shell_call"] = "shell_call"
    call_id: str | None = None
    action: ShellAction | None = None
    environment: ShellEnvironment | None = None
    caller: Caller | None = None
    created_by: str | None = None


class ShellOutcome(Model):
    """How a command ended: with an exit code, or by a timeout."""

    type: Literal["exit", "timeout"] | str | None = None
    exit_code: int | None = None


class ShellOutput(Model):
    """What one command printed, and how it ended."""

    stdout: Text = ""
    stderr: Text = ""
    outcome: ShellOutcome | None = None
    created_by: str | None = None


class ShellCallOutput(Item):
    """The answer to a shell call, one output for each command."""

    type: Literal["shell_call_output"] = "shell_call_output"
    call_id: str | None = None
    output: ListOf[ShellOutput] = []
    max_output_length: int | None = None
    caller: Caller | None = None
    created_by: str | None = None


class PatchOperation(Model):
    """A file to create, update or delete; a deletion has no ``diff``."""

    type: Literal["create_file", "update_file", "delete_file"] | str | None = None
    path: str | None = None
    diff: str | None = None


class ApplyPatchCall(Item):
    """A change to a file that the caller is to make."""

    type: Literal["apply_patch_call"] = "apply_patch_call"
    call_id: str | None = None
    operation: PatchOperation | None = None
    caller: Caller | None = None
    created_by: str | None = None


class ApplyPatchCallOutput(Item):
    """The answer to such a change."""

    type: Literal["apply_patch_call_output"] = "apply_patch_call_output"
    call_id: str | None = None
    output: str | None = None
    caller: Caller | None = None
    created_by: str | None = None


class McpError(Model):
    """Why a call of an MCP tool failed: in the protocol, over HTTP, or in the tool, which then fills ``content``."""

    type: Literal["mcp_protocol_error", "http_error", "mcp_tool_execution_error"] | str | None = None
    code: int | str | None = None
    message: str | None = None
    content: Json = None


class McpCall(Item):
    """A call of a tool of an MCP server, made by the server of the model."""

    type: Literal["mcp_call"] = "mcp_call"
    server_label: str | None = None
    name: str | None = None
    arguments: Text = ""
    output: str | None = None
    error: McpError | str | None = None
    approval_request_id: str | None = None


class McpTool(Model):
    """A tool that an MCP server offers."""

    name: str | None = None
    description: str | None = None
    input_schema: Json = None
    annotations: Json = None


class McpListTools(Item):
    """The tools that an MCP server offers."""

    type: Literal["mcp_list_tools"] = "mcp_list_tools"
    server_label: str | None = None
    tools: ListOf[McpTool] = []
    error: Json = None


class McpApprovalRequest(Item):
    """A call of an MCP tool that waits for consent; answer it in the next request."""

    type: Literal["mcp_approval_request"] = "mcp_approval_request"
    server_label: str | None = None
    name: str | None = None
    arguments: Text = ""


class McpApprovalResponse(Item):
    """The consent, or the lack of it."""

    type: Literal["mcp_approval_response"] = "mcp_approval_response"
    approval_request_id: str | None = None
    approve: bool | None = None
    reason: str | None = None


class UnknownItem(Model):
    """An item of a type, or of a shape, that has no model; its other fields are in ``model_extra``."""

    type: AnyType = ""
    id: AnyText = None
    status: AnyText = None


OutputItem = Annotated[
    Annotated[
        Message
        | Reasoning
        | FunctionCall
        | FunctionCallOutput
        | CustomToolCall
        | CustomToolCallOutput
        | FileSearchCall
        | WebSearchCall
        | ComputerCall
        | ComputerCallOutput
        | Program
        | ProgramOutput
        | ToolSearchCall
        | ToolSearchOutput
        | AdditionalTools
        | Compaction
        | ImageGenerationCall
        | CodeInterpreterCall
        | LocalShellCall
        | LocalShellCallOutput
        | ShellCall
        | ShellCallOutput
        | ApplyPatchCall
        | ApplyPatchCallOutput
        | McpCall
        | McpListTools
        | McpApprovalRequest
        | McpApprovalResponse,
        Field(discriminator="type"),
    ]
    | UnknownItem,
    Field(union_mode="left_to_right"),
]
