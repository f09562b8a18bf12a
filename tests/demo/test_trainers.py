import pytest

from nnunet_fess.demo.trainers import DEFAULT, LENGTH, choose, for_study
from nnunet_fess.errors import UserError

EPOCHS = LENGTH["epochs"]
TAIL = f"{LENGTH['iters']}iters_{LENGTH['valiters']}valiters"


def test_a_bare_name_gets_the_demos_options():
    (trainer,) = choose(["nnUNetTrainerFESS"], seed=7)
    assert trainer.name == "nnUNetTrainerFESS"
    assert trainer.full_name == f"nnUNetTrainerFESS_{EPOCHS}epochs_{TAIL}_seed7_noMirroring"
    assert trainer.epochs == EPOCHS


def test_the_defaults_are_fair_to_each_other():
    """Same length, seed and mirroring for all: they differ in the loss alone."""
    tails = {trainer.full_name.removeprefix(trainer.name) for trainer in choose(DEFAULT, seed=0)}
    assert len(tails) == 1


def test_spelt_out_options_win():
    (trainer,) = choose(["nnUNetTrainerFESS_temp0p1_2epochs_seed3"], seed=3)
    assert trainer.full_name == f"nnUNetTrainerFESS_temp0p1_2epochs_{TAIL}_seed3_noMirroring"
    assert trainer.epochs == 2


def test_a_seed_of_its_own_is_refused():
    """A study has the same seeds for all."""
    with pytest.raises(UserError, match="--seed"):
        choose(["nnUNetTrainerFESS_seed3"], seed=7)


def test_a_study_gives_to_all_what_all_share():
    assert for_study(choose(["nnUNetTrainerDiceCE", "nnUNetTrainerFESS_temp0p1"], 0)) == (
        ["DiceCE", "FESS_temp0p1"],
        f"{EPOCHS}epochs_{TAIL}_noMirroring",
    )
    assert for_study(choose(["nnUNetTrainer_5epochs", "nnUNetTrainerDice_2epochs", "nnUNetTrainerFESS"], 0)) == (
        ["nnUNetTrainer_5epochs", "Dice_2epochs", f"FESS_{EPOCHS}epochs"],
        f"{TAIL}_noMirroring",
    )


def test_nnunets_own_trainers_are_taken_as_they_are():
    trainers = choose(["nnUNetTrainer", "nnUNetTrainer_5epochs"], seed=0)
    assert [trainer.full_name for trainer in trainers] == ["nnUNetTrainer", "nnUNetTrainer_5epochs"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nnUNetTrainerFES", "Did you mean nnUNetTrainerFESS"),
        ("nnUNetTrainerFESS_noDS_3epochs", "Write nnUNetTrainerFESS_3epochs_noDS"),
        ("nnUNetTrainerFESS_", "--trainers"),
        ("ResNet", "nor is it one of nnU-Net's"),
        ("DefinitelyNotATrainer", "nnunet_fess trainers"),
    ],
)
def test_an_unknown_name_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        choose([name], seed=0)


def test_two_names_of_one_trainer_are_refused():
    with pytest.raises(UserError, match="twice"):
        choose(["nnUNetTrainerFESS", "nnUNetTrainerFESS_seed0"], seed=0)
