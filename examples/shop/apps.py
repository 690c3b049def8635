"""The app's configuration: its receivers are connected when it is ready."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The shop."""

    name = "examples.shop"

    def ready(self) -> None:
        """Connect the receivers."""
        from examples.shop import receivers  # noqa: F401, PLC0415 - models are loaded by now
