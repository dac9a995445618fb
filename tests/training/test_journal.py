import numpy as np
import pandas as pd
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from kitsolve.training.distributed import Machine
from kitsolve.training.journal import Journal, draw_confusion

LINE = {"epoch": 0, "lr": 1e-3, "train_loss": 1.0, "val_loss": 0.9, "score": 0.5, "best": True, "images_per_s": 10.0}


def test_an_epoch_is_written_to_history_and_tensorboard(tmp_path):
    with Journal(tmp_path, Machine(torch.device("cpu"), 0), epochs_done=0) as journal:
        journal.write_images(torch.zeros(3, 8, 8, 3, dtype=torch.uint8))
        history = [LINE, {**LINE, "epoch": 1, "score": 0.75}]
        journal.write_epoch(history[:1], np.eye(2, dtype=np.int64), ("a", "b"))
        journal.write_epoch(history, np.eye(2, dtype=np.int64), ("a", "b"))
    assert pd.read_csv(tmp_path / "history.csv").score.tolist() == [0.5, 0.75]
    board = EventAccumulator(str(tmp_path)).Reload()
    assert [event.value for event in board.Scalars("score")] == [0.5, 0.75]
    assert set(board.Tags()["images"]) == {"augmented", "confusion"}


def test_epochs_that_are_trained_again_replace_those_of_the_killed_process(tmp_path):
    for scores in ((0.1, 0.2, 0.3), (0.5,)):
        done = 0 if len(scores) == 3 else 1
        with Journal(tmp_path, Machine(torch.device("cpu"), 0), epochs_done=done) as journal:
            for number, score in enumerate(scores, start=done):
                journal.write_epoch([{**LINE, "epoch": number, "score": score}], np.eye(2, dtype=np.int64), ("a", "b"))
    board = EventAccumulator(str(tmp_path)).Reload()
    assert [round(event.value, 3) for event in board.Scalars("score")] == [0.1, 0.5]


def test_the_confusion_matrix_is_darkest_where_the_share_is_largest():
    picture = draw_confusion(np.array([[0, 9], [1, 9]]), ("a", "b"))
    cells = picture.reshape(3, 40, 3, 40, 3)[:, 2:8, :, 2:8].mean(axis=(1, 3))[1:, 1:, 0]
    assert cells[0, 1] < cells[1, 1] < cells[1, 0] < cells[0, 0]


def test_hundreds_of_classes_still_fit_into_a_picture():
    picture = draw_confusion(np.eye(700, dtype=np.int64), tuple(map(str, range(700))))
    assert picture.shape == (700, 700, 3)
    assert picture[3, 3, 0] == 0
    assert picture[3, 4, 0] == 255
