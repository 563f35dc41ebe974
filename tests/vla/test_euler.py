"""Integration of flows: exact on flows that are known, and beginnings that chunks continue."""

from __future__ import annotations

import pytest
import torch

from vst_vla.vla.heads.euler import Beginning, Velocity, integrate

CHUNK, STEPS = 8, 100


def flow_of(covariance: torch.Tensor) -> Velocity:
    """The exact velocity of chunks (B,C,1) that are normal with this covariance (C,C) over their steps."""

    def velocity(noisy: torch.Tensor, time: float) -> torch.Tensor:
        spread = (1 - time) ** 2 * covariance + time**2 * torch.eye(CHUNK)
        seen = torch.linalg.solve(spread, noisy)
        return time * seen - (1 - time) * (covariance @ seen)  # what noise less actions is on average

    return velocity


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(4000, CHUNK, 1, generator=torch.Generator().manual_seed(0))


def smooth(length: float) -> torch.Tensor:
    """Covariance of steps that resemble each other over `length` steps."""
    steps = torch.arange(CHUNK)
    return torch.exp(-(steps[:, None] - steps[None]).abs() / length)


def beginning(values: list[float], *, batch: int) -> Beginning:
    actions, given = torch.zeros(batch, CHUNK, 1), torch.zeros(batch, CHUNK, dtype=torch.bool)
    actions[:, : len(values), 0], given[:, : len(values)] = torch.tensor(values), True
    return Beginning(actions=actions, given=given)


def test_noise_becomes_chunks_of_the_flow_s_distribution(noise: torch.Tensor) -> None:
    covariance = smooth(4.0)
    made = integrate(flow_of(covariance), noise, steps=STEPS)[..., 0]
    torch.testing.assert_close(made.T.cov(), covariance, atol=0.1, rtol=0)


def test_chunks_continue_what_is_given(noise: torch.Tensor) -> None:
    """The steps behind are what they are in chunks of the distribution that begin so: the conditional mean."""
    covariance, given = smooth(4.0), [1.5, 1.8, 2.0]
    made = integrate(flow_of(covariance), noise, steps=STEPS, begin=beginning(given, batch=len(noise)))[..., 0]
    assert torch.equal(made[:, :3], torch.tensor(given).expand(len(noise), 3))
    expected = covariance[3:, :3] @ torch.linalg.solve(covariance[:3, :3], torch.tensor(given))
    torch.testing.assert_close(made[:, 3:].mean(0), expected, atol=0.15, rtol=0)
    joint = (made[:, 3] - made[:, 2]).square().mean().sqrt()
    apart = (integrate(flow_of(covariance), noise, steps=STEPS)[:, 3, 0] - 2.0).square().mean().sqrt()
    assert joint < 0.5 * apart


def test_nothing_given_changes_nothing(noise: torch.Tensor) -> None:
    velocity = flow_of(smooth(4.0))
    plain = integrate(velocity, noise, steps=10)
    torch.testing.assert_close(integrate(velocity, noise, steps=10, begin=beginning([], batch=len(noise))), plain)


def test_rows_are_apart(noise: torch.Tensor) -> None:
    """One row of a batch has a beginning, the other none."""
    velocity, begin = flow_of(smooth(4.0)), beginning([1.0, 1.0], batch=2)
    begin.given[1] = False
    both = integrate(velocity, noise[:2], steps=10, begin=begin)
    torch.testing.assert_close(both[1:], integrate(velocity, noise[1:2], steps=10))
    torch.testing.assert_close(both[:1], integrate(velocity, noise[:1], steps=10, begin=beginning([1.0, 1.0], batch=1)))
