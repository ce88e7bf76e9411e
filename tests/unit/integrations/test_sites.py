"""The table of sites: what it must be consistent in by itself."""

from __future__ import annotations

import pytest

from nodexfer.errors import ConfigInvalid
from nodexfer.integrations import sites

ALL = tuple(sites.SITES.values())


@pytest.mark.parametrize("site", ALL, ids=lambda site: site.name)
def test_a_site_is_found_by_its_name_and_names_its_sources(site: sites.Site) -> None:
    assert sites.get(site.name) is site
    assert site.sources
    assert all(source.startswith("https://") for source in site.sources)


@pytest.mark.parametrize("site", ALL, ids=lambda site: site.name)
def test_every_accelerator_has_one_worker(site: sites.Site) -> None:
    assert not site.accelerators or site.workers == len(site.accelerators)
    assert site.gpus in (0, len(site.accelerators))
    assert site.cpu_affinity == "none" or len(site.cpu_affinity.split(":")) == 1 + site.workers


@pytest.mark.parametrize("site", ALL, ids=lambda site: site.name)
def test_a_batch_site_says_where_the_users_queue_goes(site: sites.Site) -> None:
    assert site.batch == bool(site.queue_option)


def test_an_unknown_site_is_told_with_those_that_there_are() -> None:
    with pytest.raises(ConfigInvalid, match=r"no site 'polaris'; there are: aurora, perlmutter, pbs, slurm, local\."):
        sites.get("polaris")
