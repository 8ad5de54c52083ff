"""Settings, notices and times: what they make of files, events and words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tui.notices import Notices
from tui.screens.importing import completions, meant, path_of
from tui.screens.inbox import superseded
from tui.screens.page import progress_words
from tui.settings import Settings, read_settings, remember_theme
from tui.text import clean_answer
from tui.theme import NAMES
from tui.times import past_moment
from tui.widgets.qr import qr_lines


def test_settings_are_read_and_what_is_wrong_in_them_is_told(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    assert read_settings(path, NAMES) == (Settings(), [])
    path.write_text(
        'theme = "safelight-light"\npictures = "halves"\n[notices]\ntoasts = ["denied"]\n'
        'quiet = "22:00-07:30"\n[notices.from]\nopened = 5\n'
    )
    settings, problems = read_settings(path, NAMES)
    assert problems == []
    assert settings.theme == "safelight-light"
    assert settings.pictures == "halves"
    assert settings.toasts == {"denied", "alarm"}, "alarms are never switched off"
    assert settings.least == {"opened": 5}
    assert [settings.is_quiet(one) for one in (22 * 60, 0, 7 * 60 + 29, 7 * 60 + 30, 720)] == [
        True, True, True, False, False,
    ]  # fmt: skip
    path.write_text(
        'theme = "pink"\npictures = 3\nfont = "x"\n[notices]\ntoasts = ["all"]\nquiet = "late"\n'
        "from = 3\n"
    )
    settings, problems = read_settings(path, NAMES)
    assert settings == Settings()
    assert len(problems) == 6
    for text in ("not toml", "notices = 3"):
        path.write_text(text)
        assert len(read_settings(path, NAMES)[1]) == 1


def test_a_theme_is_remembered_beside_the_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "settings.toml"
    remember_theme(path, "safelight-light")
    assert read_settings(path, NAMES)[0].theme == "safelight-light"
    path.write_text('# mine\ntheme = "safelight-light"\n[notices]\nquiet = "22:00-07:00"\n')
    remember_theme(path, "safelight-contrast")
    assert path.read_text().startswith('# mine\ntheme = "safelight-contrast"\n[notices]')


NOON = datetime(2030, 1, 31, 12, 0).astimezone()


def opened(who: str = "bob", event: str = "opened") -> dict[str, Any]:
    entry = {"event": event, "actor": who, "subject": "a.jpg", "detail": {}}
    return {"kind": f"log.{event}", "entry": entry}


def told(notices: Notices, event: dict[str, Any], at: datetime = NOON) -> bool | None:
    heard = notices.heard(event, me="alice", now=at)
    return None if heard is None else heard[1]


def test_what_others_do_makes_a_line_and_a_toast() -> None:
    notices = Notices(Settings())
    assert told(notices, opened()) is True
    assert told(notices, opened("alice")) is None, "what I do myself is no news"
    assert told(notices, {"kind": "peer", "name": "bob"}) is None
    assert notices.unread == 1
    assert [one.words for one in notices.read()] == ["bob · a.jpg"]
    assert notices.unread == 0


def test_what_is_taken_back_is_told_once_and_by_name_on_either_side() -> None:
    seen = opened(event="revocation_seen")
    notices = Notices(Settings())
    assert told(notices, seen) is True
    seen["entry"]["detail"]["issuer"] = "bob"
    assert told(notices, seen) is True
    # The event that comes with the entry says neither who nor what.
    assert told(notices, {"kind": "revoked", "capability": "00"}) is None
    assert [(one.kind, one.title) for one in notices.read()] == [
        ("revoked", "Taken back from you"),
        ("revocation_seen", "Revocation seen"),
    ]
    assert all(one.words.startswith("bob") for one in notices.read())


def test_what_is_shared_is_told_in_its_sentence() -> None:
    received = opened(event="received")
    received["entry"]["detail"]["sentence"] = "alice may view 1 picture from bob"
    notices = Notices(Settings())
    assert told(notices, received) is True
    assert [one.words for one in notices.read()] == ["alice may view 1 picture from bob"]


def test_toasts_are_few_and_quiet_hours_have_none_but_alarms() -> None:
    notices = Notices(Settings(quiet=(22 * 60, 7 * 60)))
    assert [told(notices, opened()) for _ in range(5)] == [True, True, True, False, False]
    later = NOON + timedelta(seconds=11)
    assert told(notices, opened(), later) is True
    night = NOON.replace(hour=23)
    assert told(notices, opened(), night) is False
    assert told(notices, {"kind": "alarm", "name": "bob", "detail": "two heads"}, night) is True
    assert notices.unread == 8


def test_a_threshold_counts_by_person_within_an_hour() -> None:
    notices = Notices(Settings(least={"denied": 3}))
    assert [told(notices, opened(event="denied")) for _ in range(3)] == [False, False, True]
    assert told(notices, opened("carol", "denied")) is False
    assert told(notices, opened(event="denied"), NOON + timedelta(hours=2)) is False


@pytest.mark.parametrize(
    ("done", "total", "seconds", "words"),
    [
        (3, 40, 0.2, "3/40"),
        (12, 40, 4.0, "12/40, 3.0/s, 9 s left"),
        (1_200, None, 10.0, "1,200, 120/s"),
        (0, 5, 9.0, "0/5"),
    ],
)
def test_progress_says_rate_and_time_left(
    done: int, total: int | None, seconds: float, words: str
) -> None:
    assert progress_words(done, total, seconds) == words


def test_a_path_is_completed_as_a_shell_does(tmp_path: Path) -> None:
    for name in ("summer one", "summer two", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "winter.jpg").touch()
    start = f"{tmp_path}/"
    assert completions(start + "s") == (f"{start}summer ", ["summer one/", "summer two/"])
    assert completions(start + "w") == (f"{start}winter.jpg", ["winter.jpg"])
    assert completions(start + "summer o")[0] == f"{start}summer one/"
    assert completions(start)[1] == ["summer one/", "summer two/", "winter.jpg"]
    assert completions(start + ".h")[0] == f"{start}.hidden/"
    assert completions(start + "nothing") == (f"{start}nothing", [])
    assert completions("/no/such/folder/x") == ("/no/such/folder/x", [])


def test_a_past_time_is_read_from_words() -> None:
    moment = past_moment("3h")
    assert moment is not None
    assert abs(datetime.now(UTC) - timedelta(hours=3) - datetime.fromisoformat(moment)) < timedelta(
        minutes=5
    )
    hour = past_moment("14:00")
    assert hour is not None
    ago = datetime.now(UTC) - datetime.fromisoformat(hour)
    assert timedelta() <= ago < timedelta(days=1)
    assert past_moment("25:00") is None
    day = past_moment("2030-01-31")
    assert day is not None
    assert datetime.fromisoformat(day).utcoffset() is not None
    assert past_moment("2030-01-31T09:00:00Z")
    assert past_moment("soon") is None


def test_what_was_granted_anew_is_superseded() -> None:
    def row(name: str, state: str, *images: str) -> dict[str, Any]:
        pictures = [{"id": one} for one in images]
        return {"id": name, "issuer": "alice", "state": state, "images": pictures}

    found = [row("old", "expired", "a"), row("new", "live", "a"), row("other", "expired", "b")]
    assert superseded(found) == {"old"}


def test_a_proof_keeps_its_lines_and_nothing_else() -> None:
    answer = clean_answer({"proof": "c2sp.org/tlog-proof@v1\nindex 3\x1b[2J\r\n\nabc="})
    assert answer["proof"].split("\n") == ["c2sp.org/tlog-proof@v1", "index 3[2J", "", "abc="]


def test_a_qr_code_is_square_half_blocks() -> None:
    lines = qr_lines("7-CANYON-LAVA")
    assert len({len(line) for line in lines}) == 1
    assert len(lines) * 2 - len(lines[0]) in (0, 1)
    assert set("".join(lines)) == set("█▀▄ ")


def test_a_whole_path_typed_after_the_one_that_stands_there_is_the_one_meant() -> None:
    assert meant("/srv/anna/") == "/srv/anna/"
    assert meant("/srv/anna//media/card/DCIM") == "/media/card/DCIM"
    assert meant("/srv/anna/~/Pictures") == "~/Pictures"
    assert meant("/srv/anna/~old") == "/srv/anna/~old"


def test_a_home_of_nobody_is_a_path_like_any_other() -> None:
    assert path_of("~no-such-person/x") == Path("~no-such-person/x")
    assert completions("~no-such-person/x") == ("~no-such-person/x", [])
