"""What the images made from Debian packages hold, and how each starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One layer over the base. `configure` is shell, run in the image after the packages are installed."""

    name: str
    packages: tuple[str, ...]
    config: Mapping[str, Any]  # Any: the OCI config object is JSON
    prepare: str = ""
    """Shell, run before."""
    configure: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text files put in first, mode 0755."""


_NGINX_SITE = """\
server {
    listen 80 default_server;
    root /usr/share/nginx/html;
    index index.html;
    location / { try_files $uri $uri/ =404; }
}
"""

NGINX = Recipe(
    name="nginx",
    packages=("nginx-light",),
    config={
        "Cmd": ["nginx", "-g", "daemon off;"],
        "Env": [PATH],
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGQUIT",
    },
    files={"usr/share/zlayer/site.conf": _NGINX_SITE},
    configure="""
        mv /usr/share/zlayer/site.conf /etc/nginx/conf.d/default.conf
        rm -rf /etc/nginx/sites-enabled/default /usr/share/zlayer
        ln -sf /dev/stdout /var/log/nginx/access.log
        ln -sf /dev/stderr /var/log/nginx/error.log
        """,
)

REDIS = Recipe(
    name="redis",
    packages=("redis-server",),
    config={
        "Cmd": ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no"],
        "Env": [PATH],
        "ExposedPorts": {"6379/tcp": {}},
        "User": "redis",
        "WorkingDir": "/data",
    },
    configure="mkdir -p /data && chown redis:redis /data",
)

PYTHON = Recipe(
    name="python",
    packages=("python3",),
    config={"Cmd": ["python3"], "Env": [PATH, "LANG=C.UTF-8", "PYTHONUNBUFFERED=1"]},
    configure="ln -s /usr/bin/python3 /usr/local/bin/python",
)

_POSTGRES_START = """\
#!/bin/sh
# First start: make the cluster, with POSTGRES_PASSWORD, POSTGRES_USER and POSTGRES_DB as in the well-known image.
set -eu
if [ "$1" != postgres ]; then exec "$@"; fi
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /run/postgresql
    chown postgres:postgres "$PGDATA" /run/postgresql
    chmod 0700 "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
        method=scram-sha-256
        secret=$(mktemp)
        printf '%s\\n' "$POSTGRES_PASSWORD" > "$secret"
        initdb --auth-local=trust --auth-host=$method --username="$user" --pwfile="$secret"
        rm "$secret"
    elif [ "${POSTGRES_HOST_AUTH_METHOD:-}" = trust ]; then
        method=trust
        initdb --auth=trust --username="$user"
    else
        echo "Set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust for a database without one." >&2
        exit 1
    fi
    echo "host all all all $method" >> "$PGDATA/pg_hba.conf"
    database=${POSTGRES_DB:-$user}
    if [ "$database" != postgres ]; then
        pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start
        createdb --username="$user" "$database"
        pg_ctl -D "$PGDATA" -w -m fast stop
    fi
fi
exec "$@"
"""

POSTGRES = Recipe(
    name="postgres",
    packages=("postgresql",),
    config={
        "Entrypoint": ["/usr/local/bin/docker-entrypoint.sh"],
        "Cmd": ["postgres", "-c", "listen_addresses=*"],
        "Env": [PATH, "LANG=C.UTF-8", "PGDATA=/var/lib/postgresql/data"],
        "ExposedPorts": {"5432/tcp": {}},
        "StopSignal": "SIGINT",
    },
    files={"usr/local/bin/docker-entrypoint.sh": _POSTGRES_START},
    prepare="""
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf
        """,
    configure="""
        ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
        mkdir -p /var/lib/postgresql/data /run/postgresql
        chown postgres:postgres /var/lib/postgresql/data /run/postgresql
        chmod 0700 /var/lib/postgresql/data
        """,
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (NGINX, REDIS, POSTGRES, PYTHON)}
