"""Databases on a PostgreSQL server: made where they are missing, before the servers need them."""

from __future__ import annotations

from urllib.parse import urlsplit

from config import Settings
from deployment.errors import DeploymentError
from registry.asking import first_line

NAMES = ("prefect", "mlflow")


def ensure_databases(settings: Settings) -> None:
    """Make the two databases beside the one that `database.url` names; nothing without one.

    Raises DeploymentError where the server can't be reached or the user may not make them.
    """
    if settings.database.url is None:
        return
    import psycopg2
    from psycopg2 import sql

    url = settings.database.url.get_secret_value()
    try:
        connection = psycopg2.connect(url, connect_timeout=10)
    except psycopg2.Error as error:
        raise DeploymentError(
            f"the database at {_place(url)} can't be reached: {first_line(error).rstrip('.')}. "
            "Start it, or mend database.url."
        ) from None
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for name in NAMES:
                wanted = urlsplit(settings.database.beside(name) or "").path.strip("/")
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [wanted])
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(wanted)))
    except psycopg2.Error as error:
        raise DeploymentError(
            f"databases can't be made at {_place(url)}: {first_line(error).rstrip('.')}. Give "
            "the user CREATEDB, or make the name given in database.url with _prefect and _mlflow behind "
            "it."
        ) from None
    finally:
        connection.close()


def _place(url: str) -> str:
    """Where a server is, without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 5432}{parts.path}"
