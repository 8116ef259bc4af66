"""What processes that died have left behind is removed; what is of living ones stays."""

from __future__ import annotations

from sqlalchemy import Connection, text

from chatserver.ids import uuid7
from chatserver.storage import sweep


def test_frames_without_an_active_run_followers_and_places_of_the_dead_are_removed(connection: Connection) -> None:
    conversation_id = connection.execute(
        text(
            "INSERT INTO chat_conversations (id, company_id, created_at, updated_at) "
            "VALUES (gen_random_uuid(), gen_random_uuid(), now(), now()) RETURNING id"
        )
    ).scalar_one()
    runs = {status: uuid7() for status in ("active", "completed", "dropped")}
    for status, run_id in runs.items():
        connection.execute(
            text(
                "INSERT INTO chat_runs (id, conversation_id, trigger_message_id, status, owner, epoch, lease_until, "
                "started_at) VALUES (:run, :conversation, gen_random_uuid(), :status, "
                "gen_random_uuid(), 2, now(), now())"
            ),
            {"run": run_id, "conversation": conversation_id, "status": status},
        )
    for run_id in (*runs.values(), uuid7()):
        for epoch in (1, 2, 3):
            for seq in (1, 2, 3):
                connection.execute(
                    text("INSERT INTO chat_frames VALUES (:run, :epoch, :seq, 1, 'late')"),
                    {"run": run_id, "epoch": epoch, "seq": seq},
                )
    for seconds in (-30, -5, 30):
        until = {"until": seconds}
        connection.execute(
            text(
                "INSERT INTO chat_followers VALUES (gen_random_uuid(), gen_random_uuid(), "
                "clock_timestamp() + :until * interval '1 second')"
            ),
            until,
        )
        connection.execute(
            text(
                "INSERT INTO chat_queue (id, conversation_id, place, process, until) VALUES (gen_random_uuid(), "
                "gen_random_uuid(), 1, gen_random_uuid(), clock_timestamp() + :until * interval '1 second')"
            ),
            until,
        )
    sweep.remove_left_behind(connection)
    left = connection.execute(text("SELECT run_id, epoch, seq FROM chat_frames ORDER BY seq")).all()
    assert left == [(runs["active"], 2, seq) for seq in (1, 2, 3)]
    for table in ("chat_followers", "chat_queue"):
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 2
