"""The command line: up, down, apply, grant, revoke, prepare."""

from __future__ import annotations

import argparse
import asyncio
import sys

from aiokafka.errors import KafkaError

from servers.kafka import BROKERS
from servers.secured.grants import OPERATIONS, grant, grant_printed, revoke
from servers.secured.kafka import SecuredKafka
from servers.where import ServersError

HELP = """\
Kafka on this machine as companies run theirs, beside the one of `python3 -m servers`: TLS, logins, and nothing that was
not granted.

  python -m servers.secured up                 one broker; returns when it answers
  python -m servers.secured up --brokers 3     three that are a cluster
  python -m servers.secured grant orders Read 'group:orders*' topic:order-commands
  faust -A streams.shop.orders acls --principal User:orders --json | python -m servers.secured apply
  python -m servers.secured revoke orders Read topic:order-commands
  python -m servers.secured down
  python -m servers.secured prepare            certificates and passwords alone, for compose.secured.yaml
"""
ENVIRONMENT = """\
environment:
  SERVERS_DIR          it keeps all it has in `secured-kafka` there: delete that to begin afresh
  SECURED_KAFKA_PORT   default 9094; the two ports after it are used too, and of three brokers those 10 and 20 on
"""


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 done, 1 a server failed."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ServersError as error:
        print(error, file=sys.stderr)
        return 1
    except KafkaError as error:
        print(f"secured kafka: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    server = SecuredKafka.from_environment(getattr(options, "brokers", None))
    if options.action in ("up", "prepare") and not server.ca.exists():
        server.prepare()
    match options.action:
        case "prepare":
            print(f"the authority: {server.ca}; of each user <name>.password and <name>.pem in {server.folder}")
        case "up":
            server.start()
            print(f"for the workers: KAFKA_BROKERS={';'.join(f'kafka://{address}' for address in server.servers)}")
            print(f"the authority: {server.ca}; of each user <name>.password and <name>.pem in {server.folder}")
        case "down":
            print(f"secured kafka: {server.stop()}")
        case _ if not server.ca.exists():
            raise ServersError("secured kafka: there is none: python -m servers.secured up")
        case "apply":
            print(f"secured kafka: {_apply(server)} rights granted")
        case change:
            done = {"grant": grant, "revoke": revoke}[change]
            asyncio.run(done(server.administrator(), options.user, options.operation, *options.resources))
    return 0


def _apply(server: SecuredKafka) -> int:
    """Grant what is printed to us. Returns how many rights those are. Raises `ServersError`."""
    try:
        return asyncio.run(grant_printed(server.administrator(), sys.stdin))
    except ValueError as error:
        raise ServersError(f"no rights to grant: {error}") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "servers.secured", description=HELP, epilog=ENVIRONMENT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="up|down|apply|grant|revoke|prepare")
    up = actions.add_parser("up", help="start what does not run, and wait until it answers")
    up.add_argument("--brokers", type=int, choices=(1, BROKERS), help="default: as many as there are, else one")
    actions.add_parser("down", help="stop it; its data stay")
    what = "grant what `faust -A APP acls --principal User:NAME --json` prints, from standard input"
    actions.add_parser("apply", help=what, description=what)
    actions.add_parser("prepare", help="make certificates and passwords, unless they are there, and start nothing")
    for change, what in {"grant": "let a user do something", "revoke": "take it back, as it was granted"}.items():
        sub = actions.add_parser(change, help=what, description=what)
        sub.add_argument("user")
        sub.add_argument("operation", choices=[*OPERATIONS], metavar="OPERATION", help=", ".join(OPERATIONS))
        sub.add_argument("resources", nargs="+", metavar="topic:NAME|group:NAME", help="a * behind a name: a prefix")
    return parser


if __name__ == "__main__":
    sys.exit(main())
