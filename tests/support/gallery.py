"""Results to show in the gallery, as the table's items come back, and a page of them in a headless browser."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Locator, Page, sync_playwright

BUCKET = "bucketlens-123456789012-us-east-1"
LABELS = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")
VERSIONS = ("20261118T101500Z-5d313724", "20261120T091200Z-a1b2c3d4")
HOSTILE = (
    "incoming/<img src=x onerror=alert(1)>.jpg",
    "incoming/</script><script>alert(1)</script>.jpg",
    "incoming/\u202egpj.exe",
    "incoming/bell\u0007 and new\nline.jpg",
    "incoming/zero\u200bwidth\ufeff.jpg",
    "incoming/lone \ud800 surrogate.jpg",
    "incoming/{{ 7 * 7 }} ${alert(1)} `'\"&lt;.jpg",
)
CHROMIUM = shutil.which("chromium")
# Chromium's sandbox does not run as root in a container; the rest keeps it from calling home.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# WCAG 2.2, "relative luminance" and "contrast ratio", over every text that is seen.
CONTRAST = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, option, title, [disabled]")) continue;
    const pair = [parse(getComputedStyle(element).color), background(element)].map(luminance).sort((a, b) => b - a);
    found.push({ text: node.data.trim(), ratio: (pair[0] + 0.05) / (pair[1] + 0.05) });
  }
  return found;
}"""


def item(key: str = "incoming/a.jpg", label: str = "hat", confidence: float = 0.9, **other: Any) -> dict[str, Any]:
    """A classified result, as the table's item comes back."""
    return {
        "image_uri": f"s3://{BUCKET}/{key}",
        "status": "classified",
        "label": label,
        "confidence": confidence,
        "top": [{"label": label, "confidence": confidence}],
        "needs_review": False,
        "model_name": "clothing",
        "model_version": VERSIONS[0],
        "model_sha256": "0" * 64,
        "request_id": "r",
        "classified_at": "2026-11-20T12:00:00.000Z",
        "etag": "0" * 32,
        "size_bytes": 1234,
        **other,
    }


def rejected(
    key: str, code: str = "image.corrupt", message: str = "JPEG cannot be decoded", **other: Any
) -> dict[str, Any]:
    """A rejected result."""
    made = item(key, status="rejected", error_code=code, error_message=message, **other)
    return {name: value for name, value in made.items() if name not in ("label", "confidence", "top")}


def many(count: int) -> Iterator[dict[str, Any]]:
    """Results as a busy bucket has them, always the same: 2 % rejected, 5 % to be reviewed."""
    chance = random.Random(20261120)
    for number in range(count):
        key = f"incoming/{('spring', 'summer/shop-7', 'returns')[number % 3]}/{number:06}.jpg"
        about = {
            "model_version": chance.choice(VERSIONS),
            "classified_at": f"2026-11-{chance.randint(17, 21)}T{chance.randint(0, 23):02}:00:00.{number % 1000:03}Z",
            "etag": f"{number:032x}",
        }
        if chance.random() < 0.02:
            yield rejected(key, chance.choice(("image.corrupt", "image.unsupported_format")), **about)
            continue
        confidence = round(max(0.1, 1 - chance.expovariate(9)), 4)
        label = chance.choice(LABELS)
        top = [{"label": label, "confidence": confidence}]
        top += [{"label": other, "confidence": 0.01} for other in LABELS if other != label][:4]
        unsure = {"needs_review": True, "review_reason": "confidence"} if confidence < 0.66 else {}
        yield item(key, label, confidence, top=top, **unsure, **about)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; call only where ``CHROMIUM`` is not None."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


def wait_ready(page: Page) -> None:
    """Until the page's script has shown all results. No string is evaluated: the page's policy forbids it."""
    page.locator("html[data-ready]").wait_for(state="attached", timeout=60_000)


def summary(page: Page) -> str:
    return page.locator("#summary").inner_text()


def facet(page: Page, name: str, value: str) -> Locator:
    return page.locator(f"#list-{name} button").filter(has=page.get_by_text(value, exact=True))
