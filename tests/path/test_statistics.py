"""Statistics against scipy, against counting by hand, and on data whose answer is known."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from oncoseg.blocks import statistics as st


@pytest.mark.parametrize("size", [5, 12, 50])
@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
def test_wilcoxon_is_scipys_where_that_is_exact(size, alternative):
    differences = np.random.default_rng(size).normal(0.3, 1, size)
    expected = stats.wilcoxon(differences, alternative=alternative, mode="exact").pvalue
    assert st.wilcoxon(differences, alternative=alternative) == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_of_many_is_scipys_normal_one_with_ties_and_zeros():
    differences = np.random.default_rng(1).integers(-5, 7, 300).astype(float)
    assert (differences == 0).any()
    expected = stats.wilcoxon(differences, mode="approx").pvalue
    assert st.wilcoxon(differences) == pytest.approx(expected, rel=1e-9)


def test_wilcoxon_counts_ties_out():
    """All 2^6 signs of tied ranks, counted one by one."""
    differences = np.array([1.0, 1.0, 2.0, -1.0, 3.0, 2.0])
    ranks = stats.rankdata(np.abs(differences))
    seen = ranks[differences > 0].sum()
    sums = [sum(r for r, s in zip(ranks, signs) if s) for signs in product((0, 1), repeat=6)]
    share = np.mean(np.array(sums) >= seen)
    assert st.wilcoxon(differences, alternative="greater") == pytest.approx(share)
    assert st.wilcoxon(np.append(differences, [0, np.nan])) == pytest.approx(2 * share)


def test_few_differences_can_say_nothing():
    for size in range(1, 9):
        assert st.wilcoxon(np.arange(1.0, size + 1)) == pytest.approx(st.least_p(size))
    assert st.least_p(5) > 0.05 > st.least_p(6)
    assert st.wilcoxon(np.zeros(9)) == 1


def test_p_is_small_as_often_as_it_says():
    generator = np.random.default_rng(3)
    p = [st.wilcoxon(generator.normal(0, 1, 20)) for _ in range(1000)]
    assert 0.03 < np.mean(np.array(p) < 0.05) < 0.07


def test_holm_by_hand():
    assert st.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert st.holm([0.5, 0.9]) == [1.0, 1.0]
    assert st.holm([]) == []


def test_effect_sizes_by_hand():
    # Sizes 1, 2, 3 have ranks 1, 2, 3; W+ = 4, W- = 2.
    assert st.rank_biserial(np.array([1.0, -2.0, 3.0])) == pytest.approx(2 / 6)
    assert st.rank_biserial(np.array([0.1, 4.0])) == 1
    assert st.rank_biserial(np.zeros(3)) == 0
    assert st.cohen_d(np.array([1.0, 2.0, 3.0])) == pytest.approx(2.0)
    assert np.isnan(st.cohen_d(np.array([2.0, 2.0])))


@pytest.mark.parametrize("size", [6, 21, 150])
def test_hodges_lehmann_is_the_median_of_all_pairwise_means(size):
    values = np.random.default_rng(size).normal(1, 2, size)
    one, other = np.triu_indices(size)
    means = np.sort((values[one] + values[other]) / 2)
    shift, low, high = st.hodges_lehmann(values)
    assert shift == pytest.approx(np.median(means))
    assert means.searchsorted(low - 1e-9) == len(means) - means.searchsorted(high + 1e-9)
    # The bounds are where the test turns: just outside of them p is at most 0.05.
    for bound, way in ((low, -1), (high, 1)):
        assert st.wilcoxon(values - (bound + way * 1e-6)) <= 0.051
        assert st.wilcoxon(values - (bound - way * 1e-6)) > 0.049


def test_too_few_for_a_bound():
    shift, low, high = st.hodges_lehmann(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (shift, np.isnan(low), np.isnan(high)) == (3.0, True, True)


def test_permutation_counts_signs():
    # Of 8 signs, all plus and all minus are as far as 6.
    assert st.permutation(np.array([1.0, 2.0, 3.0])) == 2 / 8
    assert st.permutation(np.zeros(30)) == 1
    values = np.random.default_rng(2).normal(0.4, 1, 40)
    expected = stats.ttest_1samp(values, 0).pvalue
    assert st.permutation(values, samples=20000) == pytest.approx(expected, abs=0.01)
    assert st.permutation(values) == st.permutation(values)


def test_intervals_cover_the_mean_as_often_as_they_say():
    """Patients with 1 to 4 cases that share a patient's effect: drawing cases would fail."""
    generator, inside, naive = np.random.default_rng(5), 0, 0
    for trial in range(400):
        sizes = generator.integers(1, 5, 40)
        patients = np.repeat(np.arange(40), sizes).astype(str)
        values = np.repeat(generator.normal(0, 1, 40), sizes) + generator.normal(
            0, 0.3, sizes.sum()
        )
        low, high = st.interval(values, patients, samples=400, seed=trial)
        inside += low <= 0 <= high
        each = [str(case) for case in range(len(values))]
        low, high = st.interval(values, each, samples=400, seed=trial)
        naive += low <= 0 <= high
    assert 0.90 <= inside / 400 <= 0.98
    assert naive / 400 < 0.85


def test_bootstrap_leaves_the_undefined_out_and_stays_paired():
    values = np.array([[1.0, 2.0, np.nan, 4.0], [2.0, 3.0, 9.0, 5.0]])
    patients = ["a", "a", "b", "c"]
    means = st.bootstrap(values[:, [0, 1, 3]], ["a", "a", "c"], samples=500, seed=0)
    assert np.allclose(means[:, 1] - means[:, 0], 1)
    alone = st.bootstrap(values, patients, samples=500, seed=0)
    assert np.isnan(alone[:, 0]).any()  # a sample of patient b alone has no value
    assert not np.isnan(alone[:, 1]).any()
    assert np.allclose(
        st.by_patient(values, patients), [[1.5, np.nan, 4], [2.5, 9, 5]], equal_nan=True
    )


def test_ranks_then_means_are_not_means_then_ranks():
    # A is better in two of three cases, but far worse in the third.
    values = np.array([[0.9, 0.9, 0.0], [0.8, 0.8, 0.8]])
    assert st.rank_then_aggregate(values, higher=True) == pytest.approx([4 / 3, 5 / 3])
    assert st.aggregate_then_rank(values, higher=True).tolist() == [2, 1]
    assert st.aggregate_then_rank(values, higher=False).tolist() == [1, 2]


def test_undefined_is_last_where_others_are_defined():
    values = np.array([[np.nan, np.nan, 3.0], [1.0, np.nan, 2.0]])
    ranks = st.rank(values, higher=True)
    assert ranks[:, 0].tolist() == [2, 1]
    assert np.isnan(ranks[:, 1]).all()
    assert st.rank_then_aggregate(values, higher=True).tolist() == [1.5, 1.5]
    assert st.rank(np.array([1.0, 1.0, 0.0]), higher=True).tolist() == [1.5, 1.5, 3]


def test_significance_ranks_by_hand():
    """A beats B and C, B beats C; A and its copy tie."""
    base = np.linspace(0.5, 0.7, 10)
    values = np.stack([base + 0.2, base + 0.1, base, base + 0.2])
    assert st.beaten(values, higher=True).tolist() == [2, 1, 0, 2]
    assert st.beaten(values, higher=False).tolist() == [0, 2, 3, 0]
    assert st.beaten(values[:, :4], higher=True).tolist() == [0, 0, 0, 0]  # least p is 1/16
    drawn = st.draws(10, 50, 0)
    wins = st.beaten_in(values, drawn, higher=True)
    assert wins.shape == (50, 4)
    assert (wins == [2, 1, 0, 2]).mean() > 0.95


def test_kendalls_tau_is_scipys():
    generator = np.random.default_rng(4)
    first, others = generator.integers(1, 5, 6), generator.integers(1, 5, (20, 6))
    expected = [stats.kendalltau(first, other).statistic for other in others]
    assert st.kendall_tau(first, others) == pytest.approx(expected, nan_ok=True)
    assert st.kendall_tau(first, -first[None])[0] == pytest.approx(-1)
