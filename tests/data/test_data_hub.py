"""Hub sets: found, converted and refused as stated, with the library `datasets` in place of a network."""

from __future__ import annotations

import io
import time
from pathlib import Path

import datasets
import huggingface_hub
import pytest
from PIL import Image

from dualmcmc.data import NAMED, holdout, hub, load
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

RULE = Images(size=28, channels=1)


def rows(values: list[int], column: str = "image") -> datasets.Dataset:
    images = []
    for value in values:
        file = io.BytesIO()
        Image.new("L", (28, 28), value).save(file, "PNG")
        images.append({"bytes": file.getvalue(), "path": f"{value}.png"})
    features = datasets.Features({"label": datasets.Value("int64"), column: datasets.Image()})
    return datasets.Dataset.from_dict({"label": [0] * len(values), column: images}, features=features)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """A hub on which every set is train = 1..20, test = 21, valid = 22; records what was asked for."""
    asked: list[tuple[object, ...]] = []

    def load_dataset(repo: str, config: str | None, revision: str | None) -> datasets.DatasetDict:
        asked.append((repo, config, revision))
        parts = {"train": rows(list(range(1, 21)), "img"), "test": rows([21]), "valid": rows([22])}
        return datasets.DatasetDict({"train": parts["train"]} if repo == "only/train" else parts)

    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_named_sets_come_from_their_pinned_revision_and_only_once(served: list[tuple[object, ...]]):
    images = load("mnist", RULE)
    assert served == [("ylecun/mnist", "mnist", NAMED["mnist"].revision)]
    assert (images.split, images.pixels[:, 0, 0, 0].tolist()) == ("train", list(range(1, 21)))
    load("mnist", RULE)
    assert len(served) == 1
    assert load("mnist", RULE, verify=True).fingerprint == images.fingerprint
    held = holdout("mnist", RULE)
    assert held is not None
    assert list(held.names) == ["21.png"]


def test_celeba_is_tested_on_its_validation_images(served: list[tuple[object, ...]]):
    images = load("celeba64:test", RULE)
    assert images.pixels[:, 0, 0, 0].tolist() == [22]


def test_any_hub_set_is_found_by_its_image_column(served: list[tuple[object, ...]]):
    assert len(load("hf:some/set@v1:valid", RULE)) == 1
    assert served == [("some/set", None, "v1")]
    with pytest.raises(InputError, match="no split 'x': it has train, test, valid"):
        load("hf:some/set:x", RULE)


def test_a_hub_set_of_train_alone_holds_out_a_tenth(served: list[tuple[object, ...]]):
    held = holdout("hf:only/train", RULE)
    assert held is not None
    assert held.pixels[:, 0, 0, 0].tolist() == [10, 20]


def test_a_hub_set_without_images_is_refused(served: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch):
    text = datasets.DatasetDict({"train": datasets.Dataset.from_dict({"text": ["x"]})})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: text)
    with pytest.raises(InputError, match=r"hf:some/text has no image column.*text"):
        load("hf:some/text", RULE)


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What HF_HUB_OFFLINE=1 sets when the libraries are imported, and an empty cache of theirs."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("ref", ["mnist", "lsun_church64:test", "hf:owner/name"])
def test_a_set_neither_cached_nor_reachable_is_refused_soon(ref: str):
    start = time.monotonic()
    with pytest.raises(InputError, match="offline, give its images as --data PATH") as caught:
        load(ref, RULE)
    assert time.monotonic() - start < 10
    assert "\n" not in str(caught.value)


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch):
    class Silent:
        def head(self, *_: object, **__: object) -> None:
            time.sleep(2)

    monkeypatch.setattr(huggingface_hub, "get_session", Silent)
    monkeypatch.setattr(hub, "_PATIENCE", 0.1)
    start = time.monotonic()
    assert not hub.reachable()
    assert time.monotonic() - start < 1


def test_offline_another_cached_revision_is_refused(monkeypatch: pytest.MonkeyPatch):
    held = rows([1])
    monkeypatch.setattr(hub, "reachable", lambda: False)
    monkeypatch.setattr(hub, "_commit", lambda _: "0" * 40)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict(train=held, test=held))
    with pytest.raises(InputError, match="0000000"):
        load("mnist", RULE)
