"""A Django project with cached tasks: signals of its models end what is stored of them."""

from examples.shop.celery_app import app

__all__ = ["app"]
