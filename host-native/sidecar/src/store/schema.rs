//! The layout of the database file, and how a connection is set up.

use super::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Version of the layout, kept in `user_version`.
pub(super) const LAYOUT: i64 = 1;

/// How long a statement waits for another process's write to end.
const BUSY: Duration = Duration::from_secs(2);

/// Bytes the write-ahead log is cut back to after a checkpoint.
const LOG_BYTES: i64 = 8 * 1024 * 1024;

const TABLES: &str = "
    CREATE TABLE items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        -- microseconds since 1970-01-01 UTC
        stored_at INTEGER NOT NULL,
        source TEXT NOT NULL,
        project TEXT NOT NULL,
        -- item type of Sentry, signal of OTLP
        kind TEXT NOT NULL,
        -- 0 is the most important and evicted last
        lane INTEGER NOT NULL,
        event_id TEXT,
        trace_id TEXT,
        content_type TEXT NOT NULL,
        envelope_headers BLOB NOT NULL,
        item_headers BLOB NOT NULL,
        payload BLOB NOT NULL
    ) STRICT;
    CREATE INDEX items_by_lane ON items (lane, id);
    CREATE INDEX items_by_event ON items (event_id) WHERE event_id IS NOT NULL;
";

/// What opening found. Exhaustive.
pub(super) enum Opened {
    Ready(Connection),
    /// Not a database, or a damaged one.
    Damaged,
}

/// Opens the file to write, creating it if it is not there.
pub(super) fn open_to_write(path: &Path) -> Result<Opened, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    match prepare(path, flags) {
        Ok(connection) => Ok(Opened::Ready(connection)),
        Err(StoreError::Sqlite { error, .. }) if is_damage(&error) => Ok(Opened::Damaged),
        Err(error) => Err(error),
    }
}

fn prepare(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let sqlite = |error| StoreError::Sqlite {
        path: path.to_owned(),
        error,
    };
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY).map_err(sqlite)?;
    let found: i64 = connection
        .query_row("PRAGMA user_version", (), |row| row.get(0))
        .map_err(sqlite)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(sqlite)?;
    if found != LAYOUT && (found != 0 || tables != 0) {
        return Err(StoreError::Layout {
            path: path.to_owned(),
            found,
        });
    }
    if tables == 0 {
        // Has to precede everything else that is written.
        connection
            .execute_batch("PRAGMA auto_vacuum = INCREMENTAL")
            .map_err(sqlite)?;
    }
    // NORMAL: a killed process loses nothing that was committed; a power cut may lose the last moments.
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = {LOG_BYTES};
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -4096;"
        ))
        .map_err(sqlite)?;
    if tables == 0 {
        connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;"
            ))
            .map_err(sqlite)?;
    }
    Ok(connection)
}

/// Opens the file to read only; `None` when it is not there.
pub(super) fn open_to_read(path: &Path) -> Result<Option<Connection>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let sqlite = |error| StoreError::Sqlite {
        path: path.to_owned(),
        error,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY).map_err(sqlite)?;
    let found: i64 = connection
        .query_row("PRAGMA user_version", (), |row| row.get(0))
        .map_err(sqlite)?;
    match found {
        LAYOUT => Ok(Some(connection)),
        // A sidecar is just creating it.
        0 => Ok(None),
        _ => Err(StoreError::Layout {
            path: path.to_owned(),
            found,
        }),
    }
}

/// True when the file itself is broken, as against a full disk or a lock.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}
