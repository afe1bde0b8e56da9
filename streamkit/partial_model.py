"""Models of answers that are still being written: the fields of a type, each of them there once what came fits it."""

import dataclasses
import re
import types
import warnings
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache, reduce
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ForwardRef,
    NotRequired,
    Required,
    Self,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from streamkit.errors import UsageError

CACHED_TYPES = 256
"""Types whose partial models, schemas and validators are kept for the next use."""

_TEMPORAL = (date, datetime, time, timedelta)
_NUMBER = re.compile(r"[-+]?[0-9]*\.?[0-9]*")


class PartialModel(BaseModel):
    """As much of a model, a dataclass or a ``TypedDict`` as has come.

    It has the same fields. Each is ``None`` until what came fits its type: text and lists grow, objects are partial
    models themselves; numbers, dates, enums and the like are there when they are valid. ``model_fields_set`` tells a
    ``null`` that came from what has not come. Constraints on lists and objects, and validators of whole models, wait
    for the whole answer.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, protected_namespaces=(), defer_build=True)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> object: ...

    @model_validator(mode="wrap")
    @classmethod
    def _leave_out_what_does_not_fit(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            if not isinstance(data, Mapping):
                raise
            unfit = {details["loc"][0] for details in error.errors(include_url=False, include_input=False)}
            return handler(
                {name: value for name, value in cast("Mapping[str, object]", data).items() if name not in unfit}
            )


def partial_model(type_: type[object]) -> type[PartialModel]:
    """Return the partial model of a type, the same one the next time.

    Validate the JSON object so far with its ``model_validate``; that costs about as much as to validate the whole type.

    Raises:
        UsageError: the type is no model, no dataclass and no ``TypedDict``.
    """
    core: Any = without_wrapping(type_)
    if not has_fields(core):
        raise UsageError(f"{type_!r} has no fields to show one by one: use a model, a dataclass or a TypedDict")
    return _kept_partial_model(core)


@lru_cache(maxsize=CACHED_TYPES)
def _kept_partial_model(type_: Any) -> type[PartialModel]:
    return _Siblings().build(type_)


class _Siblings:
    """The partial models of one type and of all that it contains, itself among them where it is recursive."""

    def __init__(self) -> None:
        self._references: dict[Any, ForwardRef] = {}
        self._models: dict[str, type[PartialModel]] = {}
        self._aliases: list[Any] = []

    def build(self, type_: Any) -> type[PartialModel]:
        reference = self._reference(type_)
        for model in self._models.values():
            model.model_rebuild(_types_namespace=self._models)
        return self._models[reference.__forward_arg__]

    def _reference(self, type_: Any) -> ForwardRef:
        if type_ not in self._references:
            reference = self._references[type_] = ForwardRef(f"_Partial{len(self._references)}")
            fields: dict[str, Any] = {
                name: (_or_none(self._partial(annotation)), Field(default=None, alias=alias))
                for name, (annotation, alias) in fields_of(type_).items()
            }
            self._models[reference.__forward_arg__] = _model_of(type_, fields)
        return self._references[type_]

    def _partial(self, annotation: Any) -> Any:
        if is_alias(annotation):
            return self._partial_of_alias(annotation)
        core: Any = without_wrapping(annotation)
        origin, arguments = get_origin(core), get_args(core)
        if has_fields(core):
            return self._reference(core)
        if is_list(core):
            return _list_of(self._partial(arguments[0]))
        if origin in (Union, types.UnionType):
            return reduce(lambda left, right: left | right, [self._partial(argument) for argument in arguments])
        if core in _TEMPORAL:
            return Annotated[core, BeforeValidator(_no_number)]
        return annotation

    def _partial_of_alias(self, alias: Any) -> Any:
        if alias in self._aliases:
            # It is recursive: what stands within itself comes whole.
            return alias
        self._aliases.append(alias)
        partial = self._partial(alias.__value__)
        self._aliases.pop()
        return partial


def _or_none(annotation: Any) -> Any:
    try:
        return annotation | None
    except TypeError:
        # Unions are of what can be hashed, and not all metadata can be.
        return annotation


def _model_of(type_: Any, fields: dict[str, Any]) -> type[PartialModel]:
    if private := [name for name in fields if name.startswith("_")]:
        raise UsageError(f"{type_!r}: field {private[0]!r} begins with '_'; use a model, and give the field an alias")
    name = f"Partial{(get_origin(type_) or type_).__name__}"
    with warnings.catch_warnings():
        # A field called json or copy hides a method that nobody needs here.
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute", category=UserWarning)
        return create_model(name, __base__=PartialModel, **fields)


def _list_of(element: Any) -> Any:
    fitting: Any = Annotated[element, WrapValidator(_fitting)]
    return Annotated[cast("Any", list)[fitting], AfterValidator(_without_absent)]


def without_wrapping(annotation: object) -> object:
    """Return the type within ``Annotated``, root models and named aliases."""
    core: Any = annotation
    while True:
        if get_origin(core) is Annotated:
            core = get_args(core)[0]
        elif _is_model(core) and core.__pydantic_root_model__:
            core = core.model_fields["root"].annotation
        elif is_alias(core):
            core = core.__value__
        else:
            return core


def is_alias(type_: object) -> bool:
    """Tell whether a type is one that ``type Name = …`` made, and does not name its value as text."""
    # There are several such classes: that of typing_extensions, and that of Python from 3.12 on.
    return type(type_).__name__ == "TypeAliasType" and not isinstance(cast("Any", type_).__value__, str)


def is_list(type_: object) -> bool:
    """Tell whether a type is a list, or a tuple of any length, of elements of one type."""
    return get_origin(type_) in (list, Sequence) or get_args(type_)[1:] == (...,)


def has_fields(type_: object) -> bool:
    """Tell whether a type is a model, a dataclass or a ``TypedDict``."""
    core: Any = get_origin(type_) or type_
    return _is_model(core) or dataclasses.is_dataclass(core) or _is_typed_dict(core)


def _is_model(type_: object) -> bool:
    return isinstance(type_, type) and issubclass(type_, BaseModel)


def _is_typed_dict(type_: Any) -> bool:
    # typing.is_typeddict does not know those of typing_extensions, which pydantic asks for before Python 3.12.
    return hasattr(type_, "__required_keys__") and hasattr(type_, "__total__")


def fields_of(type_: object) -> dict[str, tuple[object, str | None]]:
    """Return annotation and wire name of each field of a type that has some."""
    core: Any = get_origin(type_) or type_
    given: dict[object, object] = dict(zip(getattr(core, "__parameters__", ()), get_args(type_), strict=False))
    described: dict[str, FieldInfo] | None = getattr(core, "__pydantic_fields__", None)
    if described is not None:
        return {name: (_filled(_annotation_of(field), given), _alias_of(field)) for name, field in described.items()}
    hints = get_type_hints(core, include_extras=True)
    names = [field.name for field in dataclasses.fields(core)] if dataclasses.is_dataclass(core) else list(hints)
    return {name: (_filled(_without_qualifier(hints[name]), given), None) for name in names}


def _filled(hint: Any, given: Mapping[object, object]) -> Any:
    """Return an annotation of a generic type with the types that it was given."""
    if isinstance(hint, TypeVar):
        return given.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ()) if get_origin(hint) is not None else ()
    return hint[tuple(given.get(parameter, parameter) for parameter in parameters)] if parameters else hint


def _without_qualifier(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint


def _annotation_of(field: FieldInfo) -> Any:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def _alias_of(field: FieldInfo) -> str | None:
    """Return the name that the schema has for a field: of several, it is the first."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        alias = next((choice for choice in alias.choices if isinstance(choice, str)), None)
    return alias if isinstance(alias, str) else field.alias


class _Absent:
    """In place of an element that does not fit yet."""


def _fitting(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    try:
        return handler(value)
    except ValidationError:
        return _Absent


def _without_absent(elements: list[object]) -> list[object]:
    return [element for element in elements if element is not _Absent]


def _no_number(value: object) -> object:
    # Pydantic would read the year of a growing date as seconds since 1970.
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        raise ValueError("a date or a time is not whole yet")
    return value
