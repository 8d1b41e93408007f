"""Two processes find what one finds: shares, sums and rows; uneven or empty shares are no exception."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from dualmcmc import InputError
from dualmcmc.devices import best_device
from dualmcmc.metrics import InceptionScore, Moments, frechet_distance, kernel_distance
from dualmcmc.parallel import Processes


def statistics(processes: Processes) -> dict[str, Any]:
    """Every statistic that is summed or collected, of rows that depend on their index alone."""
    rng = torch.Generator().manual_seed(0)
    n, features, classes = 61, 5, 3
    rows, reference = torch.randn(n, features, generator=rng) + 0.3, torch.randn(80, features, generator=rng)
    probabilities = torch.randn(n, classes, generator=rng).softmax(1)
    mine = processes.share(n)
    moments, of_reference, score = Moments(features), Moments(features), InceptionScore(classes)
    of_reference.update(reference)
    for part in (mine[:7], mine[7:]):
        moments.update(rows[part.start : part.stop])
        score.update(probabilities[part.start : part.stop], part)
    moments.add_over(processes)
    score.add_over(processes)
    collected = processes.collect(rows[mine.start : mine.stop])
    # Of one row, one process has none.
    single, few = processes.share(1), Moments(features)
    few.update(rows[single.start : single.stop])
    few.add_over(processes)
    grid = torch.arange(6).reshape(2, 3).T  # not contiguous
    processes.add(grid)
    total = torch.tensor(2.0**-40 + 1, dtype=torch.float64)  # float32 would lose the first term
    processes.add(total)
    processes.wait()
    return {
        "frechet": frechet_distance(moments, of_reference),
        "kernel": list(kernel_distance(collected, reference, block=20)),
        "score": list(score.compute()),
        "collected": torch.equal(collected, rows),
        "one_row": torch.equal(processes.collect(rows[single.start : single.stop]), rows[:1]),
        "one_row_moments": [few.n, *few.sum.tolist()],
        "types": [
            processes.collect(torch.arange(1)[single.start : single.stop].to(kind)).dtype == kind
            for kind in (torch.bool, torch.uint8, torch.int64, torch.float64)
        ],
        "added": [(grid // processes.count).tolist(), total.item() / processes.count],
    }


def test_two_processes_give_one_processs_statistics_to_1e_6(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    done = subprocess.run(
        [sys.executable, "-m", *launch, __file__, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    one = statistics(Processes())
    assert one["collected"]
    assert one["one_row"]
    assert all(one["types"])
    assert one["added"] == [[[0, 3], [1, 4], [2, 5]], 2.0**-40 + 1]
    for rank in range(2):
        two = json.loads((tmp_path / f"{rank}.json").read_text())
        assert two.pop("processes") == [rank, 2, rank == 0, "cpu"]
        for name in ("frechet", "kernel", "score"):
            assert two[name] == pytest.approx(one[name], rel=1e-9), name
        rest = {name: two[name] for name in two if name not in ("frechet", "kernel", "score")}
        assert rest == {name: one[name] for name in rest}


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_shares_cut_the_range_in_order_into_lengths_that_differ_by_one_at_most(n: int, count: int) -> None:
    shares = [Processes(rank, count).share(n) for rank in range(count)]
    assert [i for share in shares for i in share] == list(range(n))
    lengths = {len(share) for share in shares}
    assert max(lengths) - min(lengths) <= 1


def test_alone_nothing_is_started_and_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (None, "1"):
        if size:
            monkeypatch.setenv("WORLD_SIZE", size)
        else:
            monkeypatch.delenv("WORLD_SIZE", raising=False)
        alone = Processes.current("cpu")
        assert (alone.rank, alone.count, alone.main, alone.device.type) == (0, 1, True, "cpu")
    assert not torch.distributed.is_initialized()
    rows = torch.randn(3, 2)
    before = rows.clone()
    alone.add(rows)
    alone.wait()
    assert torch.equal(rows, before)
    assert alone.collect(rows) is rows


def test_an_unknown_device_is_refused_and_several_processes_never_share_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InputError, match="unknown device 'tpu'"):
        Processes.current("tpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("dualmcmc.parallel.check_device", lambda _: None)
    with pytest.raises(InputError, match="each of several processes takes its own"):
        Processes.current("cuda:0")


if __name__ == "__main__":  # as torchrun starts it, above
    current = Processes.current(None if best_device() == "cpu" else "cpu")
    about = [current.rank, current.count, current.main, str(current.device)]
    Path(sys.argv[1], f"{current.rank}.json").write_text(json.dumps({**statistics(current), "processes": about}))
