"""What qualification found, on the run in MLflow: the only place where a rejected bundle can be looked up."""

from contract.bundle import Bundle
from contract.statements import Qualification
from contract.strict import decode_json
from pipelines.delivery.evidence import read_evidence, tags, whole_card
from pipelines.delivery.registry import Registry, connect
from pipelines.delivery.tracking_server import NoAnswerError
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings

OUTCOME = "qualification"  # tag of a run: accepted, kept or failed
AGAINST = "qualification.champion"  # tag of a run: digest of the champion it was compared with, or empty


def note_qualification(bundle: Bundle, settings: Settings, say: Say = print) -> bool:
    """Write what the qualification of `bundle` says to the run that tracks it; safe to repeat.

    Where MLflow does not answer, or nobody has tracked the bundle, that is said and nothing is lost: the
    qualification stays in `var`, and tracking or qualifying the bundle again writes it.

    Returns:
        Whether it was written.
    """
    try:
        registry = connect(settings)
        run_id = registry.run_of(bundle.model, bundle.digest)
        if run_id is None:
            say(f"{bundle.model}: no run in MLflow has bundle {bundle.digest[:12]}; tracking it adds this")
            return False
        write_qualification(registry, run_id, bundle, settings)
    except NoAnswerError as error:
        say(f"{bundle.model}: not noted in MLflow ({error.found}); qualify again to do that")
        return False
    return True


def write_qualification(registry: Registry, run_id: str, bundle: Bundle, settings: Settings) -> None:
    """Replace the gates that the run `run_id` shows by all of them, where the bundle has been qualified.

    Raises:
        FlightlineError: the qualification is damaged, or MLflow does not do it.
    """
    path = settings.qualification(bundle.digest)
    if not path.is_file():
        return
    found = decode_json(path.read_bytes(), Qualification, path.name)
    verdicts = (*read_evidence(bundle.path).verdicts, *found.verdicts)
    card = (bundle.path / "model_card.md").read_text(encoding="utf-8")
    of_gates = tags(verdicts)
    registry.tag_run(
        run_id,
        {
            **of_gates,
            "gates": "fail" if "fail" in of_gates.values() else "pass",
            OUTCOME: found.outcome,
            AGAINST: found.champion,
            "mlflow.note.content": whole_card(card, verdicts),
        },
    )
