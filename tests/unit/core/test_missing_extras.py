"""What an extra is needed for is said by its name when it is missing."""

import pytest

from tta_taskcache.core.options.option_values import Choices
from tta_taskcache.core.options.policy import read_policy
from tta_taskcache.errors import ConfigurationError


def test_zstd_names_its_extra_where_kombu_has_none() -> None:
    options = {"compression": "zstd"}
    with pytest.raises(ConfigurationError, match=r"pip install 'tta-taskcache\[zstd\]'"):
        read_policy("t", options, Choices(compressions=("zlib",)), default_ttl=60)
    policy = read_policy("t", options, Choices(compressions=("zstd",)), default_ttl=60)
    assert policy.compression == "zstd"
