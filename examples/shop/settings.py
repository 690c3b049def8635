"""Django's settings. CELERY_TASKCACHE_… are those of the cache."""

import os

SECRET_KEY = "no secret"  # noqa: S105 - there is nothing to protect
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
    }
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django_celery_beat",
    "django_celery_results",
    "tta_taskcache.django",  # manage.py check knows the cache
    "examples.shop",
]

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "memory://")
CELERY_RESULT_BACKEND = "django-db"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TASKCACHE_DEFAULT_TTL = 600
CELERY_TASKCACHE_URL = os.environ.get("TASKCACHE_URL")
