//! The writing side: rows in, the oldest bulk out.

use super::schema::{self, Opened};
use super::{LOCK_NAME, Source, StoreError, file_in};
use rusqlite::{Connection, params};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Rows removed by one statement.
const EVICT_ROWS: u32 = 64;
/// Statements of that kind in one transaction, so that one write does bounded work. A store that is over its limit by
/// more (the limit was lowered) gets there with the next writes.
const EVICT_ROUNDS: usize = 256;
/// Free pages given back to the file system at a time.
const VACUUM_PAGES: u32 = 1024;

/// Bounds of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreLimits {
    /// Bytes of the pages in use.
    pub(crate) bytes: u64,
    /// Since an item was stored.
    pub(crate) age: Duration,
}

/// One row to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewItem<'a> {
    pub(crate) source: Source,
    pub(crate) project: &'a str,
    pub(crate) kind: &'a str,
    /// Index of its priority; 0 is evicted last.
    pub(crate) lane: usize,
    pub(crate) event_id: Option<&'a str>,
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) content_type: &'a str,
    pub(crate) envelope_headers: &'a [u8],
    pub(crate) item_headers: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// The one that writes. Holds the directory's lock until it is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: Connection,
    path: PathBuf,
    limits: StoreLimits,
    page_bytes: i64,
    /// Rows that made room for others so far.
    evicted: u64,
    _lock: File,
}

impl Writer {
    /// Opens the store in `directory`, which is created if it is not there, readable by its owner alone. Returns where
    /// a damaged file was moved to, if one was found.
    pub(crate) fn open(directory: &Path, limits: StoreLimits) -> Result<(Self, Option<PathBuf>), StoreError> {
        create_private(directory)?;
        let lock = lock(directory)?;
        let path = file_in(directory);
        let (connection, moved) = match schema::open_to_write(&path)? {
            Opened::Ready(connection) => (connection, None),
            Opened::Damaged => {
                let moved = move_aside(&path)?;
                match schema::open_to_write(&path)? {
                    Opened::Ready(connection) => (connection, Some(moved)),
                    Opened::Damaged => {
                        let error = std::io::Error::other("a new database is damaged, too");
                        return Err(StoreError::Io {
                            what: "write",
                            path,
                            error,
                        });
                    }
                }
            }
        };
        let page_bytes = connection
            .query_row("PRAGMA page_size", (), |row| row.get(0))
            .map_err(|error| StoreError::Sqlite {
                path: path.clone(),
                error,
            })?;
        Ok((
            Self {
                connection,
                path,
                limits,
                page_bytes,
                evicted: 0,
                _lock: lock,
            },
            moved,
        ))
    }

    /// Stores all of `items` or none, and evicts what is then too much.
    ///
    /// # Errors
    /// SQLite's; a full disk among them. Nothing was stored then.
    pub(crate) fn write<'a>(
        &mut self,
        now_us: i64,
        items: impl IntoIterator<Item = NewItem<'a>>,
    ) -> Result<(), rusqlite::Error> {
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO items (stored_at, source, project, kind, lane, event_id, trace_id, content_type,
                                    envelope_headers, item_headers, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?;
            for item in items {
                insert.execute(params![
                    now_us,
                    item.source.as_str(),
                    item.project,
                    item.kind,
                    i64::try_from(item.lane).unwrap_or(i64::MAX),
                    item.event_id,
                    item.trace_id,
                    item.content_type,
                    item.envelope_headers,
                    item.item_headers,
                    item.payload,
                ])?;
            }
        }
        let evicted = evict_to_size(&transaction, self.limits.bytes, self.page_bytes)?;
        transaction.commit()?;
        self.evicted += evicted;
        Ok(())
    }

    /// Removes what is too old and gives free pages back. Bounded work; call it now and then.
    pub(crate) fn tidy(&mut self, now_us: i64) -> Result<(), rusqlite::Error> {
        let age = i64::try_from(self.limits.age.as_micros()).unwrap_or(i64::MAX);
        let oldest = now_us.saturating_sub(age);
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut evicted = 0;
        for _ in 0..EVICT_ROUNDS {
            let removed = transaction.prepare_cached(
                "DELETE FROM items WHERE stored_at < ?1 AND id IN (SELECT id FROM items ORDER BY id LIMIT ?2)",
            )?
            .execute(params![oldest, EVICT_ROWS])?;
            evicted += removed as u64;
            if removed < EVICT_ROWS as usize {
                break;
            }
        }
        evicted += evict_to_size(&transaction, self.limits.bytes, self.page_bytes)?;
        transaction.commit()?;
        self.evicted += evicted;
        let free: u32 = self
            .connection
            .query_row("PRAGMA freelist_count", (), |row| row.get(0))?;
        if free > VACUUM_PAGES {
            // Gives back one page with each row that is asked for.
            let mut vacuum = self
                .connection
                .prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
            let mut rows = vacuum.query(())?;
            while rows.next()?.is_some() {}
        }
        Ok(())
    }

    /// Bytes of the largest payload that is worth the room it takes.
    pub(crate) const fn largest_item(&self) -> u64 {
        self.limits.bytes / 2
    }

    /// Rows that made room for others since the store was opened.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Puts a damaged file away and begins a new one; the lock stays held.
    pub(crate) fn begin_anew(&mut self) -> Result<PathBuf, StoreError> {
        // The old file must be closed before it is renamed.
        self.connection = Connection::open_in_memory().map_err(|error| StoreError::Sqlite {
            path: self.path.clone(),
            error,
        })?;
        let moved = move_aside(&self.path)?;
        match schema::open_to_write(&self.path)? {
            Opened::Ready(connection) => self.connection = connection,
            Opened::Damaged => {
                let error = std::io::Error::other("a new database is damaged, too");
                return Err(StoreError::Io {
                    what: "write",
                    path: self.path.clone(),
                    error,
                });
            }
        }
        Ok(moved)
    }
}

/// Removes the oldest rows of the lowest lane until the pages in use fit.
fn evict_to_size(connection: &Connection, limit: u64, page_bytes: i64) -> Result<u64, rusqlite::Error> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut evicted = 0;
    for _ in 0..EVICT_ROUNDS {
        let (pages, free): (i64, i64) = connection
            .prepare_cached(
                "SELECT page_count, freelist_count FROM pragma_page_count JOIN pragma_freelist_count",
            )?
            .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let excess = (pages - free).saturating_mul(page_bytes).saturating_sub(limit);
        if excess <= 0 {
            break;
        }
        // Few at a time when little is missing, so that no more goes than has to.
        let rows = (excess / page_bytes / 4).clamp(1, i64::from(EVICT_ROWS));
        let removed = connection
            .prepare_cached(
                "DELETE FROM items WHERE id IN (
                     SELECT id FROM items WHERE lane = (SELECT max(lane) FROM items) ORDER BY id LIMIT ?1)",
            )?
            .execute([rows])?;
        evicted += removed as u64;
        if removed == 0 {
            break;
        }
    }
    Ok(evicted)
}

fn create_private(directory: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| StoreError::Io {
        what: "create the directory",
        path: directory.to_owned(),
        error,
    })
}

fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK_NAME);
    let io = |error| StoreError::Io {
        what: "lock",
        path: path.clone(),
        error,
    };
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Renames the file and what SQLite keeps beside it to a name that is free.
fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let io = |error| StoreError::Io {
        what: "move the damaged",
        path: path.to_owned(),
        error,
    };
    let beside = |base: &Path, suffix: &str| {
        let mut name = base.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let free = (1..1000)
        .map(|number| beside(path, &format!(".damaged-{number}")))
        .find(|candidate| !candidate.exists())
        .ok_or_else(|| io(std::io::Error::other("there are a thousand such files already")))?;
    fs::rename(path, &free).map_err(io)?;
    for suffix in ["-wal", "-shm"] {
        let from = beside(path, suffix);
        if from.exists() {
            fs::rename(from, beside(&free, suffix)).map_err(io)?;
        }
    }
    Ok(free)
}
