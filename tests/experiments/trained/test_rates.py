"""Learning rates are chosen on validation by one protocol: widen the grid at an edge, run fresh seeds at the best."""

from collections.abc import Callable

import pytest

from retrieval_gap.cli import main
from retrieval_gap.experiments.trained import rates
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.rates import Chosen, RateSearch, choose_rates, share_converged
from retrieval_gap.machine.errors import UsageError


def cells(rates: list[float], seeds: tuple[int, ...] = (0, 1), archs: tuple[str, ...] = ("lstm",)) -> list[RunConfig]:
    return [
        RunConfig(task="index", mode="direct", n=8, arch=arch, size="tiny", lr=rate, seed=seed, warmup_samples=0)
        for arch in archs
        for rate in rates
        for seed in seeds
    ]


class Runner:
    """Runs nothing: the accuracy of a row is a function of its configuration."""

    def __init__(self, accuracy: Callable[[RunConfig], float]) -> None:
        self.accuracy = accuracy
        self.rounds: list[list[RunConfig]] = []

    def __call__(self, new: list[RunConfig]) -> list[dict[str, object]]:
        self.rounds.append(new)
        rows = [{"config_hash": c.hash(), "accuracy": self.accuracy(c), "lr": c.lr, "seed": c.seed} for c in new]
        return rows[::-1]  # in any order


def peak_at(rate: float) -> Callable[[RunConfig], float]:
    return lambda cell: max(0.1, 1 - abs(float(f"{cell.lr / rate:.3g}") - 1))


@pytest.mark.parametrize(
    ("means", "best"),
    [
        ({1e-3: 0.2, 3e-3: 0.9, 1e-2: 0.3}, 3e-3),
        ({1e-3: 0.2, 3e-3: 0.5, 1e-2: 0.9}, 1e-2),
        ({1e-4: 1.0, 1e-3: 1.0, 1e-2: 1.0}, 1e-3),
        ({1e-4: 1.0, 1e-3: 1.0}, 1e-4),
    ],
)
def test_the_best_rate_has_the_highest_mean_and_is_the_middle_one_of_equals(means, best):
    assert RateSearch({rate: [mean, mean] for rate, mean in means.items()}).best == best


@pytest.mark.parametrize(
    ("means", "wider"),
    [
        ({1e-3: 0.2, 3e-3: 0.9, 1e-2: 0.3}, None),
        ({1e-3: 0.2, 2e-3: 0.9}, 4e-3),
        ({1e-3: 0.9, 1e-2: 0.2}, 1e-4),
        ({0.5: 0.2, 1.0: 0.9}, None),
        ({1e-6: 0.9, 1e-5: 0.2}, None),
    ],
)
def test_a_grid_is_widened_by_its_own_ratio_while_the_best_is_at_an_edge(means, wider):
    found = RateSearch({rate: [mean] for rate, mean in means.items()}).wider()
    assert found == (pytest.approx(wider) if wider else None)


def test_the_window_is_the_neighbouring_rates_that_are_nearly_as_good():
    search = RateSearch({1e-4: [0.99], 1e-3: [0.2], 3e-3: [0.96], 1e-2: [1.0, 1.0], 3e-2: [0.94], 1e-1: [1.0, 0.9]})
    assert search.window == (3e-3, 1e-2)
    assert search.decades == pytest.approx(0.5229, abs=1e-4)
    assert RateSearch({1e-3: [0.1], 1e-2: [1.0]}).decades == 0
    assert not search.window_is_open
    assert RateSearch({1e-3: [0.1], 1e-2: [1.0]}).window_is_open
    assert RateSearch({1e-3: [1.0], 1e-2: [1.0], 1e-1: [0.1]}).window_is_open
    assert share_converged([0.95, 0.5, 0.9, 0.89]) == 0.5


@pytest.mark.parametrize("highest", [0.25, 0.89])
def test_a_model_that_learned_at_no_rate_has_no_window(highest):
    (chosen,) = choose_rates(cells([1e-3, 3e-3, 1e-2]), Runner(lambda cell: highest if cell.lr == 3e-3 else 0.24))
    assert chosen.search.window is None
    assert chosen.search.decades is None
    assert not chosen.search.window_is_open
    assert {(row["window_low"], row["window_high"], row["window_decades"]) for row in chosen.rows()} == {(None,) * 3}
    assert "; no window, as no rate reaches 0.9; 2 fresh seeds: " in chosen.line()


def test_each_models_grid_is_widened_separately_and_rounds_are_shared():
    peaks = {"lstm": peak_at(8e-3), "gru": peak_at(1e-3)}
    runner = Runner(lambda cell: peaks[cell.arch](cell))
    lstm, gru = choose_rates(cells([1e-3, 2e-3], archs=("lstm", "gru")), runner)
    assert (lstm.search.best, gru.search.best) == (8e-3, 1e-3)
    assert lstm.search.rates == [1e-3, 2e-3, 4e-3, 8e-3, 0.016]
    assert gru.search.rates == [5e-4, 1e-3, 2e-3]
    assert [len(new) for new in runner.rounds] == [8, 4, 2, 2, 4]  # 2 seeds of each rate; then the fresh ones
    assert all(cell.eval_split == "validation" for new in runner.rounds[:-1] for cell in new)
    assert {(cell.arch, cell.lr, cell.seed, cell.eval_split) for cell in runner.rounds[-1]} == {
        (arch, rate, seed, "test") for arch, rate in (("lstm", 8e-3), ("gru", 1e-3)) for seed in (2, 3)
    }


def test_widening_stops_after_four_rates():
    runner = Runner(lambda cell: cell.lr)  # the larger the better
    (chosen,) = choose_rates(cells([1e-4, 1.1e-4]), runner)
    assert len(chosen.search.rates) == 2 + 4
    assert chosen.search.best == chosen.search.rates[-1]


def test_models_differ_by_every_setting_except_rate_and_seed():
    runner = Runner(peak_at(3e-3))
    both = 2 * cells([1e-3, 3e-3, 1e-2])
    wide = [RunConfig(**{**c.to_json(), "size": "tiny+d_model=32"}) for c in cells([1e-3, 3e-3, 1e-2])]
    assert [chosen.model.size for chosen in choose_rates([*both, *wide], runner)] == ["tiny", "tiny+d_model=32"]


def test_rows_name_the_tried_rates_and_mark_the_fresh_seeds():
    (chosen,) = choose_rates(cells([1e-3, 3e-3, 1e-2]), Runner(peak_at(3e-3)))
    rows = chosen.rows()
    assert len(rows) == 3 * 2 + 2
    assert {row["tried_lr"] for row in rows} == {"0.001 0.003 0.01"}
    assert [row["seed"] for row in rows if row["chosen"]] == [2, 3]
    assert {(row["lr"], row["converged"]) for row in rows} == {(1e-3, 0), (3e-3, 1), (1e-2, 0)}
    assert {(row["window_low"], row["window_high"], row["window_decades"]) for row in rows} == {(3e-3, 3e-3, 0.0)}
    assert chosen.line() == (
        "index direct n=8, lstm tiny, 1,000,000 samples a run: lr 0.003 (tried 0.001 0.333, 0.003 1.000, 0.01 0.100);"
        " window 0.003 to 0.003, 0.00 decades; 2 fresh seeds: 1.000, 100% converged"
    )
    assert isinstance(chosen, Chosen)


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ([1e-3], "two learning rates or more, such as --lr 1e-3,3e-3,1e-2; --lr has 0.001"),
        ([1e-3, 1e-3], "--lr has 0.001"),
        ([1e-7, 1e-3], "--lr 1e-07 is out of range with --choose lr: expected 1e-06 to 1"),
        ([1e-3, 2.0], "--lr 2 is out of range"),
    ],
)
def test_a_grid_that_can_show_no_window_is_refused_before_training(rates, told):
    runner = Runner(peak_at(1e-3))
    with pytest.raises(UsageError, match=told):
        choose_rates(cells(rates), runner)
    assert runner.rounds == []


def test_a_run_that_is_not_finished_is_named():
    with pytest.raises(UsageError, match="is not finished"):
        choose_rates(cells([1e-3, 3e-3]), lambda new: [])


def test_the_command_prints_window_and_rate_and_writes_all_rows(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rates, "MOST_WIDENINGS", 0)  # each is a round with workers of its own
    grid = "--task index --mode direct --n 4 --arch lstm,gru --size tiny+d_model=8 --lr 1e-3,1e-2 --seed 0"
    small = "--samples 64 --batch-size 16 --warmup-samples 16 --eval-samples 20 --embedding learned"
    files = f"--runs-dir {tmp_path / 'runs'} --csv {tmp_path / 'rates.csv'} --workers 1 --device cpu"
    assert main(f"sweep {grid} {small} {files} --choose lr".split()) == 0
    told = capsys.readouterr().out
    assert "index direct n=4, lstm tiny+d_model=8, 64 samples a run: lr " in told
    assert "gru tiny+d_model=8, 64 samples a run: lr " in told
    assert "; 1 fresh seed: " in told
    lines = (tmp_path / "rates.csv").read_text().splitlines()
    assert lines[0].endswith("tried_lr,window_low,window_high,window_decades,converged,chosen")
    assert sum(line.endswith(",1") for line in lines) == 2


@pytest.mark.parametrize("more", ["", "--dry-run"])
def test_a_single_rate_is_refused_in_one_line(more, tmp_path, capsys):
    line = f"sweep --task index --mode direct --n 4 --arch lstm --size tiny --lr 1e-3 --choose lr --runs-dir {tmp_path}"
    assert main(f"{line} {more}".split()) == 2
    error = capsys.readouterr().err
    assert "two learning rates or more" in error
    assert error.count("\n") == 1


def test_a_dry_run_prints_the_first_round_which_is_on_validation(tmp_path, capsys):
    line = (
        "sweep --task index --mode direct --n 8 --arch lstm --size tiny --lr 1e-3,3e-3 --seed 0 --choose lr --dry-run"
    )
    assert main(f"{line} --runs-dir {tmp_path}".split()) == 0
    told = capsys.readouterr()
    assert told.out.count("--eval-split validation") == 2
    assert "--eval-split test" not in told.out
    assert "this is the first round" in told.out
    assert "one seed per rate" in told.err
