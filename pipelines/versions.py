"""See and change the versions of a running service: `python -m pipelines.versions list`.

It speaks to the admin API of the service, which answers when every worker has acted on the change. What is
promoted and who is champion stays with the registry and the ledger: `deploy` and `rollback` make the champion
the only version again.
"""

import argparse
import json
from typing import Any

import httpx

from contract.attestation import read_trust
from contract.errors import FlightlineError
from contract.release import open_release
from contract.strict import decode_json
from pipelines.cli import OK, command, json_option, parser
from pipelines.machine.settings import Settings
from serving.admin.server import ADDRESS, Address
from serving.admin.token import read_token

EXAMPLES = """versions --environment staging list
  load      python -m pipelines.versions load iris 2 --digest 4f0c…    (a release of this machine)
  canary    python -m pipelines.versions split iris 1=95 2=5
  shadow    python -m pipelines.versions mirror iris 2=100
  default   python -m pipelines.versions default iris 2
  unload    python -m pipelines.versions unload iris 1"""


def call(
    environment: str, settings: Settings, method: str, path: str, body: Any = None, *, wait_s: float = 30.0
) -> dict[str, Any]:
    """One call of the admin API of `environment`; what it answers.

    Raises:
        FlightlineError: the service does not run or has no admin API, or it refuses, in its own words.
    """
    state = settings.state(environment)
    try:
        port = decode_json((state / ADDRESS).read_bytes(), Address, ADDRESS).port
    except FileNotFoundError:
        raise FlightlineError(
            f"{environment} has no admin API", "a running service", "Start it with `make up`, or deploy to it"
        ) from None
    headers = {"Authorization": f"Bearer {read_token(state)}"}
    content = None if body is None else json.dumps(body)
    try:
        # trust_env: a token of this machine is nothing for a proxy.
        with httpx.Client(timeout=2 * wait_s + 10, trust_env=False, headers=headers) as client:
            answer = client.request(
                method,
                f"http://127.0.0.1:{port}{path}",
                content=content,
                params={} if method == "GET" else {"wait": wait_s},
            )
    except httpx.TransportError as error:
        raise FlightlineError(
            f"the admin API of {environment} does not answer ({error})",
            "a running service",
            f"Read {settings.logs / environment}.log",
        ) from None
    found: dict[str, Any] = answer.json()
    if not answer.is_success:
        raise FlightlineError(
            f"{environment} answers {answer.status_code}: {found['error'].rstrip('.')}",
            "a change it can make",
            "See `python -m pipelines.versions list`",
        )
    return found


def main(argv: list[str] | None = None) -> int:
    """List or change the versions of one environment's service."""
    options = _options().parse_args(argv)
    settings = Settings.from_environment()
    settings.environment(options.environment)  # which refuses an unknown one

    def ask(method: str, path: str, body: Any = None) -> dict[str, Any]:
        return call(options.environment, settings, method, path, body, wait_s=options.wait)

    if options.what == "list":
        found = ask("GET", "/models")
        print(json.dumps(found) if options.json else _table(found))
        return OK
    where = f"/models/{options.model}"
    older = {"older_contract": True} if getattr(options, "older_contract", False) else {}
    if options.what == "load":
        body = {**_release(options, settings), **older}
        done = ask("PUT", f"{where}/versions/{options.version}", body)
    elif options.what == "unload":
        done = ask("DELETE", f"{where}/versions/{options.version}")
    elif options.what == "default":
        done = ask("PUT", f"{where}/default", {"version": options.version, **older})
    else:
        done = ask("PUT", f"{where}/{options.what}", {options.what: _shares(options.shares), **older})
    print(json.dumps(done) if options.json else _sentence(options.model, done))
    return OK


def _options() -> argparse.ArgumentParser:
    given = parser("versions", __doc__, EXAMPLES)
    given.add_argument("--environment", default="staging", help="whose service (default: staging)")
    given.add_argument(
        "--wait", type=float, default=30.0, metavar="SECONDS", help="for the workers (default: 30)"
    )
    json_option(given)
    which = given.add_subparsers(dest="what", required=True, metavar="WHAT")
    looking = which.add_parser("list", help="what is desired, and what each worker serves")
    _again(looking)
    older = "allow a contract that refuses what the answering version accepts"
    for name, purpose in (
        ("load", "load a version beside the others; it answers nobody yet"),
        ("unload", "let go of a version that answers nobody"),
        ("default", "have a version answer all requests that name none"),
        ("split", "share those requests out, in percent; without shares all go to the default"),
        ("mirror", "have versions answer some of them a second time, as shadows; without shares none"),
    ):
        one = which.add_parser(name, help=purpose, description=purpose)
        _again(one)
        one.add_argument("model")
        if name in {"load", "unload", "default"}:
            one.add_argument("version")
        else:
            one.add_argument("shares", nargs="*", metavar="VERSION=PERCENT")
        if name == "load":
            one.add_argument("--digest", default="", help="of a release that this machine keeps")
            one.add_argument("--release", default="", help="or a release directory")
        if name in {"load", "default", "split"}:
            one.add_argument("--older-contract", action="store_true", help=older)
    return given


def _again(one: argparse.ArgumentParser) -> None:
    """What may stand before WHAT may stand after it, too."""
    one.add_argument("--environment", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    one.add_argument("--wait", type=float, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    one.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _release(options: argparse.Namespace, settings: Settings) -> dict[str, str]:
    """The release to load, verified here first: a wrong one is nothing to trouble a service with."""
    if bool(options.digest) == bool(options.release):
        raise FlightlineError("the release is not named", "--digest or --release", "Give one of the two")
    path = settings.releases / options.digest if options.digest else settings.checkout / options.release
    bundle = open_release(path, options.digest or None, read_trust(settings.trust))
    return {"release": str(path.absolute()), "digest": bundle.digest}


def _shares(words: list[str]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for word in words:
        version, _, percent = word.partition("=")
        try:
            shares[version] = float(percent)
        except ValueError:
            raise FlightlineError(
                f"'{word}' is no share", "VERSION=PERCENT, such as 2=5", "Correct it"
            ) from None
    return shares


def _table(found: dict[str, Any]) -> str:
    lines = [f"generation {found['generation']}, default model {found['default'] or 'none'}"]
    for name, model in sorted(found["models"].items()):
        shares = model["split"] or {model["default"]: 100.0}
        for version, wanted in sorted(model["versions"].items()):
            parts = ["default"] if version == model["default"] else []
            parts += [f"{shares[version]:g} % of requests"] if shares.get(version) else []
            parts += [f"{model['mirror'][version]:g} % as a shadow"] if model["mirror"].get(version) else []
            lines.append(
                f"  {name} {version:<8} {wanted['digest'][:12]}  {', '.join(parts) or 'by name only'}"
            )
    for worker, ack in sorted(found["workers"].items()):
        came_to = f"generation {ack['generation']}" if ack else "nothing yet"
        lines.append(f"  worker {worker}: {came_to}")
        lines += [
            f"    refused {name}: {sentence}" for name, sentence in (ack or {}).get("refused", {}).items()
        ]
    return "\n".join(lines)


def _sentence(model: str, done: dict[str, Any]) -> str:
    workers = len(done["workers"])
    made = "is served by" if done["changed"] else "was so already with"
    return f"{model}: generation {done['generation']} {made} {workers} worker{'s' * (workers != 1)}"


if __name__ == "__main__":
    command(main)
