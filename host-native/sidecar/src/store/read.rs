//! The reading side: for `tail` and `show`, beside a sidecar that writes.

use super::{StoreError, file_in, schema};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::path::{Path, PathBuf};

/// Payloads over this many bytes are left out where a list of items is read.
pub(crate) const LISTED_PAYLOAD_BYTES: i64 = 1024 * 1024;

const COLUMNS: &str = "id, stored_at, source, project, kind, event_id, trace_id, content_type, envelope_headers, \
                       item_headers, length(payload)";

/// One row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredItem {
    pub(crate) id: i64,
    /// Microseconds since 1970-01-01 UTC.
    pub(crate) stored_at_us: i64,
    pub(crate) source: String,
    pub(crate) project: String,
    pub(crate) kind: String,
    pub(crate) event_id: Option<String>,
    pub(crate) trace_id: Option<String>,
    pub(crate) content_type: String,
    pub(crate) envelope_headers: Vec<u8>,
    pub(crate) item_headers: Vec<u8>,
    pub(crate) payload_bytes: i64,
    /// `None` where a list was read and it is over [`LISTED_PAYLOAD_BYTES`].
    pub(crate) payload: Option<Vec<u8>>,
}

impl StoredItem {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            stored_at_us: row.get(1)?,
            source: row.get(2)?,
            project: row.get(3)?,
            kind: row.get(4)?,
            event_id: row.get(5)?,
            trace_id: row.get(6)?,
            content_type: row.get(7)?,
            envelope_headers: row.get(8)?,
            item_headers: row.get(9)?,
            payload_bytes: row.get(10)?,
            payload: row.get(11)?,
        })
    }
}

/// One that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// Opens the store in `directory`; `None` when there is none yet.
    pub(crate) fn open(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = file_in(directory);
        Ok(schema::open_to_read(&path)?.map(|connection| Self { connection, path }))
    }

    /// The id after which exactly the newest `count` items come.
    pub(crate) fn before_newest(&self, count: u32) -> Result<i64, StoreError> {
        self.query(|connection| {
            connection
                .query_row(
                    "SELECT id FROM items ORDER BY id DESC LIMIT 1 OFFSET ?1",
                    [count],
                    |row| row.get(0),
                )
                .optional()
                .map(|id| id.unwrap_or(0))
        })
    }

    /// At most `count` items with ids over `id`, oldest first, without their larger payloads.
    pub(crate) fn after(&self, id: i64, count: u32) -> Result<Vec<StoredItem>, StoreError> {
        self.query(|connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS}, CASE WHEN length(payload) <= ?3 THEN payload END
                     FROM items WHERE id > ?1 ORDER BY id LIMIT ?2"
                ))?
                .query_map(params![id, count, LISTED_PAYLOAD_BYTES], StoredItem::of)?
                .collect()
        })
    }

    /// The item with that number.
    pub(crate) fn by_id(&self, id: i64) -> Result<Option<StoredItem>, StoreError> {
        self.query(|connection| {
            connection
                .query_row(
                    &format!("SELECT {COLUMNS}, payload FROM items WHERE id = ?1"),
                    [id],
                    StoredItem::of,
                )
                .optional()
        })
    }

    /// The most important item of the envelope with that event id: the event rather than its attachments.
    pub(crate) fn by_event_id(&self, event_id: &str) -> Result<Option<StoredItem>, StoreError> {
        self.query(|connection| {
            connection
                .query_row(
                    &format!(
                        "SELECT {COLUMNS}, payload FROM items WHERE event_id = ?1 ORDER BY lane, id LIMIT 1"
                    ),
                    [event_id],
                    StoredItem::of,
                )
                .optional()
        })
    }

    fn query<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        run(&self.connection).map_err(|error| StoreError::Sqlite {
            path: self.path.clone(),
            error,
        })
    }
}
