-- Ids that are UUIDs are BLOBs of 16 bytes: they sort as they were made (v7). Times are Unix milliseconds unless the name says seconds.

CREATE TABLE conversations (
    key             INTEGER PRIMARY KEY,
    conversation_id TEXT    NOT NULL UNIQUE,
    created_at_ms   INTEGER NOT NULL,
    last_seq        INTEGER NOT NULL
);

CREATE TABLE messages (
    conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    seq              INTEGER NOT NULL,
    session_id       BLOB    NOT NULL,
    request_id       TEXT,
    connection_id    BLOB    NOT NULL,
    client_id        TEXT    NOT NULL,
    user_id          TEXT,
    content          TEXT    NOT NULL,
    sent_at_ms       INTEGER NOT NULL,
    PRIMARY KEY (conversation_key, seq)
);

-- What a session asked already. Apart from the messages, because it must outlive those that the history's bound removes.
CREATE TABLE requests (
    session_id BLOB    NOT NULL,
    request_id TEXT    NOT NULL,
    seq        INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    PRIMARY KEY (session_id, request_id)
) WITHOUT ROWID;

CREATE TABLE turns (
    conversation_id TEXT    NOT NULL,
    turn            INTEGER NOT NULL,
    role            TEXT    NOT NULL CHECK (role IN ('user', 'assistant')),
    text            TEXT    NOT NULL,
    at_ms           INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, turn)
);

CREATE TABLE sessions (
    id            BLOB PRIMARY KEY NOT NULL,
    client_id     TEXT    NOT NULL,
    user_id       TEXT,
    created_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER,
    end_reason    TEXT
);

CREATE TABLE recordings (
    id              BLOB PRIMARY KEY NOT NULL,
    stream_uid      TEXT    NOT NULL,
    stream_id       TEXT    NOT NULL,
    client_id       TEXT    NOT NULL,
    user_id         TEXT,
    conversation_id TEXT,
    created_at_ms   INTEGER NOT NULL,
    duration_ms     INTEGER NOT NULL,
    bytes           INTEGER NOT NULL,
    sha256          TEXT,
    state           TEXT    NOT NULL CHECK (state IN ('recording', 'complete', 'repaired', 'failed'))
) WITHOUT ROWID;

CREATE INDEX recordings_by_user ON recordings (user_id, id);
CREATE INDEX recordings_by_client ON recordings (client_id, id);

CREATE TABLE preferences (
    owner_kind TEXT NOT NULL CHECK (owner_kind IN ('user', 'client')),
    owner      TEXT NOT NULL,
    json       TEXT NOT NULL,
    PRIMARY KEY (owner_kind, owner)
);

CREATE TABLE revocations (
    key          INTEGER PRIMARY KEY,
    jti          TEXT,
    user_id      TEXT,
    at_unix_s    INTEGER NOT NULL,
    until_unix_s INTEGER,
    CHECK (jti IS NOT NULL OR user_id IS NOT NULL)
);

-- NULLs are all different to a unique index; here they are one.
CREATE UNIQUE INDEX revocations_by_what ON revocations (ifnull(jti, ''), jti IS NULL, ifnull(user_id, ''), user_id IS NULL);

-- One row that a health check changes.
CREATE TABLE pings (
    key   INTEGER PRIMARY KEY CHECK (key = 1),
    count INTEGER NOT NULL
);
INSERT INTO pings (key, count) VALUES (1, 0);
