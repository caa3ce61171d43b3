"""Defects the function once had, or might have, as changes of its sources: what a simulation is worth shows in how soon
it finds them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

FUNCTIONS = Path(__file__).parent.parent.parent / "functions"


@dataclass(frozen=True)
class Defect:
    """Replacements in files of ``functions/classifier``: (file, old text, new text), each applying exactly once."""

    name: str
    changes: tuple[tuple[str, str, str], ...]

    def plant(self, folder: Path) -> Path:
        """Copy the sources with the defect into ``folder``; the path to import them from.

        Raises:
            ValueError: the sources have changed and the defect no longer applies.
        """
        shutil.copytree(FUNCTIONS / "classifier", folder / "classifier", ignore=shutil.ignore_patterns("__pycache__"))
        for file, old, new in self.changes:
            path = folder / "classifier" / file
            source = path.read_text()
            if source.count(old) != 1:
                raise ValueError(f"{self.name}: {file} has {source.count(old)} times {old!r}, not once")
            path.write_text(source.replace(old, new))
        return folder


DEFECTS = (
    Defect(
        "own item after a lost answer counts as another's",
        (("table.py", "standing is not None and standing.same_attempt(Standing(item))", "False"),),
    ),
    Defect(
        "document without sequencer counts as the event's",
        (
            (
                "store.py",
                '(metadata.get("request-id"), metadata.get("classified-at")) == (item.request_id, item.classified_at)',
                'metadata.get("sequencer", item.sequencer) == item.sequencer',
            ),
        ),
    ),
    Defect(
        "a line counts as written when its object exists",
        (("store.py", "line in self._read_lines(where)", "self._head(where) is not None"),),
    ),
    Defect(
        "deferral costs a receive",
        (("messages.py", "if self._queue is not None and deferred:", "if False:"),),
    ),
    Defect(
        "what is in flight is not reckoned with",
        (
            ("admission.py", "return pace * (self._begun - self._finished + 1)", "return min(pace, self.budget / 2)"),
            ("classification.py", "top_k, time_left())", "top_k, 1e6)"),
        ),
    ),
    Defect(
        "a body that breaks off counts as empty",
        (
            (
                "images.py",
                "if not tries_left or time_left() < _LEAST_TIME_FOR_A_FETCH:",
                "return Fetched(b'', *known)\n                if tries_left:",
            ),
        ),
    ),
    Defect(
        "an unexpected exception fails the batch",
        (("processor.py", "except Exception as error:  # noqa", "except MemoryError as error:  # noqa"),),
    ),
    Defect(
        "redelivery does not ask the table first",
        (("processor.py", "image.sequencer is not None and image.receive_count == 1", "image.sequencer is not None"),),
    ),
    Defect(
        "no claims",
        (("processor.py", "if not alone:", "if True:"),),
    ),
    Defect(
        "redelivered images run together",
        (("pipeline.py", "_ALONE_FROM = 3", "_ALONE_FROM = 9"),),
    ),
    Defect(
        "begun images do not come last",
        (("pipeline.py", "elif begun_at:", "elif False:"),),
    ),
    Defect(
        "newcomers come before those that have lost two tries",
        (
            (
                "pipeline.py",
                "        self._run_alone(due, run, done, settle_done)\n",
                "        begun = due + begun\n",
            ),
        ),
    ),
    Defect(
        "images that were begun are left what time there is",
        (("pipeline.py", "0.5 if begun else 0.0", "0.0"),),
    ),
    Defect(
        "claims are not withdrawn",
        (("processor.py", "self._store.table.withdraw(claim, seen)", "pass"),),
    ),
    Defect(
        "a claim counts as done",
        (("store.py", "if standing.unfinished:", "if False:"),),
    ),
    Defect(
        "the document of a deleted image stays",
        (("store.py", "if output.is_lines:", "if output.is_lines or result.is_of_deleted:"),),
    ),
    Defect(
        "two lines for concurrent duplicates",
        (
            (
                "store.py",
                "attempt.request_id != self.request_id and attempt.classified_at >= self.oldest_running",
                "False",
            ),
        ),
    ),
    Defect(
        "JSON written without a condition",
        (("store.py", '{"IfMatch": etag} if etag else {"IfNoneMatch": "*"}', "{}"),),
    ),
    Defect(
        "an item wins over its equal",
        (("table.py", "sequencer < :sequencer", "sequencer <= :sequencer"),),
    ),
    Defect(
        "an item wins over newer ones",
        (("table.py", "sequencer < :sequencer", "sequencer <> :sequencer"),),
    ),
    Defect(
        "sequencers compare as they come",
        (("events.py", 'sequencer.upper().rstrip("0") or "0" if sequencer', "sequencer.rjust(40) if sequencer"),),
    ),
    Defect(
        "what is recorded counts as done without its document",
        (("store.py", "if self._is_written(standing, output, may_be_running):", "if True:"),),
    ),
    Defect(
        "a request replaces what it has not seen",
        (("store.py", "Condition.unchanged(seen)", 'Condition.newer("F" * 40)'),),
    ),
    Defect(
        "lines that could not be written are forgotten",
        (("pipeline.py", "done[result.image_uri] = Outcome(image, OutcomeStatus.FAILED, error=error)", "pass"),),
    ),
    Defect(
        "one odd message fails the batch",
        (("events.py", "except (UserError, ValueError, RecursionError) as error:", "except UserError as error:"),),
    ),
    Defect(
        "keys of 1,017 to 1,024 bytes have too long an output key",
        (("processor.py", 'if len(name.encode()) + len(".json") <= _LONGEST_KEY:', "if True:"),),
    ),
    Defect(
        "the document of a deleted image is deleted without a condition",
        (("store.py", "Key=output.key, IfMatch=etag)", "Key=output.key)"),),
    ),
    Defect(
        "the item of a deleted image is deleted, not replaced by a tombstone",
        (
            (
                "table.py",
                '        replaced = response.get("Attributes")\n',
                '        replaced = response.get("Attributes")\n'
                "        if Standing(item).removed:\n"
                '            self._dynamodb.delete_item(TableName=self._name, Key={"image_uri": item["image_uri"]})\n',
            ),
        ),
    ),
    Defect(
        "a tombstone wins over newer items",
        (
            (
                "store.py",
                "Condition.newer(sequencer) if sequencer else",
                'Condition("attribute_exists(image_uri) OR attribute_not_exists(image_uri)", {})'
                " if Standing(item).removed else Condition.newer(sequencer) if sequencer else",
            ),
        ),
    ),
    Defect(
        "a tombstone counts as done with its document there",
        (
            (
                "store.py",
                "self._remove_output(standing, Output.of(standing.output_uri), settled=request.settles(standing))",
                "Recorded.REMOVED",
            ),
        ),
    ),
    Defect(
        "documents that are under way when their image is deleted are not waited for",
        (("store.py", "attempt.classified_at < self.settled_before", "True"),),
    ),
    Defect(
        "the document of a newer image goes with the older",
        (
            (
                "store.py",
                "            if standing is None or not standing.same_attempt(tombstone):\n",
                "            if standing is None:\n",
            ),
        ),
    ),
    Defect(
        "a request for a deleted image brings its item back",
        (
            (
                "processor.py",
                "if result.is_of_deleted and self._settings",
                "if result.is_of_deleted and image.sequencer and self._settings",
            ),
        ),
    ),
    Defect(
        "a test event needs a model",
        (("app.py", "if batch.images:", "if batch.images or self.model.current():"),),
    ),
)
