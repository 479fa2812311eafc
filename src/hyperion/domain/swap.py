"""May B take A's place under its callers? A yes with what it rests on, or a no with why."""

from __future__ import annotations

from hyperion.domain.answers import AnswerComparison, ClassAnswers
from hyperion.domain.document import Document
from hyperion.domain.step import StepVerdict
from hyperion.domain.version import Step


class SwapVerdict(Document):
    """The last word of a comparison.

    Yes says no more than this: B is the same model by name, callers need not change, the version tells them what they
    get, and where a dataset was run, B answers every row that A answers and is not less often right than chance would
    have it.
    """

    safe: bool
    because: str

    def __str__(self) -> str:
        return f"safe to swap: {'yes' if self.safe else 'no'}, because {self.because}"


def judge_swap(
    step: StepVerdict, answers: AnswerComparison | None, *, names: tuple[str, str], is_identical: bool
) -> SwapVerdict:
    """The verdict from what callers feel, what the version says, and the answers where a dataset was given.

    Args:
        step: What callers feel and what the version says.
        answers: What both answer; None where it was not measured.
        names: Of the models A and B: `deploy` takes a deployment's name from its model, where its config has none.
        is_identical: Whether both are the same package.
    """
    if is_identical:
        return SwapVerdict(safe=True, because="both are the same package")
    against = _against(step, names) or _against_answers(step, answers)
    if against is not None:
        return SwapVerdict(safe=False, because=against)
    gains = "" if step.required is Step.PATCH else " and gain something"
    told = f"callers need not change{gains}"
    told += f"; {step.sentence}" if step.honest is None else f" and {step.after} says so"
    return SwapVerdict(safe=True, because=f"{told}; {_answered(answers)}")


def _against(step: StepVerdict, names: tuple[str, str]) -> str | None:
    """The first thing that forbids it, whatever is answered."""
    if step.required is Step.MAJOR:
        return f"callers must change: {'; '.join(str(reason) for reason in step.decisive)}"
    if step.honest is False:
        return step.sentence
    before, after = names
    if before != after:
        beside = f"deploy would start a second deployment beside {before!r} (name it in deployment.json to swap)"
        return f"B is another model, {after!r}: {beside}"
    return None


def _against_answers(step: StepVerdict, answers: AnswerComparison | None) -> str | None:
    if answers is None:
        return None
    if answers.unavailable is not None:
        return f"the answers could not be compared: {answers.unavailable}"
    if answers.lost_rows:
        return f"{step.after} refuses {answers.lost_rows:,} rows that {step.before} answers"
    if answers.stray_rows:
        return f"{step.after} answers NaN or infinity on {answers.stray_rows:,} of {answers.rows:,} rows"
    if answers.classes is not None and answers.classes.is_worse:
        return f"it is wrong more often: {_accuracy(answers.classes)}"
    return None


def _answered(answers: AnswerComparison | None) -> str:
    """What is known of the answers."""
    if answers is None:
        return "how answers change was not measured (--dataset)"
    classes = answers.classes
    if classes is None:
        known = [output for output in answers.outputs if output.max_abs is not None]
        figures = "; ".join(f"{output.name} by at most {output.max_abs:.3g}" for output in known)
        return f"over {answers.rows:,} rows answers differ: {figures}" if known else "no answer could be compared"
    share = f"{classes.changed_rows:,} of {answers.rows:,} predictions change ({classes.changed_share:.1%})"
    if classes.accuracy_before is None:
        return f"{share}; without labels nobody knows whether for the better"
    return f"{share}; {_accuracy(classes)}"


def _accuracy(classes: ClassAnswers) -> str:
    return (
        f"accuracy {classes.accuracy_before:.4f} → {classes.accuracy_after:.4f}, "
        f"{classes.mended_rows:,} rows mended, {classes.broken_rows:,} broken"
    )
