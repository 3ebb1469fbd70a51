"""What becomes of a test whose system package is missing."""

import pytest

from tests.plugins import require

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.unit

WITH_MARKER = "import pytest\n@pytest.mark.{word}\ndef test_it(): pass\n"
WITH_FIXTURE = "def test_it(require): assert require('{word}').endswith('wrk')\n"


@pytest.fixture
def run(pytester, monkeypatch):
    """Run one test file in a session that has the plugin, and no command on its PATH."""

    def run_it(source: str, required: str = "") -> pytest.RunResult:
        monkeypatch.setenv("PATH", str(pytester.path))
        monkeypatch.setenv(require.VARIABLE, required)
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess("-p", "tests.plugins.require", "-p", "no:randomly", "-rs")

    return run_it


@pytest.mark.parametrize("source", [WITH_MARKER, WITH_FIXTURE])
def test_a_missing_package_skips_and_is_named(run, source):
    """The reason holds the command and the Debian package."""
    result = run(source.format(word="wrk"))
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*wrk is not installed (Debian package: wrk)*"])


@pytest.mark.parametrize("source", [WITH_MARKER, WITH_FIXTURE])
def test_a_missing_package_fails_where_it_is_required(run, source):
    """REQUIRE turns the skip into a failure with the same reason."""
    result = run(source.format(word="wrk"), required="redis,wrk")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*wrk is not installed (Debian package: wrk), and REQUIRE asks for 'wrk'*"])


def test_requiring_one_package_still_skips_for_another(run):
    """Only the words of REQUIRE fail."""
    run(WITH_MARKER.format(word="redis"), required="wrk").assert_outcomes(skipped=1)


@pytest.mark.parametrize("source", [WITH_MARKER, WITH_FIXTURE])
def test_an_installed_package_lets_the_test_run(run, pytester, source):
    """A command on the PATH is found by its name."""
    command = pytester.path / "wrk"
    command.touch(mode=0o755)
    run(source.format(word="wrk"), required="wrk").assert_outcomes(passed=1)


def test_a_misspelt_requirement_is_refused_with_the_near_miss(run):
    """A word that nobody knows would require nothing, so the session does not start."""
    result = run("def test_it(): pass\n", required="browsr")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*REQUIRE names 'browsr', did you mean 'browser'?*"])


def test_a_selection_without_a_test_fails_and_says_so(run):
    """An empty suite is not a green suite."""
    result = run("value = 1\n")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["*no test was selected*"])


def test_the_runner_installs_and_requires_every_package(pytestconfig):
    """`.ci/run` knows each word and each Debian package of the plugin."""
    script = (pytestconfig.rootpath / ".ci/run").read_text()
    assert f"REQUIRE={','.join(require.NEEDS)}\n" in script
    for need in require.NEEDS.values():
        assert f"{need.commands[0]}={need.package}" in script
