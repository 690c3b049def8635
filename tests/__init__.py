"""Tests, in the order of the code. Kombu knows their broker of files as `folder://`."""

from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES["folder"] = "tests.support.folderbroker:Transport"
