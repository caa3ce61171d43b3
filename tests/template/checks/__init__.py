"""What the template promises, as functions that take a template and fail where it breaks a promise.

``test_template.py`` calls them with the template as it is, ``test_mutations.py`` with broken copies of it, one for
each place where it can break, and one of them must fail.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.template.checks import (
    alarms,
    api,
    athena,
    bucket_and_table,
    dashboard,
    function,
    parameters,
    policies,
    queues,
)
from tests.template.document import Template

CHECKS: tuple[Callable[[Template], None], ...] = tuple(
    check
    for module in (parameters, bucket_and_table, queues, function, policies, api, alarms, dashboard, athena)
    for name, check in vars(module).items()
    if name.startswith("check_")
)
