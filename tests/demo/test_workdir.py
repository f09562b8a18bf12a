import pytest
from filelock import FileLock

from nnunet_fess.demo.workdir import MARKER, RESULTS, claim, first_free
from nnunet_fess.errors import UserError


def _contents(folder):
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith(MARKER))


def _make(workdir):
    (workdir.new("raw") / "deep").mkdir(parents=True)
    (workdir.path / "raw" / "deep" / "file").write_text("x")
    workdir.new("log").write_text("x")


def test_makes_a_missing_folder(tmp_path):
    with claim(tmp_path / "a" / "b") as workdir:
        assert workdir.path.is_dir()


def test_a_foreign_folder_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"thesis\.tex"), claim(tmp_path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_second_run_clears_what_the_first_made_and_nothing_else(tmp_path):
    with claim(tmp_path) as workdir:
        _make(workdir)
    (tmp_path / "notes.txt").write_text("added later")
    with claim(tmp_path):
        assert _contents(tmp_path) == ["notes.txt"]


def test_a_second_run_after_a_crash_clears_too(tmp_path):
    with pytest.raises(ZeroDivisionError), claim(tmp_path) as workdir:
        _make(workdir)
        _ = 1 / 0
    with claim(tmp_path):
        assert _contents(tmp_path) == []


def test_a_foreign_file_in_the_way_is_refused(tmp_path):
    with claim(tmp_path):
        pass
    (tmp_path / "raw").mkdir()
    with claim(tmp_path) as workdir, pytest.raises(UserError, match="in its way"):
        workdir.new("raw")
    assert (tmp_path / "raw").is_dir()


def test_remove_takes_only_what_was_made(tmp_path):
    with claim(tmp_path) as workdir:
        _make(workdir)
        workdir.remove("raw")
        assert _contents(tmp_path) == ["log"]
        with pytest.raises(ValueError, match="not made"):
            workdir.remove("notes.txt")


def test_a_symbolic_link_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "data").write_text("precious")
    with claim(tmp_path / "work") as workdir:
        workdir.new("raw").symlink_to(elsewhere)
        workdir.remove("raw")
    assert (elsewhere / "data").exists()
    assert not (tmp_path / "work" / "raw").is_symlink()


@pytest.mark.parametrize("content", ["", "[]", '{"made": ["../thesis"]}', '{"made": [1]}', '{"made": null}'])
def test_a_damaged_marker_is_refused(tmp_path, content):
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "thesis").write_text("precious")
    (work / MARKER).write_text(content)
    with pytest.raises(UserError, match="damaged"), claim(work):
        pass
    assert (tmp_path / "thesis").exists()


def test_one_run_at_a_time(tmp_path):
    with claim(tmp_path) as workdir:
        _make(workdir)
        with pytest.raises(UserError, match="another demo is running"), claim(tmp_path):
            pass
        assert _contents(tmp_path) == ["log", "raw"]


def test_a_lock_left_by_a_killed_run_does_not_hold(tmp_path):
    (tmp_path / (MARKER + ".lock")).touch()
    with claim(tmp_path) as workdir:
        assert FileLock(tmp_path / (MARKER + ".lock")).is_locked is False
        assert workdir.path == tmp_path


def test_a_file_is_no_workdir(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot use the working directory"), claim(tmp_path / "file"):
        pass


def _finish(path):
    with claim(path) as workdir:
        _make(workdir)
        workdir.new(RESULTS).write_text("{}")


def test_finished_results_are_kept_unless_told(tmp_path):
    _finish(tmp_path)
    with pytest.raises(UserError, match="--overwrite"), claim(tmp_path):
        pass
    assert _contents(tmp_path) == [RESULTS, "log", "raw"]
    with claim(tmp_path, overwrite=True):
        assert _contents(tmp_path) == []


def test_a_clearing_that_was_killed_goes_on(tmp_path, monkeypatch):
    """The results go first, so that what is left is an unfinished demo."""
    _finish(tmp_path)
    monkeypatch.setattr("shutil.rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt), claim(tmp_path, overwrite=True):
        pass
    monkeypatch.undo()
    assert _contents(tmp_path) == ["raw"]
    with claim(tmp_path):
        assert _contents(tmp_path) == []


def test_the_first_place_without_results(tmp_path):
    place = tmp_path / "demo"
    assert first_free(place) == place
    with pytest.raises(ZeroDivisionError), claim(place) as workdir:
        _make(workdir)
        _ = 1 / 0
    assert first_free(place) == place  # unfinished
    _finish(place)
    _finish(tmp_path / "demo_2")
    assert first_free(place) == tmp_path / "demo_3"


def test_an_unfinished_demo_of_the_same_data_is_gone_on_with(tmp_path):
    with pytest.raises(ZeroDivisionError), claim(tmp_path, data={"seed": 0}) as workdir:
        _make(workdir)
        assert not workdir.prepared
        workdir.mark_prepared({"seed": 0})
        _ = 1 / 0
    with claim(tmp_path, data={"seed": 0}) as workdir:
        assert workdir.prepared
        assert _contents(tmp_path) == ["log", "raw"]
        assert workdir.new("raw").is_dir()
    with claim(tmp_path, data={"seed": 1}) as workdir:
        assert not workdir.prepared
        assert _contents(tmp_path) == []


def test_data_that_are_half_prepared_are_made_anew(tmp_path):
    with claim(tmp_path, data={"seed": 0}) as workdir:
        _make(workdir)
    with claim(tmp_path, data={"seed": 0}) as workdir:
        assert not workdir.prepared
        assert _contents(tmp_path) == []


def test_overwriting_makes_the_data_anew_too(tmp_path):
    with claim(tmp_path, data={"seed": 0}) as workdir:
        _make(workdir)
        workdir.mark_prepared({"seed": 0})
        workdir.new(RESULTS).write_text("{}")
    with claim(tmp_path, overwrite=True, data={"seed": 0}) as workdir:
        assert not workdir.prepared
        assert _contents(tmp_path) == []
