"""Settings come from the environment, have defaults, and refuse what cannot be meant."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from pipelines.machine.environments import read_environments
from pipelines.machine.settings import ROOT, Settings, main_checkout

pytestmark = pytest.mark.unit

DECLARED = ROOT / "infra" / "environments.yaml"


def test_defaults_need_no_variable() -> None:
    """Everything is in `var` of the checkout, on the declared ports."""
    settings = Settings.from_environment({})
    assert settings.var == settings.checkout / "var"
    assert settings.tracking_uri == "http://127.0.0.1:5010"
    assert settings.owns_tracking
    assert settings.service_url("production") == "http://127.0.0.1:8102"
    assert settings.environment("production").clock == "wall"


def test_variables_move_ports_folders_and_clock(tmp_path: Path) -> None:
    """Each variable changes one thing."""
    settings = Settings.from_environment(
        {
            "FLIGHTLINE_VAR": str(tmp_path),
            "FLIGHTLINE_STAGING_PORT": "9001",
            "FLIGHTLINE_CLOCK": "request",
            "FLIGHTLINE_ACTOR": "ada",
            "MLFLOW_TRACKING_URI": "https://mlflow.example/",
        }
    )
    assert settings.service_url("staging") == "http://127.0.0.1:9001"
    assert settings.environment("staging").clock == "request"
    assert (settings.actor, settings.tracking_uri) == ("ada", "https://mlflow.example")
    assert not settings.owns_tracking
    assert not list(tmp_path.iterdir())


def test_the_shorthand_for_every_clock_leaves_production_alone() -> None:
    """`FLIGHTLINE_CLOCK=request`, left over in a shell, must not let callers date what production logs."""
    settings = Settings.from_environment({"FLIGHTLINE_CLOCK": "request"})
    clocks = {name: environment.clock for name, environment in settings.environments.items()}
    assert clocks == {"development": "request", "staging": "request", "production": "wall"}


def test_an_environment_that_is_named_follows_its_own_clock() -> None:
    """Naming production opens it, as the demonstration does; a name counts for more than the shorthand."""
    named = {"FLIGHTLINE_PRODUCTION_CLOCK": "request", "FLIGHTLINE_STAGING_CLOCK": "wall"}
    settings = Settings.from_environment({"FLIGHTLINE_CLOCK": "request", **named})
    assert settings.environment("production").clock == "request"
    assert settings.environment("staging").clock == "wall"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("FLIGHTLINE_MLFLOW_PORT", "http", "FLIGHTLINE_MLFLOW_PORT is 'http'"),
        ("FLIGHTLINE_STAGING_PORT", "70000", "a port from 1 to 65535"),
        ("FLIGHTLINE_CLOCK", "wal", "did you mean 'wall'"),
        ("FLIGHTLINE_PRODUCTION_CLOCK", "requst", "FLIGHTLINE_PRODUCTION_CLOCK is 'requst', did you mean"),
        ("MLFLOW_TRACKING_URI", "sqlite:///x.db", "the http"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(name: str, value: str, sentence: str) -> None:
    """The sentence names the variable and what it may be."""
    with pytest.raises(ConfigError, match=sentence):
        Settings.from_environment({name: value})


def test_an_unknown_environment_is_refused() -> None:
    """A near miss is suggested."""
    with pytest.raises(ConfigError, match="did you mean 'staging'"):
        Settings.from_environment({}).environment("stagin")


def test_a_misspelt_key_of_the_declaration_is_refused(tmp_path: Path) -> None:
    """So is a key that is there twice, a clock that does not exist, a broken file and a missing one."""
    good = DECLARED.read_text()
    path = tmp_path / "environments.yaml"
    for before, after, sentence in (
        ("alias: champion", "alais: champion", "did you mean 'alias'"),
        ("clock: wall", "clock: sundial", "sundial"),
        ("staging:", "staging: [", "is not YAML"),
        (
            "  alias: champion\n",
            "  alias: champion\n  alias: staging\n",
            "'alias' at line .* was there before",
        ),
    ):
        path.write_text(good.replace(before, after))
        with pytest.raises(ConfigError, match=sentence):
            read_environments(path, {})
    with pytest.raises(ConfigError, match="cannot be read"):
        read_environments(tmp_path / "none.yaml", {})


def test_a_worktree_uses_the_main_checkout(tmp_path: Path) -> None:
    """A run in a git worktree registers and deploys where everybody does; any other `.git` file is a root."""
    tree = tmp_path / "tree"
    tree.mkdir()
    assert main_checkout(tree) == tree
    (tree / ".git").write_text(f"gitdir: {tmp_path}/main/.git/worktrees/tree\n")
    assert main_checkout(tree) == tmp_path / "main"
    (tree / ".git").write_text("gitdir: ../.git/modules/tree\n")
    assert main_checkout(tree) == tree
