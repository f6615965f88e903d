//! The store as the end of a delivery: requests in, rows out, on a thread of its own.
//!
//! What waits at the same time is written in one transaction, so a burst costs few of them. An answer is given when the
//! transaction is committed: what the engine counts as delivered is in the file. While the disk is full, or the file
//! cannot be written for another reason, the answer is 503; the engine then keeps the records and tries again.

use super::{NewItem, Source, Writer, schema};
use crate::clock::unix_micros;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use surgetank::delivery::{Answer, Endpoint};
use surgetank_core::item::{Category, Signal};
use surgetank_core::wire::envelope::items;
use tokio::sync::oneshot;

/// Requests, and bytes of them, in one transaction.
const MOST_REQUESTS: usize = 256;
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// How often what is too old is looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// How often the same trouble is told.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// What a destination is, for the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoreTarget {
    pub(crate) source: Source,
    /// Empty for none.
    pub(crate) project: String,
}

/// Hands requests to the store's thread. The thread ends with it.
#[derive(Debug)]
pub(crate) struct StoreExporter {
    jobs: Sender<Job>,
}

/// Tells when the file is closed.
#[derive(Debug)]
pub(crate) struct StoreEnd(Receiver<()>);

impl StoreEnd {
    /// Waits until the exporter is gone and the file closed, at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        // Nothing is ever sent: either the sender goes, or the time does.
        let _ = self.0.recv_timeout(timeout);
    }
}

#[derive(Debug)]
struct Job {
    target: StoreTarget,
    endpoint: Endpoint,
    content_type: &'static str,
    body: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

impl StoreExporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(writer: Writer) -> std::io::Result<(Self, StoreEnd)> {
        let (jobs, waiting) = channel();
        let (ended, end) = channel();
        std::thread::Builder::new()
            .name("surgetank-store".to_owned())
            .spawn(move || {
                // Goes when the file is closed.
                let _ended: Sender<()> = ended;
                Storing::new(writer).run(&waiting);
            })?;
        Ok((Self { jobs }, StoreEnd(end)))
    }

    /// Stores a request; the answer comes when it is in the file. The number of requests under way is bounded by the
    /// engine.
    pub(crate) fn store(
        &self,
        target: &StoreTarget,
        endpoint: Endpoint,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        // Without a thread the answer is dropped with the job, which says so.
        let _ = self.jobs.send(Job {
            target: target.clone(),
            endpoint,
            content_type,
            body,
            answer,
        });
        receiver
    }
}

struct Storing {
    writer: Writer,
    told: Option<tokio::time::Instant>,
    evicted: u64,
    tidied: tokio::time::Instant,
}

impl Storing {
    fn new(writer: Writer) -> Self {
        Self {
            writer,
            told: None,
            evicted: 0,
            tidied: tokio::time::Instant::now(),
        }
    }

    fn run(mut self, waiting: &Receiver<Job>) {
        self.tidy();
        loop {
            match waiting.recv_timeout(TIDY_INTERVAL) {
                Ok(job) => self.store(gather(job, waiting)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.tidied.elapsed() >= TIDY_INTERVAL {
                self.tidy();
            }
        }
    }

    fn tidy(&mut self) {
        self.tidied = tokio::time::Instant::now();
        if let Err(error) = self.writer.tidy(unix_micros()) {
            self.trouble(&error);
        }
    }

    fn store(&mut self, jobs: Vec<Job>) {
        let most = self.writer.largest_item();
        let (mut taken, mut rows, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for job in &jobs {
            match rows_of(job) {
                Some(new) if new.iter().all(|row| row.payload.len() as u64 <= most) => {
                    rows.extend(new);
                    taken.push(200);
                }
                // It would push out everything else.
                Some(_) => taken.push(413),
                // Was read at the door; cannot be now.
                None => taken.push(400),
            }
        }
        let written = self.writer.write(unix_micros(), rows.iter().map(Row::as_item));
        if let Err(error) = &written {
            refused.resize(jobs.len(), 503);
            self.trouble(error);
        }
        let statuses = if written.is_ok() { taken } else { refused };
        for (job, status) in jobs.into_iter().zip(statuses) {
            // Who asked may have given up.
            let _ = job.answer.send(Answer {
                status,
                ..Answer::accepted()
            });
        }
        self.tell_evicted();
    }

    /// Tells people, and replaces a file that is damaged.
    fn trouble(&mut self, error: &rusqlite::Error) {
        if schema::is_damage(error) {
            match self.writer.begin_anew() {
                Ok(moved) => crate::stderr::say(format_args!(
                    "the store was damaged ({error}); it was moved to {} and a new one begun",
                    moved.display()
                )),
                Err(error) => {
                    self.tell(format_args!(
                        "the store is damaged and cannot be replaced: {error}"
                    ));
                }
            }
        } else {
            self.tell(format_args!(
                "cannot write to the store: {error}; what arrives waits in memory"
            ));
        }
    }

    fn tell_evicted(&mut self) {
        let evicted = self.writer.evicted();
        if evicted > self.evicted
            && self.tell(format_args!(
                "the store is full: {} of the oldest items made room (--store-size, --store-age)",
                evicted - self.evicted
            ))
        {
            self.evicted = evicted;
        }
    }

    /// Says it unless something was said a moment ago; true when it was.
    fn tell(&mut self, line: std::fmt::Arguments<'_>) -> bool {
        if self.told.is_some_and(|told| told.elapsed() < TELL_INTERVAL) {
            return false;
        }
        self.told = Some(tokio::time::Instant::now());
        crate::stderr::say(line);
        true
    }
}

fn gather(first: Job, waiting: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.body.len();
    let mut jobs = vec![first];
    while jobs.len() < MOST_REQUESTS && bytes < MOST_BYTES {
        let Ok(job) = waiting.try_recv() else { break };
        bytes += job.body.len();
        jobs.push(job);
    }
    jobs
}

/// A row, of which some parts had to be put together.
struct Row<'a> {
    source: Source,
    project: &'a str,
    kind: String,
    lane: usize,
    event_id: Option<String>,
    trace_id: Option<String>,
    content_type: String,
    envelope_headers: &'a [u8],
    item_headers: &'a [u8],
    payload: &'a [u8],
}

impl Row<'_> {
    fn as_item(&self) -> NewItem<'_> {
        NewItem {
            source: self.source,
            project: self.project,
            kind: &self.kind,
            lane: self.lane,
            event_id: self.event_id.as_deref(),
            trace_id: self.trace_id.as_deref(),
            content_type: &self.content_type,
            envelope_headers: self.envelope_headers,
            item_headers: self.item_headers,
            payload: self.payload,
        }
    }
}

/// The rows of a request: one for each envelope item, or one for all of OTLP. `None` when it is neither.
fn rows_of(job: &Job) -> Option<Vec<Row<'_>>> {
    let target = &job.target;
    if let Endpoint::Otlp(signal) = job.endpoint {
        let category = match signal {
            Signal::Traces => Category::Span,
            Signal::Logs => Category::LogItem,
            Signal::Metrics => Category::TraceMetric,
        };
        return Some(vec![Row {
            source: target.source,
            project: &target.project,
            kind: signal.as_str().to_owned(),
            lane: category.priority().index(),
            event_id: None,
            trace_id: None,
            content_type: job.content_type.to_owned(),
            envelope_headers: b"",
            item_headers: b"",
            payload: &job.body,
        }]);
    }
    let envelope: &[u8] = &job.body;
    let (header, all) = items(envelope).ok()?;
    let text = |json: &[u8]| serde_json::from_slice::<String>(json).ok();
    let hex = |id: [u8; 16]| format!("{:032x}", u128::from_be_bytes(id));
    all.map(|item| {
        let item = item.ok()?;
        let content_type = item
            .header
            .content_type
            .and_then(|extent| text(extent.of(envelope)?));
        Some(Row {
            source: target.source,
            project: &target.project,
            kind: text(item.header.type_name.of(envelope)?)?,
            lane: item.header.counted_in().0.priority().index(),
            event_id: header.event_id.map(hex),
            trace_id: header.trace_id.map(hex),
            content_type: content_type.unwrap_or_default(),
            envelope_headers: header.line.of(envelope)?,
            item_headers: item.header.line.of(envelope)?,
            payload: item.payload,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Reader, StoreLimits};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn writer(directory: &std::path::Path, bytes: u64) -> Writer {
        let limits = StoreLimits {
            bytes,
            age: Duration::from_secs(3600),
        };
        Writer::open(directory, limits).unwrap().0
    }

    fn status(exporter: &StoreExporter, endpoint: Endpoint, content_type: &'static str, body: &[u8]) -> u16 {
        let target = StoreTarget {
            source: Source::Sentry,
            project: "42".to_owned(),
        };
        let answer = exporter.store(&target, endpoint, content_type, body.to_vec());
        runtime().block_on(answer).unwrap().status
    }

    #[test]
    fn an_answer_means_that_every_item_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (exporter, _end) = StoreExporter::start(writer(directory.path(), 64 << 20)).unwrap();
        let envelope = b"{\"event_id\":\"1234567890abcdef1234567890abcdef\",\"trace\":{\"trace_id\":\
            \"abcdef1234567890abcdef1234567890\"}}\n{\"type\":\"event\",\"length\":2}\n{}\n\
            {\"type\":\"attachment\",\"content_type\":\"text\\/plain\",\"length\":4}\na\nb\0\n{\"type\":\"later\"}\nx";
        assert_eq!(
            status(
                &exporter,
                Endpoint::Envelope,
                "application/x-sentry-envelope",
                envelope
            ),
            200
        );
        let traces = Endpoint::Otlp(Signal::Traces);
        assert_eq!(
            status(&exporter, traces, "application/x-protobuf", b"\x0a\x00"),
            200
        );

        let items = Reader::open(directory.path())
            .unwrap()
            .unwrap()
            .after(0, 10)
            .unwrap();
        let kinds: Vec<&str> = items.iter().map(|item| item.kind.as_str()).collect();
        assert_eq!(kinds, ["event", "attachment", "later", "traces"]);
        assert_eq!(items[1].payload.as_deref(), Some(&b"a\nb\0"[..]));
        assert_eq!(items[1].content_type, "text/plain");
        assert_eq!(
            items[1].event_id.as_deref(),
            Some("1234567890abcdef1234567890abcdef")
        );
        assert_eq!(
            items[1].trace_id.as_deref(),
            Some("abcdef1234567890abcdef1234567890")
        );
        assert_eq!(items[2].item_headers, b"{\"type\":\"later\"}");
        assert_eq!(items[3].payload.as_deref(), Some(&b"\x0a\x00"[..]));
    }

    #[test]
    fn what_the_store_cannot_hold_is_refused_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let (exporter, _end) = StoreExporter::start(writer(directory.path(), 1 << 20)).unwrap();
        let logs = Endpoint::Otlp(Signal::Logs);
        assert_eq!(
            status(&exporter, logs, "application/x-protobuf", &vec![0; 600_000]),
            413
        );
        assert_eq!(
            status(&exporter, logs, "application/x-protobuf", &vec![0; 400_000]),
            200
        );
    }

    #[test]
    fn a_store_that_gets_damaged_is_replaced_while_it_runs() {
        let directory = tempfile::tempdir().unwrap();
        let (exporter, _end) = StoreExporter::start(writer(directory.path(), 64 << 20)).unwrap();
        let envelope = b"{}\n{\"type\":\"event\"}\n{}";
        assert_eq!(status(&exporter, Endpoint::Envelope, "", envelope), 200);
        let mut damaged = writer_beside(directory.path());
        damaged.trouble(&rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            None,
        ));
        drop(exporter);
        let job = |body: &[u8]| Job {
            target: StoreTarget {
                source: Source::Sentry,
                project: String::new(),
            },
            endpoint: Endpoint::Envelope,
            content_type: "",
            body: body.to_vec(),
            answer: oneshot::channel().0,
        };
        damaged.store(vec![job(envelope), job(envelope)]);
        let reader = Reader::open(&directory.path().join("beside")).unwrap().unwrap();
        assert_eq!(reader.after(0, 10).unwrap().len(), 2);
    }

    fn writer_beside(directory: &std::path::Path) -> Storing {
        Storing::new(writer(&directory.join("beside"), 64 << 20))
    }
}
