"""Django's settings, for beat with its schedule in a database."""

import os

SECRET_KEY = "no secret"  # noqa: S105 - there is nothing to protect
USE_TZ = True
INSTALLED_APPS = ["django_celery_beat"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["BEAT_DATABASE"]}
}
