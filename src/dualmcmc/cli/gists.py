"""What an evaluation prints: the main figures of each task as a table."""

from __future__ import annotations

from typing import Any

from dualmcmc.cli.output import table


def gist(task: str, figures: dict[str, Any]) -> str:
    """A task's main figures as a table."""
    return table(GISTS[task](figures))


def _generation(figures: dict[str, Any]) -> list[list[str]]:
    kinds: dict[str, Any] = figures["figures"]
    steps = [str(k) for k in figures["steps"]]
    rows = [["steps of the data chain", *steps]]
    return rows + [[name, *(_number(values[k]) for k in steps)] for name, values in kinds.items()]


def _reconstruction(figures: dict[str, Any]) -> list[list[str]]:
    kinds = {"inference": figures["inference"]} if "inference" in figures else {}
    kinds |= {f"inference + {k} steps": values for k, values in figures["from_inference"].items()}
    kinds |= {f"noise + {k} steps": values for k, values in figures["from_noise"].items()}
    kinds[f"PCA, {figures['pca']['dimensions']} dimensions"] = figures["pca"]
    names = ("mse", "mse01", "psnr", "ssim")
    rows = [["", "MSE [-1, 1]", "MSE [0, 1]", "PSNR", "SSIM"]]
    return rows + [[kind, *(_number(values[name]) for name in names)] for kind, values in kinds.items()]


def _revision(figures: dict[str, Any]) -> list[list[str]]:
    data, latent, distance = figures["data_chain"], figures["latent_chain"], figures["distance"]
    rows = [["", "at the start", "at the end"]]
    if data is not None:
        rows.append(["log-density", _number(data["log_density"][0]), _number(data["log_density"][-1])])
    if latent is not None:
        rows.append(["MSE (latent chain)", _number(latent["mse"][0]), _number(latent["mse"][-1])])
    if distance is not None:
        name, *values = distance.values()
        rows.append([name, *map(_number, values)])
    if data is None:
        return rows
    rows.append(["pixels moved, rms", "0", _number(data["moved"])])
    gained = data["long"]["drift"] / data["temperature"]
    return [*rows, ["log-density gained after ten times the length", "0", _number(gained)]]


def _interpolation(figures: dict[str, Any]) -> list[list[str]]:
    if "prior" not in figures:
        return [["paths of each kind", str(figures["pairs"])]]
    rows = [["log-density dips by", "linear", "spherical"]]
    return rows + [
        [f"between {kind}", *(_number(figures[kind][path]["dip"]) for path in ("linear", "spherical"))]
        for kind in ("prior", "images")
    ]


def _ood(figures: dict[str, Any]) -> list[list[str]]:
    kinds = [kind for kind in next(iter(figures["sets"].values())) if kind != "n"]
    rows = [["AUROC by", *kinds]]
    return rows + [[name, *(_number(of[kind]["auroc"]) for kind in kinds)] for name, of in figures["sets"].items()]


def _inpainting(figures: dict[str, Any]) -> list[list[str]]:
    stages = [*next(iter(figures["masks"].values()))["stages"]]
    rows = [["PSNR / SSIM", *stages]]
    return rows + [
        [mask, *(f"{_number(of['stages'][s]['psnr'])} / {of['stages'][s]['ssim']:.3f}" for s in stages)]
        for mask, of in figures["masks"].items()
    ]


def _images(figures: dict[str, Any]) -> list[list[str]]:
    return [["", "images"], *([name, _number(value["images"])] for name, value in figures["figures"].items())]


GISTS = {
    "generation": _generation,
    "images": _images,
    "reconstruction": _reconstruction,
    "revision": _revision,
    "interpolation": _interpolation,
    "ood": _ood,
    "inpainting": _inpainting,
}


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['mean']:.4g} ± {value['standard_error']:.2g}"
    return f"{value:.4g}"
