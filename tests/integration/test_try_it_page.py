"""The try-it page in a real browser: every way to give it an image, what it shows, a phone, both colour schemes."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from classifier.admission import Context
from classifier.api import Api
from classifier.http_server import Handler, Server
from classifier.images import ImageReader
from classifier.settings import ApiSettings
from tests.support.bundles import manifest_for
from tests.support.gallery import CHROMIUM, CONTRAST
from tests.support.http_api import in_process
from tests.support.images import encoded, picture, png

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED: no chromium is installed (apt-get install chromium)"),
]

PHONE = {"width": 390, "height": 844}
HOSTILE = ("<img src=x onerror=alert(1)>", "\u202egnp.exe", "blue")
TOKEN = "letmein"
Event = dict[str, Any]

# Gives the page files as a person's drag or paste would: browsers let no script make these from outside.
GIVE = """({ kind, target, name, content }) => {
  const transfer = new DataTransfer();
  if (content) {
    const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
  }
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
    : new DragEvent(kind, { ...options, dataTransfer: transfer });
  document.querySelector(target).dispatchEvent(event);
}"""


def api_handler(**changes: Any) -> Handler:
    settings = ApiSettings.from_environment({"MODEL_URI": "s3://photos/models/", "REVIEW_THRESHOLD": "0.6"})
    nowhere: Any = None
    model = in_process(manifest=replace(manifest_for(), **changes))
    return Api(settings, lambda: model, ImageReader(nowhere)).handle


@contextmanager
def serving(handler: Handler) -> Iterator[str]:
    with Server(("127.0.0.1", 0), handler, max_body=50_000_000) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(api_handler()) as url:
        yield url


@pytest.fixture
def opened(opened: Callable[..., Page]) -> Callable[..., Page]:
    # The browser logs every status that is no success; the page says those itself.
    return partial(opened, ready=lambda _: None, expected="Failed to load resource")


def file(content: bytes, name: str = "a.png", media_type: str = "image/png") -> Any:
    return {"name": name, "mimeType": media_type, "buffer": content}


def give(page: Page, kind: str, content: bytes | None, target: str = "#drop") -> None:
    encoded_content = base64.b64encode(content).decode() if content else None
    page.evaluate(GIVE, {"kind": kind, "target": target, "name": "a.png", "content": encoded_content})


def test_it_says_what_the_model_is(address: str, opened: Callable[..., Page]) -> None:
    expect(opened(address).locator("#model")).to_have_text(f"colours {manifest_for().version}, 3 labels")


@pytest.mark.parametrize("way", ["#file", "#camera", "drop", "paste"])
def test_every_way_to_give_an_image(address: str, opened: Callable[..., Page], way: str) -> None:
    page = opened(address)
    expect(page.locator("#status")).to_have_text("No image yet.")
    if way.startswith("#"):
        page.locator(way).set_input_files(file(png("green")))
    else:
        give(page, way, png("green"))
    expect(page.locator("#label")).to_have_text("green")
    page.locator("#picture").evaluate("picture => picture.decode()")
    assert page.locator("#picture").evaluate("picture => picture.naturalWidth") == 64
    expect(page.locator("#facts")).to_contain_text("PNG, 64 × 48")
    bars = page.locator("#bars li")
    assert bars.count() == 3
    shares = [float(text) for text in page.locator("#bars meter").evaluate_all("all => all.map((m) => m.value)")]
    assert shares == sorted(shares, reverse=True)
    expect(bars.first).to_contain_text(f"{100 * shares[0]:.1f} %")


def test_the_camera_is_the_one_at_the_back(address: str, opened: Callable[..., Page]) -> None:
    page = opened(address)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photo").click()
    assert chooser.value.element.get_attribute("capture") == "environment"


def test_one_image_after_the_other(address: str, opened: Callable[..., Page]) -> None:
    page = opened(address)
    for colour in ("red", "blue", "blue"):
        page.locator("#file").set_input_files(file(png(colour)))
        expect(page.locator("#label")).to_have_text(colour)


def test_what_is_refused_is_said(address: str, opened: Callable[..., Page]) -> None:
    page = opened(address)
    page.locator("#file").set_input_files(file(b"no picture", media_type="text/plain"))
    expect(page.locator("#status")).to_contain_text("the content is not one of JPEG")
    expect(page.locator("#picture")).to_be_hidden()
    expect(page.locator("#result")).to_be_hidden()
    page.locator("#file").set_input_files(file(png("red")))
    expect(page.locator("#label")).to_have_text("red")
    expect(page.locator("#status")).to_be_hidden()
    give(page, "drop", None)
    expect(page.locator("#status")).to_contain_text("no file")


def test_a_dragged_file_is_invited(address: str, opened: Callable[..., Page]) -> None:
    page = opened(address)
    for kind, invited in (("dragenter", True), ("dragleave", False)):
        give(page, kind, png())
        assert ("over" in (page.locator("#drop").get_attribute("class") or "")) == invited


def test_a_file_that_is_too_large_is_sent_smaller(address: str, opened: Callable[..., Page]) -> None:
    noise = np.random.default_rng(0).integers(0, 60, (1500, 3000, 3), dtype=np.uint8)
    noise[..., 2] += 190
    large = encoded(Image.fromarray(noise))
    assert len(large) > 4_500_000
    page = opened(address)
    page.locator("#file").set_input_files(file(large))
    expect(page.locator("#label")).to_have_text("blue", timeout=30_000)
    expect(page.locator("#facts")).to_contain_text("JPEG, 2048 × 1024, sent as 2048 × 1024")


def test_review_and_novelty_are_marked_where_they_are(opened: Callable[..., Page]) -> None:
    handler = api_handler()
    more: dict[str, Any] = {}

    def answer(event: Event, context: Context) -> Event:
        answered = handler(event, context)
        if event["rawPath"] == "/predict":
            document = json.loads(answered["body"])
            document["prediction"] |= more
            return {**answered, "body": json.dumps(document)}
        return answered

    with serving(answer) as url:
        page = opened(url)
        for extra, mark, novelty in (
            ({"needs_review": False}, None, False),
            ({"needs_review": True}, "needs review", False),
            ({"needs_review": True, "review_reason": "novelty", "novelty": 0.987}, "needs review: novelty", True),
        ):
            more.update(extra)
            page.locator("#file").set_input_files(file(png("red")))
            expect(page.locator("#result")).to_be_visible()
            if mark is None:
                expect(page.locator("#review")).to_be_hidden()
            else:
                expect(page.locator("#review")).to_have_text(mark)
            expect(page.locator("#facts dt", has_text="novelty")).to_have_count(int(novelty))
        expect(page.locator("#facts")).to_contain_text("98.7 %")
        page.close()


def test_labels_are_text(opened: Callable[..., Page]) -> None:
    with serving(api_handler(labels=HOSTILE)) as url:
        page = opened(url)
        page.locator("#file").set_input_files(file(png("red")))
        expect(page.locator("#label")).to_have_text(HOSTILE[0])
        assert page.locator("#answer img").count() == 0
        assert sorted(page.locator("#bars .data").all_inner_texts()) == sorted(HOSTILE)
        page.close()


def test_a_token_is_asked_for_where_one_is_needed_and_sent_from_then_on(opened: Callable[..., Page]) -> None:
    handler = api_handler()

    def answer(event: Event, context: Context) -> Event:
        """As API Gateway with an authorizer."""
        protected = event["rawPath"] in ("/predict", "/model", "/health")
        if protected and event["headers"].get("authorization") != f"Bearer {TOKEN}":
            body = json.dumps({"message": "Unauthorized"})
            return {"statusCode": 401, "headers": {"Content-Type": "application/json"}, "body": body}
        return handler(event, context)

    with serving(answer) as url:
        page = opened(url)
        expect(page.locator("#access")).to_be_visible()
        page.locator("#file").set_input_files(file(png("red")))
        expect(page.locator("#status")).to_have_text("Unauthorized")
        page.get_by_label("Access token").fill(TOKEN)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#label")).to_have_text("red")
        expect(page.locator("#model")).to_contain_text("colours")
        expect(page.locator("#access")).to_be_hidden()
        page.close()


@pytest.mark.parametrize(("tabs", "name"), [(1, "Choose a file"), (2, "Take a photo")])
def test_the_keyboard_is_enough(address: str, opened: Callable[..., Page], tabs: int, name: str) -> None:
    page = opened(address)
    expect(page.locator("#model")).to_contain_text("3 labels")
    for _ in range(tabs):
        page.keyboard.press("Tab")
    button = page.get_by_role("button", name=name)
    expect(button).to_be_focused()
    with page.expect_file_chooser() as chooser:
        button.press("Enter")
    chooser.value.set_files(file(png("blue")))
    expect(page.locator("#label")).to_have_text("blue")


def test_on_a_phone(address: str, opened: Callable[..., Page]) -> None:
    page = opened(address, PHONE, has_touch=True, is_mobile=True)
    page.locator("#camera").set_input_files(file(encoded(picture("green", size=(1200, 1600)), "JPEG")))
    expect(page.locator("#label")).to_have_text("green")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for name in ("Choose a file", "Take a photo"):
        box = page.get_by_role("button", name=name).bounding_box()
        assert box is not None
        assert box["height"] >= 44
    image, answer = page.locator("#drop").bounding_box(), page.locator("#answer").bounding_box()
    assert image is not None
    assert answer is not None
    assert answer["y"] >= image["y"] + image["height"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_aa(address: str, opened: Callable[..., Page], scheme: Any) -> None:
    page = opened(address, color_scheme=scheme)
    page.locator("#file").set_input_files(file(b"no picture"))
    expect(page.locator("#status")).to_contain_text("the content is not one of")
    seen = page.evaluate(CONTRAST)
    page.locator("#file").set_input_files(file(png("red")))
    expect(page.locator("#label")).to_have_text("red")
    page.evaluate("for (const id of ['review', 'access']) document.getElementById(id).hidden = false")
    seen += page.evaluate(CONTRAST)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 24, 29)" if scheme == "dark" else "rgb(255, 255, 255)"
    )
    assert len(seen) > 20
    assert [one for one in seen if one["ratio"] < 4.5] == []
