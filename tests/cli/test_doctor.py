import pytest
from cli_runs import cold

from gppo.cli.doctor import Finding, examine, findings_table
from gppo.sandbox import Probe, probe


def test_it_says_which_isolation_holds_and_why(tmp_path):
    done = cold("doctor", folder=tmp_path)
    found = probe()
    assert done.status == (1 if found.level == "refused" else 0)
    assert found.level in done.stdout or "cannot be judged" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_refusal_says_what_to_do(monkeypatch):
    # A machine without any isolation cannot be had here; the probe's own refusals are tested with the sandbox.
    refused = Probe("refused", "no isolation holds here", (), "install bubblewrap")
    monkeypatch.setattr("gppo.cli.doctor.probe", lambda: refused)
    finding = next(one for one in examine() if one.what == "sandbox")
    assert finding == Finding(
        "sandbox", False, "programs cannot be judged: no isolation holds here; install bubblewrap"
    )


@pytest.mark.parametrize(("ok", "word"), [(True, "ok"), (False, "to do")])
def test_the_table_marks_what_needs_doing(ok, word):
    [cell] = findings_table([Finding("sandbox", ok, "x")]).columns[1].cells
    assert cell == word
