"""More traffic than was ordered."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from pydantic import Field, model_validator

from chaoskit.clock import now
from chaoskit.errors import BrokenError
from chaoskit.faults.base import Evidence, Fault, World
from chaoskit.scenario.types import OperationName, Rate, problem
