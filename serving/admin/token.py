"""Who may change what is served: whoever can read the token file in the state folder."""

import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path

from contract.errors import FlightlineError

TOKEN = "admin-token"  # noqa: S105 - the name of the file
BYTES = 32


def ensure_token(folder: Path) -> str:
    """The token in `folder`, made where there is none; only its owner can read the file.

    Raises:
        FlightlineError: others can read the file, or it holds no token.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / TOKEN
    if not path.exists():
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{TOKEN}.")  # 0600 from its first moment
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(BYTES) + "\n")
            # A link, not a rename: of two that make one at the same moment the first one's stays.
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            Path(temporary).unlink(missing_ok=True)
    return read_token(folder)


def read_token(folder: Path) -> str:
    """The token in `folder`.

    Raises:
        FlightlineError: there is none, it cannot be read, or others can read it, too.
    """
    path = folder / TOKEN
    try:
        mode = path.lstat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise FlightlineError(
            f"{path} cannot be read ({reason})", "the token of a running admin API", "Start the service first"
        ) from None
    if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o077:
        raise FlightlineError(
            f"{path} can be read by others (mode {stat.S_IMODE(mode):o})",
            "a file of mode 600",
            "Remove it and start the service again: a new token is made",
        )
    if len(text) < BYTES:
        raise FlightlineError(
            f"{path} holds no token", f"at least {BYTES} characters", "Remove it and start again"
        )
    return text


def matches(header: str, token: str) -> bool:
    """Whether an Authorization header carries `token`; takes equally long wherever they differ."""
    kind, _, given = header.partition(" ")
    return hmac.compare_digest(given.strip().encode(), token.encode()) and kind.lower() == "bearer"
