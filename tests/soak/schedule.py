"""A seed's schedule: the settings of its world, and what people and S3 do in it, before the function has its say.

Each seed switches a random subset of the troubles on and the rest off ("swarm testing", Groce et al., ISSTA 2012):
a world of all troubles at once hides what one of them alone would show.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from random import Random
from urllib.parse import quote_plus

from tests.soak.clients import FaultRates

BUCKET = "bucketlens-123456789012-us-east-1"
INPUT_PREFIX = "incoming/"
OUTPUT_PREFIX = "predictions/"
MODEL_PREFIX = "models/"
MAX_BYTES = 4096
QUEUE_URL = "https://sqs.us-east-1.amazonaws.com/123456789012/bucketlens-queue"

# Kinds of images that the function cannot deal with by itself, until whatever they break is mended.
HARMFUL = ("poison", "bug")

# Every entry is a message's body that holds no image, or none that can be read.
ODD_BODIES: tuple[str, ...] = (
    "",
    "not JSON",
    "[" * 100_000,
    "null",
    '"text"',
    "{}",
    json.dumps({"Records": [{"eventSource": "aws:s3"}]}),
    json.dumps({"Records": "none"}),
    json.dumps({"bucket": BUCKET, "key": 7}),
    json.dumps({"bucket": "", "key": ""}),
    json.dumps({"Type": "Notification", "Message": "{"}),
)


def _odd_record(**changed: object) -> str:
    stored: dict[str, object] = {"key": "incoming/odd.jpg", "sequencer": "0A", **changed}
    bucket = stored.pop("bucket", {"name": BUCKET})
    record = {"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": {"bucket": bucket, "object": stored}}
    return json.dumps({"Records": [record]})


ODD_BODIES += (
    _odd_record(key=17),
    _odd_record(key=None),
    _odd_record(key=["incoming/odd.jpg"]),
    _odd_record(key="incoming/" + quote_plus("ä" * 600)),
    _odd_record(key="incoming/\ud800.jpg"),
    _odd_record(sequencer=17),
    _odd_record(sequencer="not hexadecimal"),
    _odd_record(sequencer={"a": 1}),
    _odd_record(bucket={"name": None}),
    _odd_record(bucket={"name": 17}),
    _odd_record(bucket="text"),
)

# Bodies that are understood, and hold nothing to do.
TEST_EVENT = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET})
IDLE_BODIES = (
    TEST_EVENT,
    json.dumps(
        {
            "Records": [
                {
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": BUCKET}, "object": {"key": key, "sequencer": "0A"}},
                }
                for key in ("elsewhere/cat.jpg", "incoming/folder/")
            ]
        }
    ),
)


@dataclass(frozen=True)
class Profile:
    """The settings of one world. Rates are probabilities, times seconds."""

    lines: bool
    removes: bool
    """Whether S3 tells of deletions, and the results of deleted images are removed."""
    churns: bool
    """Whether each image comes, changes and goes within seconds, so that what is under way for it meets."""
    versioned: bool
    batch_size: int
    concurrency: int
    timeout: int
    workers: int
    faults: FaultRates
    faults_until: float
    kill_rate: float
    duplicate_rate: float
    redelivery_rate: float
    """How often a received message becomes visible again while it is worked on (at-least-once delivery)."""
    lost_delete_rate: float
    late_rate: float
    """How often a notification comes up to ten minutes late, so that others overtake it."""
    asynchronous_rate: float
    """How often S3 invokes the function itself instead of sending a message."""
    first_model_at: float
    """When a model is first published: a stack is there before it."""
    clock_skew: float
    """Seconds by which the clock of a process may be off, either way."""
    slow_image: float
    """Seconds the slowest images take to decode and classify."""
    slow_rate: float
    """How many images are as slow."""

    @property
    def calm(self) -> bool:
        """Whether nothing fails: then only hostile images and odd messages may end among the dead letters."""
        return self.faults == FaultRates() and not self.kill_rate and not self.first_model_at

    @property
    def pressed(self) -> bool:
        """Whether slow images crowd into the shortest invocations; the rest is then as narrow as it can be."""
        return self.timeout == 30 and self.slow_image >= 3.0 and self.slow_rate == 1.0 and not self.churns

    @property
    def visibility(self) -> float:
        return 6.0 * self.timeout

    @classmethod
    def draw(cls, random: Random) -> Profile:
        def some(*rates: float) -> float:
            return random.choice(rates) if random.random() < 0.5 else 0.0

        calm = random.random() < 0.35
        faults = FaultRates(
            throttled=some(0.01, 0.03, 0.3),
            unavailable=some(0.01, 0.1),
            refused=some(0.01, 0.1),
            stalled=some(0.005, 0.02),
            lost=some(0.01, 0.05, 0.2),
            lost_late=some(0.005, 0.05),
            overdue=some(0.005, 0.05),
            conflict=some(0.02, 0.2),
            body=some(0.02, 0.2),
        )
        profile = cls(
            lines=random.random() < 0.35,
            removes=(removes := random.random() < 0.5),
            churns=removes and random.random() < 0.6,
            versioned=random.random() < 0.25,
            batch_size=random.choice((1, 3, 10, 10, 40)),
            concurrency=random.choice((1, 2, 3)),
            timeout=random.choice((30, 30, 60, 120)),
            workers=random.choice((1, 1, 2)),
            faults=FaultRates() if calm else faults,
            faults_until=random.choice((60.0, 300.0, 1500.0)),
            kill_rate=0.0 if calm else some(0.1, 0.3),
            duplicate_rate=some(0.1, 0.5),
            redelivery_rate=some(0.05, 0.2),
            lost_delete_rate=some(0.02, 0.2),
            late_rate=some(0.1, 0.5),
            asynchronous_rate=some(0.1) if random.random() < 0.3 else 0.0,
            first_model_at=random.uniform(10, 400) if random.random() < 0.05 else 0.0,
            clock_skew=random.choice((0.0, 0.5)),
            slow_image=random.choice((0.1, 0.1, 1.0, 3.0, 5.0)),
            slow_rate=random.choice((0.3, 0.3, 1.0)),
        )
        if profile.churns:
            faults = replace(profile.faults, stalled=0.02, overdue=0.05)
            return replace(profile, lines=False, batch_size=random.choice((1, 3)), concurrency=3, faults=faults)
        return replace(profile, workers=1, batch_size=40, concurrency=1) if profile.pressed else profile


@dataclass(frozen=True)
class Image:
    """What an object holds.

    Attributes:
        kind: ``good``; ``corrupt``, ``empty`` and ``large`` are rejected; ``costly`` takes all the time an image may
            have; ``poison`` kills the process; ``bug`` raises what nobody expects.
        seconds: of one core, to decode and classify.
    """

    data: bytes
    kind: str
    seconds: float
    label: str


@dataclass(frozen=True)
class Put:
    key: str
    image: Image


@dataclass(frozen=True)
class Delete:
    """Somebody deletes an object: the current one, or in a versioned bucket the version of this number for good."""

    key: str
    version: int | None = None


@dataclass(frozen=True)
class Request:
    """Somebody invokes the function directly for one image."""

    key: str


@dataclass(frozen=True)
class Odd:
    """A message that did not come from S3."""

    body: str


@dataclass(frozen=True)
class Promote:
    version: str


Action = Put | Delete | Request | Odd | Promote


def draw_actions(random: Random, profile: Profile) -> list[tuple[float, Action]]:
    """What happens from outside, with its time: 5 to 40 actions."""
    weights = {
        "put": 4.0,
        "overwrite": random.choice((0.0, 1.0, 3.0)),
        "delete": random.choice((1.0, 3.0) if profile.removes else (0.0, 0.0, 1.0)),
        "request": random.choice((0.0, 0.0, 0.7)),
        "odd": random.choice((0.0, 0.0, 0.5)),
        "promote": random.choice((0.0, 0.3)),
    }
    hostile = _hostile_kinds(random)
    gap, many = random.choice((0.01, 0.5, 10.0)), random.random() < 0.05
    if profile.churns:
        weights |= {"put": 1.0, "overwrite": 1.0, "delete": 1.0}
        gap, many = random.choice((0.5, 1.0, 2.0)), True
    if profile.pressed:
        gap, many = 0.01, True
    keys: list[str] = []
    actions: list[tuple[float, Action]] = []
    now = 0.0
    for number in range(40 if many else min(40, 5 + int(random.expovariate(0.13)))):
        now += random.expovariate(1 / gap)
        kind = random.choices(list(weights), list(weights.values()))[0] if keys else "put"
        recent = keys[-2:] if profile.churns else keys
        action: Action
        match kind:
            case "put":
                key = f"{INPUT_PREFIX}{_name(random, number)}"
                keys.append(key)
                action = Put(key, _image(random, number, profile, hostile))
            case "overwrite":
                action = Put(random.choice(recent), _image(random, number, profile, hostile))
            case "delete":
                one_version = profile.removes and profile.versioned and random.random() < 0.5
                action = Delete(random.choice(recent), random.randrange(10) if one_version else None)
            case "request":
                action = Request(random.choice(keys))
            case "odd":
                action = Odd(random.choice(ODD_BODIES if random.random() < 0.8 else IDLE_BODIES))
            case _:
                action = Promote(f"202611{20 + number // 60:02}T1015{number % 60:02}Z")
        actions.append((now, action))
    return actions


def _name(random: Random, number: int) -> str:
    shape = random.random()
    if shape < 0.8:
        return f"{number}.jpg"
    if shape < 0.9:
        return f"a folder/+{number} ä.jpg"
    # The longest that S3 allows: 1,024 bytes of UTF-8.
    return f"{number:04}" + "ö" * ((1024 - len(INPUT_PREFIX) - 8) // 2) + ".jpg"


def _hostile_kinds(random: Random) -> list[str]:
    """One entry for each hostile image that may still come; at most two kill the process."""
    hostile: list[str] = []
    if random.random() < 0.25:
        hostile += ["poison"] * random.choice((1, 1, 2))
    if random.random() < 0.2:
        hostile += ["costly"] * random.choice((1, 2, 4))
    if random.random() < 0.2:
        hostile += ["bug"] * random.choice((1, 2))
    random.shuffle(hostile)
    return hostile


def _image(random: Random, number: int, profile: Profile, hostile: list[str]) -> Image:
    kind = "good"
    if hostile and random.random() < 0.4:
        kind = hostile.pop()
    elif random.random() < 0.1:
        kind = random.choice(("corrupt", "empty", "large"))
    size = random.randint(1, 200)
    if kind == "large":
        size += MAX_BYTES
    data = b"" if kind == "empty" else f"{kind} {number}.".encode().ljust(size, b"#")
    slow = random.random() < profile.slow_rate
    return Image(data, kind, profile.slow_image if slow else random.uniform(0.01, 0.1), f"label-{number}")
