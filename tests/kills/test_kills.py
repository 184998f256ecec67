"""The short run. The long one is `python -m tests.kills --kills 200`."""

from pathlib import Path

import pytest

from tests.kills.campaign import Campaign

SEED = 20261129
KILLS = 6


@pytest.mark.slow
def test_whatever_the_server_has_acknowledged_holds_after_kills_at_random_moments(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, SEED)
    campaign.run(KILLS)
    assert campaign.kills.total() == KILLS
    assert len(campaign.promises.jobs) > KILLS, campaign.summary()
