"""A person promotes in MLflow's own pages: a real browser, a real server, real services (D9).

Screenshots of what the person sees are kept in `var/screenshots/`.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from pipelines.delivery.tracking_server import version_link
from pipelines.local import RECONCILER, RELAY
from pipelines.machine.processes import find as find_process
from tests.pipelines.delivery.test_processes import eventually
from tests.pipelines.promotion.clicks import MODEL, SOON_S, Clicks, clicking
from tests.plugins.require import find

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# The promise, from the click on `Save aliases` to an answer of the new version, on an idle machine.
CLICK_TO_ANSWER_S = 3.0
PAGE_MS = 60_000.0  # the first page of a loaded machine
SCREENSHOTS = Path(__file__).parents[3] / "var" / "screenshots"
# No sandbox: a container has no second one to offer. The rest keeps Debian's browser from calling home.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ROWS = [{"width": width / 10, "height": height, "letter": "A"} for width in range(100) for height in (0, 1)]


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clicks]:
    """What `make up` starts, with a first version of iris live."""
    with clicking(tmp_path_factory.mktemp("browser")) as made:
        first = made.staged()
        made.registry.set_alias(MODEL, "champion", first.version)
        assert eventually(lambda: made.agrees(first.version), SOON_S)
        yield made


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page of a browser that knows nothing, in MLflow's mode for models."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=find("browser"),
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 900},
        )
        browser.add_init_script("localStorage.setItem('mlflow.workflowType_v1', '\"machine_learning\"')")
        yield browser.pages[0]
        browser.close()


def aliases_dialog(page: Page, clicks: Clicks, version: str) -> Locator:
    """Open a version's page and the dialog in which its aliases are edited."""
    page.goto(version_link(clicks.settings, MODEL, version))
    page.get_by_role("button", name="Promote model").wait_for(timeout=PAGE_MS)
    page.locator("button[title='Edit aliases'], button[title='Add aliases']").first.click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    return dialog


def write(dialog: Locator, alias: str) -> None:
    """Type an alias as a person does."""
    box = dialog.get_by_role("combobox")
    box.fill(alias)
    box.press("Enter")


def keep(page: Page, name: str) -> None:
    """A screenshot that outlives the test."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")


def share_of_a_core() -> float:
    """The part of a core that a busy thread gets now; 1 on a machine that is ours alone.

    It is taken before a click and after all has settled, while the product has nothing to do: what others
    take is granted, what the product takes is not. On one and the same machine a product that became slower,
    by work or by waiting, has no larger limit than before. Of both the larger share counts: others who came
    or left in between are granted nothing.
    """
    wall, own = time.monotonic(), time.thread_time()
    while time.monotonic() - wall < 0.5:
        pass
    return min(1.0, (time.thread_time() - own) / (time.monotonic() - wall))


class Callers(threading.Thread):
    """A caller who asks production again and again, and notes when which version answered."""

    def __init__(self, clicks: Clicks) -> None:
        super().__init__(daemon=True)
        self.first: dict[str, float] = {}  # version to the moment of its first answer
        self.last: dict[str, float] = {}  # and of its last one
        self.statuses: set[int] = set()
        self._url = clicks.settings.service_url("production")
        self._ended = threading.Event()

    def run(self) -> None:
        """Ask with another row each time: a canary answers some rows and not others."""
        with httpx.Client(base_url=self._url, trust_env=False, timeout=10) as client:
            number = 0
            while not self._ended.is_set():
                row = ROWS[number % len(ROWS)]
                answer = client.post("/predict", params={"model": MODEL}, json={"row": row})
                now = time.monotonic()
                self.statuses.add(answer.status_code)
                if answer.status_code == 200:
                    version = str(answer.json()["version"])
                    self.first.setdefault(version, now)
                    self.last[version] = now
                number += 1
                self._ended.wait(0.005)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join(30)


@pytest.mark.alone
def test_a_click_is_answered_by_the_new_version_within_seconds(clicks: Clicks, page: Page) -> None:
    """The dialog saves, the webhook comes, and production answers with the new version: at most 3 s."""
    before, version = clicks.live, clicks.staged()
    dialog = aliases_dialog(page, clicks, version.version)
    write(dialog, "champion")
    keep(page, "1-before-the-click")
    share = share_of_a_core()
    with Callers(clicks) as callers:
        assert eventually(lambda: before in callers.first)
        clicked = time.monotonic()
        dialog.get_by_role("button", name="Save aliases").click()
        assert eventually(lambda: version.version in callers.first, SOON_S)
        answered = callers.first[version.version] - clicked
        assert eventually(lambda: clicks.live == version.version, SOON_S)
        recorded = time.monotonic() - clicked
        assert eventually(lambda: clicks.agrees(version.version), SOON_S)
    share = max(share, share_of_a_core())
    expect(dialog).to_be_hidden()
    page.reload()
    expect(page.get_by_text("@ champion").first).to_be_visible(timeout=PAGE_MS)
    keep(page, "2-the-new-champion")
    assert callers.statuses == {200}  # and nobody noticed
    everybody = callers.last[before] - clicked
    print(f"answered after {answered:.2f} s, everybody after {everybody:.2f} s, ", end="")
    print(f"recorded after {recorded:.2f} s, with {share:.2f} of a core")
    assert 0 < answered <= CLICK_TO_ANSWER_S / share


@pytest.mark.alone
def test_a_slower_product_does_not_keep_the_promise(clicks: Clicks) -> None:
    """The relay is held up for as long as the promise lasts, and what is granted to others is no cover."""
    before, version = clicks.live, clicks.staged()
    clicks.kill(RECONCILER)
    relay = find_process(clicks.settings.processes, RELAY)
    assert relay is not None
    share = share_of_a_core()
    with Callers(clicks) as callers:
        assert eventually(lambda: before in callers.first)
        os.kill(relay.pid, signal.SIGSTOP)
        try:
            clicked = time.monotonic()
            clicks.registry.set_alias(MODEL, "champion", version.version)
            left = CLICK_TO_ANSWER_S / share - (time.monotonic() - clicked)
            assert not eventually(lambda: version.version in callers.first, left)
        finally:
            os.kill(relay.pid, signal.SIGCONT)
        assert eventually(lambda: version.version in callers.first, SOON_S)
        answered = callers.first[version.version] - clicked
        assert eventually(lambda: clicks.agrees(version.version), SOON_S)
    clicks.up()
    assert answered > CLICK_TO_ANSWER_S / max(share, share_of_a_core())


def test_an_unqualified_version_is_refused_in_the_dialog(clicks: Clicks, page: Page) -> None:
    """The person reads why, and what to do; the alias has not moved."""
    live, version = clicks.live, clicks.registered()
    dialog = aliases_dialog(page, clicks, version.version)
    write(dialog, "champion")
    dialog.get_by_role("button", name="Save aliases").click()
    sentence = (
        f"Nothing was changed: version {version.version} of {MODEL} did not pass staging; expected signed "
        f"evidence of it. Run `python -m pipelines.deploy staging {MODEL} --version {version.version}`."
    )
    expect(dialog.get_by_text(sentence)).to_be_visible(timeout=PAGE_MS)
    keep(page, "3-refused")
    assert clicks.agrees(live)


def test_the_champion_cannot_be_taken_away_in_the_dialog(clicks: Clicks, page: Page) -> None:
    """Removing the alias from its version would stop nothing; the dialog says so."""
    live = clicks.live
    dialog = aliases_dialog(page, clicks, live)
    dialog.get_by_title("champion").get_by_role("button").click()
    dialog.get_by_role("button", name="Save aliases").click()
    expect(dialog.get_by_text("Move it to the version that is to run instead")).to_be_visible(timeout=PAGE_MS)
    keep(page, "4-not-taken-away")
    assert clicks.agrees(live)


def test_the_button_promote_model_points_at_the_alias(clicks: Clicks, page: Page) -> None:
    """It would copy the version to another model, of which no evidence speaks."""
    if "iris-elsewhere" not in clicks.registry.models():
        clicks.registry.client.create_registered_model("iris-elsewhere")
    page.goto(version_link(clicks.settings, MODEL, clicks.live))
    page.get_by_role("button", name="Promote model").click(timeout=PAGE_MS)
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("combobox").click()
    page.get_by_role("option", name="iris-elsewhere").or_(page.get_by_title("iris-elsewhere")).first.click()
    dialog.get_by_role("button", name="Promote", exact=True).click()
    expect(page.get_by_text("add 'champion' to its aliases").first).to_be_visible(timeout=PAGE_MS)
    keep(page, "5-promote-model")
    assert clicks.registry.versions("iris-elsewhere") == []
