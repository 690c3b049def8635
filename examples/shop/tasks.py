"""The tasks."""

from examples.shop.models import Product
from tta_taskcache import cached_task


@cached_task(cache_tags=("product:{product_id}",))
def describe(product_id: int) -> str:
    """Say what a product costs; an expensive call, let us say."""
    product = Product.objects.get(pk=product_id)
    return f"{product.name}: {product.price}"
