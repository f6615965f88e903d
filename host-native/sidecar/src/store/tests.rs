use super::*;
use std::time::Duration;

const ROOMY: StoreLimits = StoreLimits {
    bytes: 64 << 20,
    age: Duration::from_secs(3600),
};

fn item(kind: &'static str, lane: usize, payload: &'static [u8]) -> NewItem<'static> {
    NewItem {
        source: Source::Sentry,
        project: "42",
        kind,
        lane,
        event_id: None,
        trace_id: None,
        content_type: "application/json",
        envelope_headers: b"{}",
        item_headers: b"{\"type\":\"event\"}",
        payload,
    }
}

fn open(directory: &Path, limits: StoreLimits) -> Writer {
    let (writer, moved) = Writer::open(directory, limits).unwrap();
    assert_eq!(moved, None);
    writer
}

fn all(directory: &Path) -> Vec<StoredItem> {
    let reader = Reader::open(directory).unwrap().unwrap();
    reader.after(0, 100_000).unwrap()
}

fn kinds(directory: &Path, kind: &str) -> usize {
    all(directory).iter().filter(|item| item.kind == kind).count()
}

#[test]
fn bytes_come_back_as_they_went_in_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let payload: &[u8] = b"\x00\xFF{not json\r\n\0";
    let mut writer = open(directory.path(), ROOMY);
    let event = NewItem {
        event_id: Some("ab"),
        trace_id: Some("cd"),
        ..item("event", 0, payload)
    };
    writer.write(5, [event, item("log", 3, b"")]).unwrap();
    drop(writer);
    drop(open(directory.path(), ROOMY));

    let items = all(directory.path());
    assert_eq!(items.len(), 2);
    assert_eq!(items[0].payload.as_deref(), Some(payload));
    assert_eq!(
        (items[0].id, items[0].stored_at_us, items[0].payload_bytes),
        (1, 5, payload.len() as i64)
    );
    assert_eq!(items[0].envelope_headers, b"{}");
    assert_eq!(items[0].item_headers, b"{\"type\":\"event\"}");
    assert_eq!(items[1].payload.as_deref(), Some(&b""[..]));
}

#[test]
fn one_item_is_found_by_number_and_by_event_id() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), ROOMY);
    let attachment = NewItem {
        event_id: Some("ab"),
        ..item("attachment", 3, b"1")
    };
    let event = NewItem {
        event_id: Some("ab"),
        ..item("event", 0, b"2")
    };
    writer.write(1, [attachment, event]).unwrap();
    let reader = Reader::open(directory.path()).unwrap().unwrap();
    assert_eq!(reader.by_id(1).unwrap().unwrap().kind, "attachment");
    assert_eq!(reader.by_event_id("ab").unwrap().unwrap().kind, "event");
    assert_eq!(reader.by_id(3).unwrap(), None);
    assert_eq!(reader.by_event_id("cd").unwrap(), None);
}

#[test]
fn the_newest_are_found_and_followed() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), ROOMY);
    for _ in 0..5 {
        writer.write(1, [item("event", 0, b"")]).unwrap();
    }
    let reader = Reader::open(directory.path()).unwrap().unwrap();
    let ids = |after, count| {
        reader
            .after(after, count)
            .unwrap()
            .iter()
            .map(|item| item.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(reader.before_newest(2).unwrap(), 10), [4, 5]);
    assert_eq!(ids(reader.before_newest(9).unwrap(), 10), [1, 2, 3, 4, 5]);
    assert_eq!(ids(reader.before_newest(0).unwrap(), 10), [0; 0]);
    writer.write(1, [item("event", 0, b"")]).unwrap();
    assert_eq!(ids(5, 10), [6], "a reader sees what is written beside it");
    assert_eq!(ids(0, 2), [1, 2]);
}

#[test]
fn larger_payloads_are_left_out_of_lists_only() {
    static LARGE: [u8; 1024 * 1024 + 1] = [b'x'; 1024 * 1024 + 1];
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), ROOMY);
    writer.write(1, [item("attachment", 3, &LARGE)]).unwrap();
    let listed = &all(directory.path())[0];
    assert_eq!(
        (listed.payload.as_deref(), listed.payload_bytes),
        (None, LARGE.len() as i64)
    );
    let reader = Reader::open(directory.path()).unwrap().unwrap();
    assert_eq!(
        reader.by_id(1).unwrap().unwrap().payload.as_deref(),
        Some(&LARGE[..])
    );
}

#[test]
fn over_its_size_the_oldest_bulk_goes_first_and_errors_stay() {
    static PAYLOAD: [u8; 10_000] = [b'x'; 10_000];
    let directory = tempfile::tempdir().unwrap();
    let limits = StoreLimits {
        bytes: 1 << 20,
        ..ROOMY
    };
    let mut writer = open(directory.path(), limits);
    for _ in 0..20 {
        writer.write(1, [item("event", 0, &PAYLOAD)]).unwrap();
    }
    for _ in 0..200 {
        writer.write(2, [item("log", 3, &PAYLOAD)]).unwrap();
    }
    assert_eq!(kinds(directory.path(), "event"), 20);
    let logs = kinds(directory.path(), "log");
    assert!((40..90).contains(&logs), "{logs}");
    assert_eq!(writer.evicted(), 200 - logs as u64);
    let newest = all(directory.path()).last().unwrap().id;
    assert_eq!(newest, 220, "what goes is old");
    for _ in 0..200 {
        writer.write(3, [item("event", 0, &PAYLOAD)]).unwrap();
    }
    assert_eq!(kinds(directory.path(), "log"), 0);
    assert!(kinds(directory.path(), "event") > 50);
    drop(writer);
    let bytes = file_in(directory.path()).metadata().unwrap().len();
    assert!(bytes < (1 << 20) + 200_000, "{bytes}");
}

#[test]
fn a_lowered_size_limit_shrinks_the_file() {
    static PAYLOAD: [u8; 100_000] = [b'x'; 100_000];
    let directory = tempfile::tempdir().unwrap();
    let mut writer = open(directory.path(), ROOMY);
    for _ in 0..100 {
        writer.write(1, [item("log", 3, &PAYLOAD)]).unwrap();
    }
    drop(writer);
    let mut writer = open(
        directory.path(),
        StoreLimits {
            bytes: 1 << 20,
            ..ROOMY
        },
    );
    for _ in 0..10 {
        writer.tidy(1).unwrap();
    }
    drop(writer);
    let bytes = file_in(directory.path()).metadata().unwrap().len();
    assert!(bytes < 6 << 20, "{bytes}");
}

#[test]
fn over_its_age_an_item_goes_whatever_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let limits = StoreLimits {
        age: Duration::from_micros(100),
        ..ROOMY
    };
    let mut writer = open(directory.path(), limits);
    for now in 0..200 {
        writer.write(now, [item("event", 0, b"")]).unwrap();
    }
    writer.tidy(250).unwrap();
    let left: Vec<i64> = all(directory.path())
        .iter()
        .map(|item| item.stored_at_us)
        .collect();
    assert_eq!(left, (150..200).collect::<Vec<_>>());
}

#[test]
fn a_second_writer_is_told_who_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path(), ROOMY);
    let error = Writer::open(directory.path(), ROOMY).unwrap_err().to_string();
    assert!(
        error.contains("another surgetank") && error.contains("--data-dir"),
        "{error}"
    );
    drop(first);
    drop(open(directory.path(), ROOMY));
}

#[test]
fn a_file_that_is_no_database_is_moved_aside() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        file_in(directory.path()),
        "no database at all, but long enough to be looked at".repeat(100),
    )
    .unwrap();
    let (mut writer, moved) = Writer::open(directory.path(), ROOMY).unwrap();
    assert!(std::fs::read(moved.unwrap()).unwrap().starts_with(b"no database"));
    writer.write(1, [item("event", 0, b"")]).unwrap();
    assert_eq!(all(directory.path()).len(), 1);
    let second = writer.begin_anew().unwrap();
    assert!(second.exists());
    writer.write(1, [item("event", 0, b"")]).unwrap();
    assert_eq!(all(directory.path()).len(), 1);
}

#[test]
fn a_later_layout_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), ROOMY));
    let raw = rusqlite::Connection::open(file_in(directory.path())).unwrap();
    raw.execute_batch("PRAGMA user_version = 7").unwrap();
    drop(raw);
    let error = Writer::open(directory.path(), ROOMY).unwrap_err().to_string();
    assert!(error.contains("layout 7"), "{error}");
    assert!(
        Reader::open(directory.path())
            .unwrap_err()
            .to_string()
            .contains("layout 7")
    );
}

#[test]
fn nothing_is_there_to_read_before_the_first_write() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Reader::open(directory.path()).unwrap().is_none());
}

#[cfg(unix)]
#[test]
fn others_cannot_read_the_directory() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    drop(open(&directory, ROOMY));
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o077, 0);
}
