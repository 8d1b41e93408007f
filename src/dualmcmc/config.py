"""Configurations in and out: checked by pydantic, kept as JSON, compared when a run is resumed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc import limits, methods, reading, settings
from dualmcmc.errors import InputError
from dualmcmc.settings import Config

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError


_ROOM = 200
"""Characters of a value that a message shows."""


@cache
def _adapter() -> TypeAdapter[Config]:
    from pydantic import ConfigDict, TypeAdapter

    for value in (*vars(settings).values(), *methods.METHODS.values()):
        if isinstance(value, type) and is_dataclass(value):
            value.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # type: ignore[attr-defined]
    return TypeAdapter(Config)


def check(config: Config) -> Config:
    """The configuration, if every field is within its bounds and they fit together.

    Raises:
        InputError: naming the field, what it holds and what it may hold.
    """
    return from_dict(asdict(config))


def from_dict(values: dict[str, Any]) -> Config:
    """A checked configuration from nested dictionaries; see `check`."""
    from pydantic import ValidationError

    try:
        config = _adapter().validate_python(values)
    except ValidationError as error:
        raise InputError(_one_line(error)) from None
    _check_together(config)
    return config


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    # Below `method` pydantic names the chosen method, too, which is no part of the setting's path.
    loc = [part for i, part in enumerate(first["loc"]) if not (i == 1 and part in methods.METHODS)]
    place = ".".join(map(str, loc))[:_ROOM]
    if first["type"].startswith("union_tag"):
        tag = first["input"].get("name") if isinstance(first["input"], dict) else first["input"]
        return f"setting {place}.name is {_shown(tag)}: choose one of {', '.join(methods.METHODS)}"
    message = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] in ("missing", "unexpected_keyword_argument"):
        return f"setting {place}: {message}"
    return f"setting {place} is {_shown(first['input'])}: {message}"


def _shown(value: Any) -> str:
    """As much of a value as a line has room for."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= _ROOM else f"{text[:_ROOM]}..."


def _check_together(config: Config) -> None:
    if methods.temperature(config.method) == 0:
        raise InputError(
            "setting method.data_chain.temperature is 0: training needs T > 0, since log pi = h / T; "
            "a test chain may have T = 0"
        )
    if config.run.minutes and config.optim.schedule in ("linear", "cosine"):
        raise InputError(
            f"setting optim.schedule is {config.optim.schedule!r}, which falls towards a last update that a "
            "budget of time does not know: bound the run by updates, or choose another schedule"
        )
    if config.guard.remedy == "chain" and not hasattr(config.method, "data_chain"):
        raise InputError(
            f"setting guard.remedy is 'chain': method {config.method.name} has no data chain; choose 'rate'"
        )
    if config.run.micro_batch and config.networks.norm == "batch":
        raise InputError(
            f"setting run.micro_batch is {config.run.micro_batch}: BatchNorm needs the whole batch at once; "
            "leave it 0, or choose --networks.norm group"
        )
    if config.data.startswith(settings.STREAM):
        _check_stream(config)
    _check_states(config)
    wide = config.images.size >= 64 and config.networks.family == "residual"
    for name in ("energy_width", "generator_width"):
        width = getattr(config.networks, name)
        if wide and width % 16:
            raise InputError(
                f"setting networks.{name} is {width}: residual networks of 64 pixels and more "
                "narrow to a sixteenth of it, so it must be a multiple of 16"
            )


def _check_stream(config: Config) -> None:
    if methods.remembers_images(config.method):
        raise InputError(
            f"method {config.method.name} remembers something of every training image, which a stream cannot tell "
            "apart: leave `stream:` out of --data, or choose another method"
        )
    if config.optim.schedule == "epoch":
        raise InputError(
            "setting optim.schedule is 'epoch', but nobody knows how many updates an epoch of a stream takes: "
            "choose constant, linear or cosine"
        )


def _check_states(config: Config) -> None:
    each = config.images.channels * config.images.size**2
    for name in ("buffer", "bank"):
        states = getattr(config.method, name, 0)
        if states * each > limits.STATES:
            raise InputError(
                f"setting method.{name} is {states:,}: of {each:,} numbers each, {limits.STATES // each:,} are "
                "kept at most"
            )


def to_dict(config: Config) -> dict[str, Any]:
    """Nested dictionaries that JSON holds without loss (tuples become lists there and back)."""
    return asdict(config)


def identity(config: Config) -> str:
    """SHA-256 of what decides which weights a run learns: all but lengths, intervals and the guard."""
    values = {name: value for name, value in to_dict(config).items() if name not in ("run", "guard")}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read(path: Path) -> Config:
    """The configuration kept at `path`.

    Raises:
        InputError: the file is missing, no JSON object, or not a configuration.
    """
    try:
        values = reading.json_of(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is missing: is its folder a run?") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): restore it from a copy") from None
    if not isinstance(values, dict) or not isinstance(values.get("config"), dict):
        raise InputError(f"{path} holds no configuration: is its folder a run?")
    try:
        return from_dict(values["config"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def differences(ours: Any, theirs: Any) -> list[str]:
    """One line per field in which two settings differ, "field is ours, not theirs"."""
    return list(_differ("", ours, theirs))


def _differ(place: str, ours: Any, theirs: Any) -> list[str]:
    if not is_dataclass(ours) or not is_dataclass(theirs):
        return [] if ours == theirs else [f"{place.lstrip('.')} is {ours}, not {theirs}"]
    if type(ours) is not type(theirs):
        return [f"{place.lstrip('.')} is {getattr(ours, 'name', ours)}, not {getattr(theirs, 'name', theirs)}"]
    lines = []
    for field in fields(ours):
        lines += _differ(f"{place}.{field.name}", getattr(ours, field.name), getattr(theirs, field.name))
    return lines
