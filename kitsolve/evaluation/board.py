"""`kitsolve board`: TensorBoard over the runs of a competition."""

from __future__ import annotations

from pathlib import Path

from tensorboard import program

from kitsolve.errors import KitsolveError


def start_board(runs: Path, *, host: str, port: int) -> str:
    """Serve TensorBoard in the background of this process.

    Args:
        port: 0 takes a free one.

    Returns:
        Its address.

    Raises:
        KitsolveError: no run yet, or an address that cannot be used.
    """
    if not runs.is_dir():
        raise KitsolveError(f"there are no runs in {runs}.", hint=f"run `kitsolve train {runs.name}` first.")
    board = program.TensorBoard()
    board.configure(argv=["tensorboard", "--logdir", str(runs), "--host", host, "--port", str(port)])
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise KitsolveError(
            f"TensorBoard cannot serve on {host}:{port}: {error}", hint="choose another --port or --host."
        ) from error
