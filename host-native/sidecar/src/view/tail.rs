//! `surgetank tail`: the newest items, then what arrives.

use super::ViewError;
use super::object::object;
use super::summary::{Line, summaries};
use crate::cli::TailArgs;
use crate::store::{self, Reader, StoredItem};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// How often the store is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Rows read at a time; each may bring a megabyte.
const ROWS: u32 = 64;

/// Prints to `out`; returns only with `--no-follow`.
pub(crate) fn tail(args: &TailArgs, out: &mut (impl Write + IsTerminal)) -> Result<(), ViewError> {
    let directory = args.data_dir.path().map_err(ViewError::Failed)?;
    let coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut open: Option<OpenStore> = None;
    let mut told = false;
    loop {
        if open.as_ref().is_none_or(|store| store.is_replaced(&directory)) {
            // What is in a store that appears while we wait is all new.
            let lines = if open.is_none() && !told {
                args.lines
            } else {
                u32::MAX
            };
            open = OpenStore::open(&directory, lines)?;
        }
        match &mut open {
            Some(store) => {
                for item in store.next()? {
                    print(&item, args.json, coloured, out)?;
                }
                out.flush()?;
            }
            None if args.no_follow => break,
            None if !told => {
                told = true;
                crate::stderr::say(format_args!(
                    "there is no store in {} yet; waiting for `surgetank run` to begin one",
                    directory.display()
                ));
            }
            None => {}
        }
        let more = open.as_ref().is_some_and(|store| store.has_more);
        if !more {
            if args.no_follow {
                break;
            }
            pause();
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a poll of another process's file has nothing to wait for"
)]
fn pause() {
    std::thread::sleep(POLL);
}

fn print(item: &StoredItem, json: bool, coloured: bool, out: &mut impl Write) -> Result<(), ViewError> {
    if json {
        writeln!(out, "{}", object(item))?;
    } else {
        for summary in summaries(item) {
            writeln!(
                out,
                "{}",
                Line {
                    item,
                    summary: &summary,
                    coloured
                }
            )?;
        }
    }
    Ok(())
}

/// The store, and how far it has been read.
struct OpenStore {
    reader: Reader,
    identity: Option<FileIdentity>,
    last: i64,
    has_more: bool,
}

impl OpenStore {
    fn open(directory: &Path, lines: u32) -> Result<Option<Self>, ViewError> {
        let Some(reader) = Reader::open(directory)? else {
            return Ok(None);
        };
        let last = reader.before_newest(lines)?;
        Ok(Some(Self {
            reader,
            identity: identity(directory),
            last,
            has_more: true,
        }))
    }

    fn next(&mut self) -> Result<Vec<StoredItem>, ViewError> {
        let items = self.reader.after(self.last, ROWS)?;
        self.has_more = items.len() == ROWS as usize;
        if let Some(item) = items.last() {
            self.last = item.id;
        }
        Ok(items)
    }

    /// True when the file was removed, or a damaged one made way for a new one.
    fn is_replaced(&self, directory: &Path) -> bool {
        identity(directory) != self.identity
    }
}

#[cfg(unix)]
type FileIdentity = (u64, u64);
#[cfg(not(unix))]
type FileIdentity = std::time::SystemTime;

fn identity(directory: &Path) -> Option<FileIdentity> {
    let metadata = store::file_in(directory).metadata().ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        Some((metadata.dev(), metadata.ino()))
    }
    #[cfg(not(unix))]
    metadata.created().ok()
}
