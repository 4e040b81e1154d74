"""Pictures of a running panel for the docs: overview and rollout, two themes, two sizes.

``python -m tests.panel.screenshots URL TOKEN [ROLLOUT] [DIRECTORY] [overview | rollout]``
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

ROOT: Final = Path(__file__).parents[2]
SIZES: Final = {"desktop": (1280, 860, 1_250), "phone": (390, 844, 2_200)}
"""Width and height of a window in pixels, and the most that is shown of a page."""
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


def launch(playwright: Playwright) -> Browser:
    """Debian's Chromium, without a window."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "no Chromium: apt-get install chromium"
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def sign_in(page: Page, url: str, token: str) -> None:
    """As a person does."""
    page.goto(f"{url}/sign-in")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("body[data-live]")


def picture(context: BrowserContext, address: str, most: int, file: Path) -> None:
    """One page, as far as it is read in a document."""
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#live")).to_contain_text("Live")
    height = page.evaluate("document.documentElement.scrollHeight")
    width = page.evaluate("innerWidth")
    page.set_viewport_size({"width": width, "height": min(height, most)})
    page.screenshot(path=file, type="jpeg", quality=72)
    page.close()
    print(f"{file}: {file.stat().st_size // 1024} kB")


def main(arguments: list[str]) -> None:
    url, token = arguments[0].rstrip("/"), arguments[1]
    rollout = arguments[2] if len(arguments) > 2 else "checkout"
    directory = Path(arguments[3]) if len(arguments) > 3 else ROOT / "docs" / "screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    pages = {"overview": "/", "rollout": f"/rollouts/{rollout}"}
    pages = {name: path for name, path in pages.items() if name in (arguments[4:] or pages)}
    with sync_playwright() as playwright, launch(playwright) as browser:
        for size, (width, height, most) in SIZES.items():
            for theme in THEMES:
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=theme
                )
                sign_in(context.new_page(), url, token)
                for name, path in pages.items():
                    picture(context, f"{url}{path}", most, directory / f"{name}-{theme}-{size}.jpg")
                context.close()


if __name__ == "__main__":
    main(sys.argv[1:])
