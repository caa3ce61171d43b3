"""Reviewing by keyboard in the live gallery of a local stack, and what a gallery on disk shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from bucketlens.gallery.data import chunks
from bucketlens.gallery.export import Results, write_folder
from bucketlens.gallery.local import mount_gallery
from bucketlens.gallery.thumbnails import Thumbnails
from bucketlens.local.stack import LocalStack
from bucketlens.reviews import Decision, Review, ReviewSession, ReviewTable
from classifier.model import Prediction
from classifier.records import ImageFacts, ModelIdentity, Rejection, Result, ReviewReason
from tests.conftest import ROOT
from tests.support.gallery import CHROMIUM, facet, summary
from tests.support.images import png

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED: no chromium is installed (apt-get install chromium)"),
]
MODEL = ModelIdentity("m", "20261120T101500Z-5d313724", "0" * 64)
COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("log")
    with LocalStack(ROOT / "template.yaml", port=0, event_source=False, log_folder=folder) as stack:
        for at in range(12):
            key = f"incoming/{at:02}.png"
            etag = stack.aws.s3.put_object(Bucket=stack.bucket, Key=key, Body=png(seed=at))["ETag"].strip('"')
            best = 0.5 + at / 30
            top = tuple(Prediction(COLOURS[(at + by) % 3], share) for by, share in enumerate((best, 1 - best, 0.0)))
            put(stack, key, etag, top=top, review_reason=ReviewReason.CONFIDENCE if at < 6 else None)
        put(stack, "incoming/bad.png", "0" * 32, error=Rejection("image.corrupt", "PNG cannot be decoded"))
        mount_gallery(stack)
        yield stack


def put(stack: LocalStack, key: str, etag: str, **outcome: object) -> None:
    made = Result(ImageFacts(stack.bucket, key, etag=etag), MODEL, "2026-11-20T12:00:00.000Z", "r", **outcome)  # type: ignore[arg-type]
    stack.aws.dynamodb.put_item(TableName=stack.table, Item=made.to_item(sequencer="0A", output_uri=None))


@pytest.fixture
def stack(running: LocalStack) -> LocalStack:
    """The stack, without any decision."""
    table = ReviewTable(running.aws.dynamodb, running.review_table)
    for review in table.read():
        table.withdraw(review.image_uri, review.decided_at)
    return running


@pytest.fixture
def page(stack: LocalStack, opened: Callable[..., Page]) -> Page:
    page = opened(f"{stack.endpoint_url}/_bucketlens/gallery/")
    assert summary(page) == "13 results"
    return page


def decisions(stack: LocalStack) -> dict[str, Review]:
    """The decisions by the number in the key."""
    reviews = ReviewTable(stack.aws.dynamodb, stack.review_table).read()
    return {one.image_uri.rpartition("/")[2].removesuffix(".png"): one for one in reviews}


def badge(page: Page, key: str) -> Locator:
    cell = page.locator(".cell").filter(has=page.get_by_text(f"{key}.png", exact=True))
    return cell.locator(".badge")


def count(page: Page, decision: str) -> Locator:
    return facet(page, "decision", decision).locator(".count")


def test_one_key_decides_and_brings_the_next_image(stack: LocalStack, page: Page) -> None:
    page.locator("[data-at='0']").press("Enter")
    detail = page.locator("#detail")
    expect(detail).to_contain_text("1 of 13")
    page.keyboard.press("r")
    expect(detail).to_contain_text("2 of 13")
    page.keyboard.press("w")
    expect(detail).to_contain_text("3 of 13")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("l")
    page.keyboard.type("gre")
    expect(page.locator("#choices [aria-selected='true']")).to_have_text("green")
    page.keyboard.press("Enter")
    expect(detail).to_contain_text("4 of 13")
    page.keyboard.press("Escape")
    # The closest calls came first, and nothing moved away meanwhile.
    expect(badge(page, "00")).to_have_text("right")
    expect(badge(page, "01")).to_have_text("wrong")
    expect(count(page, "not reviewed")).to_have_text("9")
    made = decisions(stack)
    assert {name: (str(one.decision), one.label, one.predicted_label) for name, one in made.items()} == {
        "00": ("right", "red", "red"),
        "01": ("wrong", None, "green"),
        "02": ("corrected", "green", "blue"),
    }
    assert {one.model_version for one in made.values()} == {MODEL.version}


def test_undo_goes_back_and_takes_the_last_decision_away(stack: LocalStack, page: Page) -> None:
    page.locator("[data-at='0']").press("Enter")
    detail = page.locator("#detail")
    page.keyboard.press("w")
    expect(detail).to_contain_text("2 of 13")
    page.keyboard.press("ArrowLeft")
    expect(detail).to_contain_text("wrong, ")
    page.keyboard.press("r")
    expect(detail).to_contain_text("2 of 13")
    expect(count(page, "right")).to_have_text("1")
    page.keyboard.press("u")
    expect(detail).to_contain_text("1 of 13")
    expect(detail).to_contain_text("wrong, ")
    page.keyboard.press("u")
    expect(detail).not_to_contain_text("wrong, ")
    expect(count(page, "not reviewed")).to_have_text("12")
    assert decisions(stack) == {}


def test_the_grid_takes_the_same_keys_and_a_rejected_image_none(stack: LocalStack, page: Page) -> None:
    page.locator("[data-at='0']").focus()
    page.keyboard.press("r")
    page.keyboard.press("r")
    expect(page.locator("#grid .cell:focus")).to_have_attribute("data-at", "2")
    expect(count(page, "right")).to_have_text("2")
    facet(page, "status", "rejected").click()
    page.locator("[data-at='0']").focus()
    page.keyboard.press("w")
    page.locator("[data-at='0']").press("Enter")
    expect(page.locator("#detail .decide")).to_have_count(0)
    page.keyboard.press("Escape")
    facet(page, "status", "rejected").click()
    page.get_by_role("button", name="Refresh").click()
    expect(count(page, "right")).to_have_text("2")
    assert {str(one.decision) for one in decisions(stack).values()} == {"right"}


def test_a_new_label_is_offered_as_one_and_decided_images_come_last(stack: LocalStack, page: Page) -> None:
    page.locator("[data-at='0']").press("l")
    page.locator("#chosen").fill("teal")
    expect(page.locator("#choices li")).to_have_text(["new label: teal"])
    page.locator("#choices li").click()
    expect(count(page, "corrected")).to_have_text("1")
    page.get_by_role("button", name="Refresh").click()
    expect(page.locator("[data-at='12'] .badge")).to_have_text("corrected")
    facet(page, "decision", "corrected").click()
    assert summary(page) == "1 of 13 results"
    (review,) = decisions(stack).values()
    assert (review.decision, review.label) == ("corrected", "teal")


def test_a_gallery_on_disk_shows_decisions_and_takes_none(
    stack: LocalStack, opened: Callable[..., Page], tmp_path: Path
) -> None:
    session = ReviewSession(
        stack.aws.dynamodb, stack.table, ReviewTable(stack.aws.dynamodb, stack.review_table), "<b>bob</b>"
    )
    session.decide(session.result(f"s3://{stack.bucket}/incoming/03.png"), Decision.CORRECTED, "te\u200dal")
    results = Results(stack.bucket, "now", list(chunks(session.read())))
    write_folder(tmp_path / "site", results, Thumbnails(stack.aws.s3, None), lambda _done, _total: None)
    page = opened((tmp_path / "site" / "index.html").as_uri())
    facet(page, "decision", "corrected").click()
    page.locator(".cell").press("r")
    page.locator(".cell").press("Enter")
    expect(page.locator("#detail")).to_contain_text("corrected, te\\u200dal, <b>bob</b>, 2")
    expect(page.locator("#detail .decide")).to_have_count(0)
