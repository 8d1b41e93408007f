"""Opens a parsed reference: one line per kind of source."""

from __future__ import annotations

from dualmcmc.data.arrays import array
from dualmcmc.data.digits import digits
from dualmcmc.data.folders import folder
from dualmcmc.data.hub import hub, named
from dualmcmc.data.hub_stream import hub_stream, named_stream
from dualmcmc.data.parquet import parquet
from dualmcmc.data.reference import Reference
from dualmcmc.data.source import Source
from dualmcmc.errors import InputError


def open_source(reference: Reference) -> Source:
    """The source of a reference, its images not read yet.

    Raises:
        InputError: it is missing, empty, of a wrong form, or may not be read.
    """
    try:
        match reference.kind:
            case "named" if reference.stream:
                return named_stream(reference.place)
            case "hub" if reference.stream:
                return hub_stream(reference.place, reference.revision)
            case "named":
                return digits() if reference.place == "digits" else named(reference.place)
            case "hub":
                return hub(reference.place, reference.revision)
            case "folder":
                return folder(reference.place)
            case "parquet":
                return parquet(reference.place)
            case "array":
                return array(reference.place)
    except OSError as error:
        raise InputError(f"cannot read {reference.place!r}: {error.strerror or error}") from error
