"""The two ways a command ends badly; the command line turns each into its exit code."""


class InputError(ValueError):
    """What the user gave cannot be used: one line that says what was seen and what to do (exit 2)."""


class TrainingError(RuntimeError):
    """The work itself failed, say a diverged loss or a full disk: what happened, what is safe (exit 1)."""
