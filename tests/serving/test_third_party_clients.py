"""Clients that know nothing of this project, each in its own locked environment and process (S1)."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.models.desired import Desired, DesiredModel, write_desired
from tests.plugins.processes import Service, free_ports

pytestmark = pytest.mark.slow
