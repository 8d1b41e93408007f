"""What the figures are, whatever the network: closed forms, invariances, and equality with the tools of others."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dualmcmc import InputError
from dualmcmc.metrics import (
    Comparison,
    InceptionScore,
    Moments,
    compare,
    compare_where,
    concatenate,
    frechet_distance,
    import_torchmetrics,
    kernel_distance,
    ranking,
    ssim_window,
    summary,
)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=_rng(seed), dtype=torch.float64)


def _moments(*batches: Tensor) -> Moments:
    moments = Moments(batches[0].shape[1])
    for batch in batches:
        moments.update(batch)
    return moments


def _gaussian(mean: Tensor, covariance: Tensor, n: int = 1000) -> Moments:
    """Moments of n rows that have exactly this mean and covariance."""
    moments = Moments(len(mean))
    moments.n, moments.sum = n, n * mean
    moments.outer = (n - 1) * covariance + n * mean.outer(mean)
    return moments


def _rotation(n: int, seed: int = 0) -> Tensor:
    return torch.linalg.qr(_normal(n, n, seed=seed))[0]


# -- Fréchet distance ------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [500, 20])
def test_the_frechet_distance_of_equal_statistics_is_0(n: int) -> None:
    """Also with fewer images than features, where eigenvalues of the product would give 1e-8 of the trace."""
    x = _normal(n, 40) * 3 + 7
    whole, cut = _moments(x), _moments(x[n // 2 :], x[: n // 3], x[n // 3 : n // 2])
    assert frechet_distance(whole, cut) < 1e-11 * whole.covariance.trace()


def test_moments_are_the_mean_and_covariance_over_n_minus_1() -> None:
    x = _normal(50, 4) + 100
    torch.testing.assert_close(_moments(x[:20], x[20:]).mean, x.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(_moments(x[:20], x[20:]).covariance, x.T.cov(), rtol=0, atol=1e-10)


def test_the_frechet_distance_of_commuting_gaussians_is_that_of_their_deviations() -> None:
    """|m_a - m_b|^2 + sum_i (s_i - t_i)^2 where both covariances have the same axes."""
    s, t, mean, q = _normal(6).abs(), _normal(6, seed=1).abs(), _normal(6, seed=2), _rotation(6)
    a, b = (_gaussian(shift, q * d**2 @ q.T) for shift, d in ((mean, s), (2 * mean, t)))
    expected = mean.square().sum() + (s - t).square().sum()
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)


def test_the_frechet_distance_of_gaussians_in_the_plane_is_the_closed_form() -> None:
    """For 2 x 2 matrices of any axes, tr (A B)^(1/2) = sqrt(tr AB + 2 sqrt(det AB))."""
    A, B = (x @ x.T for x in (_normal(2, 2), _normal(2, 2, seed=1)))
    zero = torch.zeros(2, dtype=torch.float64)
    shared = ((A @ B).trace() + 2 * (A @ B).det().sqrt()).sqrt()
    expected = (A.trace() + B.trace() - 2 * shared).item()
    assert frechet_distance(_gaussian(zero, A), _gaussian(zero, B)) == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_is_symmetric_and_unmoved_by_a_common_rotation_and_shift() -> None:
    a, b, q = _normal(300, 16) @ _normal(16, 16, seed=1), _normal(200, 16, seed=2), _rotation(16, seed=3)
    distance = frechet_distance(_moments(a), _moments(b))
    assert frechet_distance(_moments(b), _moments(a)) == pytest.approx(distance, rel=1e-10)
    assert frechet_distance(_moments(a @ q + 5), _moments(b @ q + 5)) == pytest.approx(distance, rel=1e-10)


def test_with_few_images_the_frechet_distance_is_that_of_the_rows_themselves() -> None:
    """tr (S_a^(1/2) S_b S_a^(1/2))^(1/2) is the nuclear norm of X_a X_b^T, rows centred, over n - 1."""
    a, b = _normal(10, 60) + 3, _normal(10, 60, seed=1)
    centred = [x - x.mean(0) for x in (a, b)]
    traces = sum(x.square().sum() / 9 for x in centred)
    shared = torch.linalg.matrix_norm(centred[0] @ centred[1].T, "nuc") / 9
    expected = (a.mean(0) - b.mean(0)).square().sum() + traces - 2 * shared
    assert frechet_distance(_moments(a), _moments(b)) == pytest.approx(expected.item(), rel=1e-9)


def test_the_frechet_distance_is_torchmetrics_own() -> None:
    import_torchmetrics()
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Rows(nn.Identity):
        num_features = 24

    theirs = FrechetInceptionDistance(Rows())
    a = _normal(150, 24).float() @ _normal(24, 24, seed=1).float()
    b = _normal(100, 24, seed=2).float().exp()
    for x, real in ((a[:70], True), (a[70:], True), (b, False)):
        theirs.update(x, real=real)
    assert frechet_distance(_moments(a), _moments(b)) == pytest.approx(theirs.compute().item(), rel=1e-6)


def test_moments_kept_in_a_file_are_the_same_moments(tmp_path: Path) -> None:
    moments = _moments(_normal(9, 3).float())
    save_file(moments.tensors(), tmp_path / "moments.safetensors")
    kept = load_file(tmp_path / "moments.safetensors")
    again = Moments.from_tensors(kept)
    assert (again.n, again.sum.tolist(), again.outer.tolist()) == (9, moments.sum.tolist(), moments.outer.tolist())
    for broken in ({}, {**kept, "outer": kept["outer"][:2]}, {**kept, "sum": kept["sum"].float()}):
        with pytest.raises(ValueError, match="no moments of features"):
            Moments.from_tensors(broken)


def test_what_has_no_frechet_distance_is_refused() -> None:
    one, two = _moments(_normal(1, 3)), _moments(_normal(2, 3))
    with pytest.raises(InputError, match="features of 1 images: it takes 2"):
        frechet_distance(two, one)
    with pytest.raises(ValueError, match="length 3 and 4"):
        frechet_distance(two, _moments(_normal(2, 4)))
    with pytest.raises(ValueError, match=r"expected \(B, 3\)"):
        two.update(_normal(2, 4))
    with pytest.raises(InputError, match="not finite"):
        frechet_distance(two, _moments(torch.full((2, 3), math.nan)))


# -- kernel distance -------------------------------------------------------------------------------


def test_the_kernel_distance_averages_to_0_on_halves_of_one_set_and_its_error_is_honest() -> None:
    """Over random halves of one fixed set the unbiased estimate has mean 0 exactly.

    The reported error is honest if its square is on average the variance of the means. Variances over R
    repeats carry a relative error of sqrt((kurtosis - 1) / R).
    """
    repeats, n = 400, 80
    x, order = _normal(n, 3).exp(), _rng(1)
    halves = [x[torch.randperm(n, generator=order)].chunk(2) for _ in range(repeats)]
    means, errors = torch.tensor([kernel_distance(*pair, block=10) for pair in halves]).double().T
    assert abs(means.mean()) < 4 * means.std() / repeats**0.5
    standard = (means - means.mean()) / means.std()
    # Halves of one fixed set are drawn without replacement, so blocks are not quite independent: some 10 %.
    tolerance = 4 * ((standard**4).mean() - 1).div(repeats).sqrt() + 0.1
    assert abs(errors.square().mean() / means.var() - 1) < tolerance


def test_the_kernel_distance_of_a_shifted_set_is_positive() -> None:
    mean, error = kernel_distance(_normal(400, 5), _normal(400, 5, seed=1) + 0.5, block=50)
    assert mean > 4 * error > 0


def test_the_kernel_distance_in_one_block_is_torchmetrics_own() -> None:
    """A set is dealt to two blocks at least; theirs takes each as one subset."""
    kid = import_torchmetrics().image.kid.KernelInceptionDistance
    a, b = _normal(40, 6), _normal(40, 6, seed=1) * 1.5
    values = []
    for rows in np.random.RandomState(0).permutation(40).reshape(2, 20):
        with pytest.warns(UserWarning, match="will save all extracted features"):
            theirs = kid(nn.Identity(), subsets=1, subset_size=20)
        theirs.update(a[rows], real=True)
        theirs.update(b[rows], real=False)
        values.append(theirs.compute()[0].item())
    ours = kernel_distance(a, b)
    assert ours.mean == pytest.approx(sum(values) / 2, rel=1e-10)
    assert ours.standard_error == pytest.approx(abs(values[0] - values[1]) / 2, rel=1e-10)


def test_blocks_are_equal_and_leave_out_fewer_rows_than_there_are_blocks() -> None:
    """A row that is left out cannot change the figure, any other does; 11 rows make 3 blocks of 3."""
    a, b = _normal(11, 3), _normal(14, 3, seed=1)
    figure = kernel_distance(a, b, block=4)
    changes = []
    for row in range(11):
        other = a.clone()
        other[row] += 1
        changes.append(kernel_distance(other, b, block=4) != figure)
    assert sum(changes) == 9
    assert all(math.isfinite(kernel_distance(a[:n], b[:n], block=2).mean) for n in range(4, 12))


def test_sets_sorted_by_class_or_with_classes_in_turn_are_as_near_as_any_other() -> None:
    """As many blocks as classes: cut from either order, consecutively or every 8th, they would hold one class."""
    classes, (of_a, of_b) = 3 * _normal(8, 2), torch.randint(8, (2, 400), generator=_rng())
    a, b = classes[of_a] + _normal(400, 2, seed=1), classes[of_b] + _normal(400, 2, seed=2)
    turn = nn.functional.one_hot(of_b).cumsum(0).gather(1, of_b[:, None])[:, 0]
    a, b = a[of_a.argsort()], b[(8 * turn + of_b).argsort()]
    mean, error = kernel_distance(a, b, block=50)
    assert abs(mean) < 4 * error
    consecutive = [kernel_distance(a[i : i + 50], b[i : i + 50]).mean for i in range(0, 400, 50)]
    assert sum(consecutive) / 8 > 10 * (abs(mean) + error)


def test_what_has_no_kernel_distance_is_refused() -> None:
    with pytest.raises(InputError, match="of 3 and 9 images: it takes 4"):
        kernel_distance(_normal(3, 2), _normal(9, 2))
    with pytest.raises(ValueError, match="features of shape"):
        kernel_distance(_normal(9, 2), _normal(9, 3))


# -- inception score -------------------------------------------------------------------------------


def _score(p: Tensor, indices: Tensor | range | None = None, splits: int = 10) -> tuple[float, float]:
    score = InceptionScore(p.shape[1], splits)
    score.update(p, range(len(p)) if indices is None else indices)
    return tuple(score.compute())


def test_the_inception_score_is_1_for_constant_and_c_for_balanced_one_hot_predictions() -> None:
    p = _normal(1, 7).softmax(1).expand(100, -1)
    assert _score(p) == pytest.approx((1, 0), abs=1e-12)
    one_hot = torch.eye(7).repeat_interleave(10, 0)  # image i is of class i // 10, each part has all seven
    assert _score(one_hot) == pytest.approx((7, 0), abs=1e-12)


def test_the_inception_score_is_the_mean_of_the_parts_exponential_mean_divergences() -> None:
    p = (3 * _normal(95, 4)).softmax(1)
    scores = []
    for i in range(10):
        part = p[i::10]
        scores.append((part * (part / part.mean(0)).log()).sum(1).mean().exp())
    values = torch.stack(scores)
    expected = values.mean().item(), values.std().item() / 10**0.5
    assert _score(p) == pytest.approx(expected, rel=1e-12)


def test_the_inception_score_is_unmoved_by_order_and_batches() -> None:
    p, order = (3 * _normal(60, 4)).softmax(1).float(), torch.randperm(60, generator=_rng(1))
    score = InceptionScore(4)
    for rows in order.split(7):
        score.update(p[rows], rows)
    assert tuple(score.compute()) == pytest.approx(_score(p), rel=1e-12)


def test_what_has_no_inception_score_is_refused() -> None:
    with pytest.raises(InputError, match="in 10 parts of 9 images leaves parts empty"):
        _score(torch.full((9, 2), 0.5))
    for logits in (_normal(20, 3), torch.full((20, 3), math.nan)):
        with pytest.raises(ValueError, match="not probabilities"):
            _score(logits)
    with pytest.raises(ValueError, match="for 4 images"):
        _score(torch.full((3, 2), 0.5), range(4))
    with pytest.raises(ValueError, match="takes 2 or more"):
        InceptionScore(2, splits=1)


# -- ranking ---------------------------------------------------------------------------------------


def test_separated_sets_rank_perfectly_and_the_other_way_round_not_at_all() -> None:
    high, low = torch.arange(10, 20), torch.arange(10)
    assert ranking(high, low) == pytest.approx({"auroc": 1, "aupr": 1, "fpr95": 0})
    assert ranking(low, high)["auroc"] == 0
    assert ranking(low, high)["fpr95"] == 1


def test_identical_sets_rank_at_half() -> None:
    """One law: within 4 standard errors, sqrt((n + m + 1) / (12 n m)); the same scores: exactly, by ties."""
    n, m = 3000, 2000
    a, b = _normal(n), _normal(m, seed=1)
    assert abs(ranking(a, b)["auroc"] - 0.5) < 4 * ((n + m + 1) / (12 * n * m)) ** 0.5
    assert ranking(a, a)["auroc"] == pytest.approx(0.5, abs=1e-12)
    assert ranking(a, a)["aupr"] == pytest.approx(0.5, abs=1e-2)
    assert ranking(a, a)["fpr95"] == 0.95


def test_ranking_is_unmoved_by_monotone_maps_to_huge_log_densities() -> None:
    """A million nats, as h / T is: a sigmoid, or float32, would tie them all."""
    a, b = _normal(300) + 1, _normal(200, seed=1)
    figures = ranking(a, b)
    for change in (torch.exp, torch.atan, lambda x: x + 1e6, lambda x: 1e6 * x - 1e9):
        assert ranking(change(a), change(b)) == figures


def test_ranking_of_few_scores_is_what_counting_gives() -> None:
    """In order: 4 in, 3 out, 2 in, 1 out. Three of four pairs are right; precision is 1 and 2/3 at the two."""
    expected = {"auroc": 3 / 4, "aupr": (1 + 2 / 3) / 2, "fpr95": 1 / 2}
    assert ranking(np.array([4.0, 2.0]), np.array([3.0, 1.0])) == pytest.approx(expected)
    # Of twenty inside, 95 % are nineteen: the threshold is 2, which two of four outside pass.
    assert ranking(torch.arange(1, 21), torch.tensor([0.5, 1.5, 2.5, 30]))["fpr95"] == 0.5


def test_scores_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        ranking(torch.tensor([1.0, math.inf]), torch.zeros(2))
    with pytest.raises(InputError, match="2 scores inside and 0 outside"):
        ranking(torch.zeros(2), torch.zeros(0))


# -- pairs of images -------------------------------------------------------------------------------


def _photographs(side: int) -> Tensor:
    """Two photographs that scikit-learn ships, their left square made small: (2, 3, side, side)."""
    from sklearn.datasets import load_sample_image

    x = torch.stack([torch.from_numpy(load_sample_image(name).copy()) for name in ("china.jpg", "flower.jpg")])
    x = x[:, :, :427].permute(0, 3, 1, 2).float() / 127.5 - 1
    return nn.functional.interpolate(x, (side, side), mode="bilinear", antialias=True).clamp(-1, 1)


def _digits() -> Tensor:
    from sklearn.datasets import load_digits

    x = torch.from_numpy(load_digits().images[:20]).float()[:, None] / 8 - 1
    return nn.functional.interpolate(x, (32, 32), mode="bilinear").clamp(-1, 1)


def _disturbed(x: Tensor) -> Tensor:
    """Blurred a little, and with noise that differs from image to image."""
    noise = torch.randn(x.shape, generator=_rng()) * torch.linspace(0.02, 0.3, len(x)).reshape(-1, 1, 1, 1)
    return (nn.functional.avg_pool2d(x, 3, 1, 1) + noise).clamp(-1, 1)


@pytest.mark.parametrize("images", ["digits", 12, 32, 64, 160])
def test_psnr_and_ssim_of_real_pictures_are_scikit_images(images: str | int) -> None:
    """SSIM in float32: eps / (0.03 * 2)^2 is some 1e-4 a place, and 1e-5 at most in the mean over 100 or more."""
    metrics = pytest.importorskip("skimage.metrics")
    x = _photographs(images) if isinstance(images, int) else _digits()
    y = _disturbed(x)
    ours = compare(x, y)
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 0}
    for i, (a, b) in enumerate(zip(x.double().numpy(), y.double().numpy(), strict=True)):
        psnr = metrics.peak_signal_noise_ratio(a, b, data_range=2)
        assert ours.psnr[i].item() == pytest.approx(psnr, rel=1e-12)
        assert abs(ours.ssim[i] - metrics.structural_similarity(a, b, data_range=2, **how)) < 1e-5


def test_small_images_have_scikit_images_ssim_with_a_smaller_window() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    x = _photographs(8)
    y = _disturbed(x)
    how = {"gaussian_weights": True, "use_sample_covariance": False, "channel_axis": 0, "data_range": 2}
    for a, b, ours in zip(x.double().numpy(), y.double().numpy(), compare(x, y).ssim, strict=True):
        assert abs(ours - metrics.structural_similarity(a, b, sigma=1.5 * 7 / 11, **how)) < 1e-4  # 12 places


def test_the_window_is_the_largest_odd_number_up_to_11_that_fits() -> None:
    assert [ssim_window(side) for side in (3, 4, 7, 8, 10, 11, 12, 32)] == [3, 3, 7, 7, 9, 11, 11, 11]


def test_a_constant_error_has_its_square_as_mse_and_an_exact_copy_the_largest_psnr() -> None:
    x = torch.zeros(2, 3, 16, 16)
    same, off = compare(x, x), compare(x, x + 0.2)
    assert same.ssim.tolist() == pytest.approx([1, 1])
    assert same.mse.tolist() == [0, 0]
    assert same.psnr.tolist() == pytest.approx([10 * math.log10(4e10)] * 2)
    assert off.mse.tolist() == pytest.approx([0.04] * 2)
    assert off.psnr.tolist() == pytest.approx([20] * 2)
    assert all(values.dtype == torch.float64 for values in off)


def test_an_images_figures_are_its_own_whatever_is_beside_it() -> None:
    x = _photographs(32)
    y = _disturbed(x)
    together, apart = compare(x, y), concatenate([compare(x[:1], y[:1]), concatenate([]), compare(x[1:], y[1:])])
    for ours, theirs in zip(together, apart, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_mask_of_everything_gives_the_whole_images_mse_and_psnr() -> None:
    x = _photographs(32)
    y = _disturbed(x)
    everything = compare_where(x, y, torch.ones(1, 1, 32, 32, dtype=torch.bool))
    torch.testing.assert_close(everything.mse, compare(x, y).mse)
    torch.testing.assert_close(everything.psnr, compare(x, y).psnr)


def test_a_mask_of_all_places_whose_window_fits_gives_the_whole_images_ssim() -> None:
    x = _photographs(32)
    y, inside = _disturbed(x), torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    inside[..., 5:27, 5:27] = True
    torch.testing.assert_close(compare_where(x, y, inside).ssim, compare(x, y).ssim)


def test_only_selected_pixels_count_for_mse_and_psnr() -> None:
    """Each image by its own mask: an error of 0.2 on it and anything elsewhere."""
    x, where = torch.zeros(2, 3, 16, 16), torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    where[0, :, :4], where[1, :, 3, 5] = True, True
    y = torch.where(where, 0.2, _normal(2, 3, 16, 16).float().clamp(-1, 1))
    seen = compare_where(x, y, where)
    assert seen.mse.tolist() == pytest.approx([0.04] * 2)
    assert seen.psnr.tolist() == pytest.approx([20] * 2)


def test_pairs_that_cannot_be_compared_are_refused() -> None:
    x, mask = torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    mask[0] = True
    with pytest.raises(InputError, match="a mask hides no pixel of some image"):
        compare_where(x, x, mask)
    for bad in (mask.float(), mask[0], mask[:, :, :4], mask.expand(-1, 3, -1, -1)):
        with pytest.raises(ValueError, match="a mask of torch"):
            compare_where(x, x, bad)
    with pytest.raises(ValueError, match="expected the same"):
        compare(x, x[:1])


def test_a_summary_averages_over_images_and_knows_how_far_to_trust_it() -> None:
    mse, psnr, ssim = torch.tensor([[0.1, 0.3], [20.0, 26.0], [0.5, 0.7]], dtype=torch.float64)
    assert summary(Comparison(mse, psnr, ssim)) == pytest.approx(
        {
            "mse": 0.2,
            "mse_standard_error": 0.1,  # deviation 0.1 sqrt(2), over sqrt(2) images
            "mse01": 0.05,
            "psnr": 23,
            "psnr_standard_error": 3,
            "ssim": 0.6,
        }
    )
    assert set(summary(Comparison(mse[:1], psnr[:1], ssim[:1]))) == {"mse", "mse01", "psnr", "ssim"}
