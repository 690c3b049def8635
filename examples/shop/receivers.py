"""Signals of models: whatever is stored of a product ends when it changes, once that is committed.

Before the commit another process would still read the old row, and store it anew.
"""

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from examples.shop.celery_app import app
from examples.shop.models import Product
from tta_taskcache import TaskCache


@receiver([post_save, post_delete], sender=Product)
def forget_product(instance: Product, **_: Any) -> None:
    """End what is stored of a product."""
    TaskCache(app).invalidate(tags=[f"product:{instance.pk}"], on_commit=True)
