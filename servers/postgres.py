"""PostgreSQL on one node, a cluster of our own, for development and tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from servers.where import HOST, ServersError, Where

CONF = """\
# Written by `python3 -m servers up`; edits are lost at the next start.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
max_connections = 300
shared_buffers = 128MB
max_wal_size = 1GB
# A commit is on the disk before it is acknowledged. These are the defaults, and the journal counts on them.
fsync = on
synchronous_commit = on
full_page_writes = on
log_line_prefix = '%m [%p] '
"""

ACCESS = """\
# Written by `python3 -m servers up`. Nobody gets in but the owner of the one database, who is no superuser.
host shop shop {host}/32 trust
"""

SECURED_CONF = """\
ssl = on
ssl_cert_file = '{cert}'
ssl_key_file = '{key}'
ssl_ca_file = '{ca}'
"""

SECURED_ACCESS = """\
# Written by `python3 -m servers up`. With TLS alone: the user `certified` by a certificate, others by a password.
hostssl shop certified {host}/32 cert
hostssl shop all {host}/32 scram-sha-256
"""

SECURED_SETUP = """\
CREATE ROLE certified LOGIN;
CREATE ROLE shop LOGIN CREATEROLE PASSWORD 'shop';
CREATE DATABASE shop OWNER shop;
"""

SETUP = """\
CREATE ROLE shop LOGIN;
CREATE DATABASE shop OWNER shop;
"""

SYSTEM_USER = "postgres"


def command(where: Where, programs: Path) -> list[str | Path]:
    """Write the configuration, make the cluster if it is new, and return the command that starts it."""
    folder = where.folder("postgres")
    data, draft = folder / "data", folder / "data.part"
    if not data.exists():
        _make(programs, draft, SECURED_SETUP if where.certificates else SETUP)
        draft.rename(data)
    conf, access = CONF.format(host=HOST, port=where.postgres_port), ACCESS
    if where.certificates:
        from servers.secured.certificates import Authority  # it needs packages, which `up` does without

        authority = Authority(where.certificates)
        shown = authority.server("postgres")
        conf += SECURED_CONF.format(cert=shown.cert, key=shown.key, ca=authority.file)
        access = SECURED_ACCESS
    (data / "postgresql.conf").write_text(conf)
    (data / "pg_hba.conf").write_text(access.format(host=HOST))
    return [*_unprivileged(), programs / "postgres", "-D", data]


def _make(programs: Path, data: Path, setup: str) -> None:
    """A cluster with the user and the database `shop`, in a folder that only its process can read."""
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700, parents=True)
    if os.geteuid() == 0:
        user = _system_user()
        os.chown(data, user.pw_uid, user.pw_gid)
    options = ["-U", SYSTEM_USER, "-E", "UTF8", "--locale=C", "-A", "reject"]
    _run([*_unprivileged(), programs / "initdb", "-D", data, *options], "")
    _run([*_unprivileged(), programs / "postgres", "--single", "-D", data, "postgres"], setup)


def _unprivileged() -> list[str | Path]:
    """The beginning of each command: PostgreSQL refuses to run as root.

    The user it runs as then keeps root's way through folders: the one of the servers may lie below a home that only
    root may enter. No client can use that, since none is a superuser of the database.
    """
    if os.geteuid() != 0:
        return []
    user = _system_user()
    capability = "+dac_override"
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups",
            f"--inh-caps={capability}", f"--ambient-caps={capability}"]  # fmt: skip


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise ServersError(f"postgres: root cannot run it, and there is no user {SYSTEM_USER}: make one") from None


def _run(command: list[str | Path], text: str) -> None:
    result = subprocess.run([str(part) for part in command], input=text, capture_output=True, text=True, check=False)
    output = (result.stdout + result.stderr).strip()
    if result.returncode != 0 or "ERROR:" in output:  # single-user mode ends with 0 whatever happens
        raise ServersError(f"postgres: could not make its data folder\n{output[-4000:]}")
