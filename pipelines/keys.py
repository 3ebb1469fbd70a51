"""Replace a key or a secret of this machine: `python -m pipelines.keys trainer|staging|webhook|mlflow`.

trainer, staging  what signs releases, and staging's evidence. The new key is trusted, the old one stays so;
                  with --distrust it does not, and nothing that it signed is believed any more.
webhook           what MLflow signs its webhooks with. The relay tells MLflow within seconds.
mlflow            under what MLflow keeps that secret in its database; MLflow must be stopped.
"""

import json
import secrets

from contract.errors import ConfigError
from pipelines.cli import OK, command, json_option, parser, quiet
from pipelines.delivery.keys import ROLES
from pipelines.delivery.replacing import replace_secret, replace_signing_key, replace_store_key
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.promotion.webhooks import SECRET

WEBHOOK, STORE = "webhook", "mlflow"


def main(argv: list[str] | None = None) -> int:
    """Replace one of them."""
    given = parser("keys", __doc__, "keys staging --distrust")
    given.add_argument("name", choices=[*ROLES, WEBHOOK, STORE], help="what is to be replaced")
    given.add_argument(
        "--distrust", action="store_true", help="for a key that others may have: what it signed is refused"
    )
    json_option(given)
    options = given.parse_args(argv)
    settings = Settings.from_environment()
    say = quiet if options.json else print
    if options.distrust and options.name not in ROLES:
        raise ConfigError(
            f"--distrust is given for {options.name}",
            " or ".join(ROLES),
            "Leave it out: the old one is of no use",
        )
    done = _replace(options.name, settings, say, distrust=options.distrust)
    if options.json:
        print(json.dumps({"replaced": options.name, "detail": done}))
    else:
        print(f"{options.name}: {done}")
    return OK


def _replace(name: str, settings: Settings, say: Say, *, distrust: bool) -> str:
    for role in ROLES:
        if name == role:
            identity, trusted = replace_signing_key(settings.keys, role, distrust=distrust)
            copies = f"Where {settings.trust.name} was copied to, such as an overlay, copy it again"
            if distrust:
                return (
                    f"signs with {identity}, and no other key is trusted. What others signed is refused: "
                    f"register and stage it again before a service is restarted. {copies}"
                )
            return f"signs with {identity}; {trusted} keys are trusted. {copies}"
    if name == WEBHOOK:
        replace_secret(settings.keys, SECRET, lambda: secrets.token_urlsafe(32).encode())
        return "the relay tells MLflow within five seconds, or when it is started"
    kept = replace_store_key(settings, say)
    return f"{kept} webhook(s) are kept under a new key; start MLflow with `make up`"


if __name__ == "__main__":
    command(main)
