"""Many processes on PostgreSQL and Redis. Every value that matters must be set, or the start stops."""

from .base import *  # noqa: F403
from .base import INSTALLED_APPS as ALL_APPS
from .base import LOG_LEVEL, env
from .services import DATABASE, MAIL, read_database, read_mail

INSTALLED_APPS = [app for app in ALL_APPS if app != "daphne"]  # for runserver's sake: 22 MB of a web process

SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", [f"https://{host}" for host in ALLOWED_HOSTS])

# A server whose machine or network is gone says nothing.
SILENCE = {"connect_timeout": 5, "keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3}

DATABASES = {"default": env.parsed("DATABASE_URL", read_database, DATABASE)}
DATABASES["default"]["OPTIONS"] = {
    **SILENCE,
    "tcp_user_timeout": 30_000,
    **DATABASES["default"]["OPTIONS"],
    "pool": {"max_size": env.integer("DATABASE_POOL", 10, low=1, high=500)},
}
REDIS_URL = env.url("REDIS_URL", ("redis", "rediss", "unix"))
CACHES = {
    "default": {
        "BACKEND": "chatapp.queue.redis_cache.SteadyCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 1.0, "socket_timeout": 2.0},
    }
}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "chatapp.queue.channel_layer.SteadyChannelLayer", "CONFIG": {"url": REDIS_URL}}
}
CHATAPP_LIMITS_STORAGE = REDIS_URL
CHATAPP_REDIS_URL = env.url("CHATAPP_REDIS_URL", ("redis", "rediss", "unix"), REDIS_URL)
METRICS_TOKEN = env.text("METRICS_TOKEN")
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 2.0, "socket_timeout": 10.0}  # of one that hangs

SECURE_SSL_REDIRECT = env.boolean("SECURE_SSL_REDIRECT", True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 31_536_000, high=10**9)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

_mail = env.parsed("EMAIL_URL", read_mail, MAIL, read_mail("smtp://localhost"))
EMAIL_HOST, EMAIL_PORT, EMAIL_USE_SSL, EMAIL_USE_TLS = _mail.host, _mail.port, _mail.ssl, _mail.starttls
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.user, _mail.password
CHATAPP_BASE_URL = env.text("CHATAPP_BASE_URL", f"https://{ALLOWED_HOSTS[0]}").rstrip("/")
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", f"chatapp@{ALLOWED_HOSTS[0]}")
ACCOUNT_EMAIL_VERIFICATION = env.choice("EMAIL_VERIFICATION", ("mandatory", "optional", "none"), "mandatory")

LOGGING = {"level": LOG_LEVEL, "json": True}
