"""The models."""

from django.db import models


class Product(models.Model):
    """What is sold."""

    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=9, decimal_places=2)

    def __str__(self) -> str:
        return self.name
