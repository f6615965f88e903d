//! The client for C, and for every language that can call C.
//!
//! ```c
//! surgetank_options options = { .size = sizeof options, .sentry_dsn = dsn, .release = "shop@1.4.2" };
//! char problem[256];
//! surgetank_client *client = surgetank_init(&options, problem, sizeof problem);
//! surgetank_record_envelope(client, envelope, envelope_length);
//! surgetank_close(client, 2000, NULL);
//! surgetank_free(client);
//! ```
//!
//! What holds for the Rust client holds here: recording never blocks and never allocates, it may happen on any thread,
//! in signal handlers and after `fork`; flushing and closing keep their deadlines. No call unwinds into its caller, no
//! call keeps a pointer it was given, and a null pointer is an error, not a crash. The head of `include/surgetank.h` says it
//! for those who write C: ownership, threads, signals, fork, units.

use core::ffi::{CStr, c_char};
use core::slice;
use core::time::Duration;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use surgetank::{ClientBuilder, FlushReport, Outcome, Signal};
use surgetank_core::wire::otlp::count;

/// It was queued.
pub const SURGETANK_QUEUED: i32 = 0;
/// It was dropped and counted: the status says why.
pub const SURGETANK_DROPPED: i32 = 1;
/// A pointer that must not be null is, a size is not that of any version of the structure, a signal is unknown.
pub const SURGETANK_INVALID_ARGUMENT: i32 = -1;
/// The bytes are not what the call takes; nothing was recorded.
pub const SURGETANK_INVALID_DATA: i32 = -2;
/// A bug of this library, which was kept from spreading.
pub const SURGETANK_INTERNAL: i32 = -3;

/// OTLP spans (`ExportTraceServiceRequest`).
pub const SURGETANK_TRACES: u32 = 0;
/// OTLP log records (`ExportLogsServiceRequest`).
pub const SURGETANK_LOGS: u32 = 1;
/// OTLP metrics (`ExportMetricsServiceRequest`).
pub const SURGETANK_METRICS: u32 = 2;

/// Settings. Zero or null stands for the default everywhere, so set all of it to zero first. Not needed after
/// `surgetank_init`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `sizeof(surgetank_options)`: tells versions of this structure apart.
    pub size: usize,
    /// Sentry DSN.
    pub sentry_dsn: *const c_char,
    /// Base URL of an OTLP receiver over HTTP.
    pub otlp_endpoint: *const c_char,
    /// Version of the program.
    pub release: *const c_char,
    /// Where it runs, such as `production`.
    pub environment: *const c_char,
    /// `service.name` of OTLP's resource.
    pub service_name: *const c_char,
    /// Memory for records in bytes: 64 KiB to 1 GiB, default 4 MiB.
    pub memory_bytes: usize,
    /// True to take what is not set here from `SENTRY_*` and `OTEL_*` variables. What of them was ignored, and why, is
    /// in `warnings` of the status.
    pub from_environment: bool,
    /// True to write what happens (refused requests, retries, health) to standard error, a few lines in ten seconds at
    /// most.
    pub debug: bool,
}

/// A client. Opaque; of `surgetank_init`, until `surgetank_free`.
#[derive(Debug)]
pub struct Client {
    client: surgetank::Client,
}

/// What a flush or a close left behind.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Left {
    /// Records still queued or in flight, in the units of their categories. A log counts itself and its bytes.
    pub quantity: u64,
    /// Bytes not even taken out of the intake.
    pub intake_bytes: u64,
}

/// Makes a client. Nothing is sent and no thread is started before the first record.
///
/// Gives a client that is to be freed with `surgetank_free`. Null when a setting is wrong; then `message` (unless it is null)
/// holds what was wrong and what would be right, cut to `message_size` bytes with the terminating zero. 256 are enough.
///
/// # Safety
/// `options` points to a `surgetank_options` of the size that it names, whose strings end with a zero byte; `message` to
/// `message_size` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn surgetank_init(
    options: *const Options,
    message: *mut c_char,
    message_size: usize,
) -> *mut Client {
    let built = guarded(Err("a bug in surgetank_init".to_owned()), || {
        if options.is_null() {
            return Err("options is a null pointer".to_owned());
        }
        // SAFETY: as the caller promises, and this is all that is read of a structure of another size.
        if unsafe { (&raw const (*options).size).read() } != size_of::<Options>() {
            return Err("options.size is not sizeof(surgetank_options)".to_owned());
        }
        // SAFETY: as the caller promises.
        let builder = unsafe { configured(&options.read()) }?;
        builder.build().map_err(|error| error.to_string())
    });
    match built {
        Ok(client) => Box::into_raw(Box::new(Client { client })),
        Err(problem) => {
            // SAFETY: as the caller promises.
            unsafe { tell(&problem, message, message_size) };
            core::ptr::null_mut()
        }
    }
}

/// Starts the client's thread if it does not run, which the first record does otherwise: for programs that record in signal
/// handlers, where no thread can be started. True when it runs.
///
/// # Safety
/// `client` came from `surgetank_init` and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn surgetank_start(client: *const Client) -> bool {
    // SAFETY: as the caller promises.
    let Some(client) = (unsafe { client.as_ref() }) else {
        return false;
    };
    guarded(false, || client.client.start())
}

/// Records a ready-made Sentry envelope: `SURGETANK_QUEUED`, `SURGETANK_DROPPED` (it was counted; without a DSN, nothing is),
/// or one of the errors, which are negative.
///
/// It is copied. Its `event_id` is what Sentry tells doubles by, so each envelope needs its own.
///
/// # Safety
/// `client` came from `surgetank_init` and was not freed; `envelope` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn surgetank_record_envelope(
    client: *const Client,
    envelope: *const u8,
    length: usize,
) -> i32 {
    // SAFETY: as the caller promises.
    let (client, envelope) = unsafe { (client.as_ref(), bytes(envelope, length)) };
    let (Some(client), Some(envelope)) = (client, envelope) else {
        return SURGETANK_INVALID_ARGUMENT;
    };
    guarded(SURGETANK_INTERNAL, || match client.client.envelope(envelope) {
        Ok(outcome) => code_of(outcome),
        Err(_) => SURGETANK_INVALID_DATA,
    })
}

/// Records a ready-made OTLP export request in protobuf: `signal` is one of `SURGETANK_TRACES`, `SURGETANK_LOGS`,
/// `SURGETANK_METRICS`. It is checked to its last byte, and copied. Returns what `surgetank_record_envelope` does.
///
/// # Safety
/// `client` came from `surgetank_init` and was not freed; `request` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn surgetank_record_otlp(
    client: *const Client,
    signal: u32,
    request: *const u8,
    length: usize,
) -> i32 {
    let signal = match signal {
        SURGETANK_TRACES => Signal::Traces,
        SURGETANK_LOGS => Signal::Logs,
        SURGETANK_METRICS => Signal::Metrics,
        _ => return SURGETANK_INVALID_ARGUMENT,
    };
    // SAFETY: as the caller promises.
    let (client, request) = unsafe { (client.as_ref(), bytes(request, length)) };
    let (Some(client), Some(request)) = (client, request) else {
        return SURGETANK_INVALID_ARGUMENT;
    };
    guarded(SURGETANK_INTERNAL, || match count::of_protobuf(signal, request) {
        Ok(contents) => code_of(client.client.otlp_request(signal, contents.items, request)),
        Err(_) => SURGETANK_INVALID_DATA,
    })
}

/// Writes how the client is doing as JSON, with a terminating zero, and returns the bytes that it takes without that zero.
/// When `size` is not larger than that, nothing is written: call again with more room, and as figures grow meanwhile, with
/// some to spare. 0 when `client` is null.
///
/// Waits for up-to-date figures for 20 ms at most, and allocates. For every category `totals` says what was recorded,
/// delivered and dropped, and `totals.reasons` why.
///
/// # Safety
/// `client` came from `surgetank_init` and was not freed; `text` points to `size` bytes that may be written, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn surgetank_status(client: *const Client, text: *mut c_char, size: usize) -> usize {
    // SAFETY: as the caller promises.
    let Some(client) = (unsafe { client.as_ref() }) else {
        return 0;
    };
    let json = guarded(Vec::new(), || described(&client.client));
    if !text.is_null() && json.len() < size {
        // SAFETY: as the caller promises, there is room for the text and its zero.
        unsafe {
            core::ptr::copy_nonoverlapping(json.as_ptr(), text.cast::<u8>(), json.len());
            text.add(json.len()).write(0);
        }
    }
    json.len()
}

/// Sends what was recorded before now, and waits for that at most `timeout_ms` milliseconds; 0 to wait for nothing. True
/// when nothing of it is left. `left` (unless it is null) says how much is.
///
/// # Safety
/// `client` came from `surgetank_init` and was not freed; `left` may be written, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn surgetank_flush(client: *const Client, timeout_ms: u64, left: *mut Left) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        finish(client, left, |client| {
            client.flush(Duration::from_millis(timeout_ms))
        })
    }
}

/// Takes nothing more, sends what is queued for at most `timeout_ms` milliseconds, and drops and counts the rest. True when
/// nothing was left; `left` (unless it is null) says how much was. It holds for every thread. A second call is allowed,
/// and can only bring the end forward. The client has to be freed all the same.
///
/// # Safety
/// `client` came from `surgetank_init` and was not freed; `left` may be written, or is null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn surgetank_close(client: *const Client, timeout_ms: u64, left: *mut Left) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        finish(client, left, |client| {
            client.close(Duration::from_millis(timeout_ms))
        })
    }
}

/// Frees a client; one that was not closed is closed first, within two seconds. Null is nothing to do. A client that is
/// freed twice, or used afterwards, is as bad as with `free`.
///
/// # Safety
/// `client` came from `surgetank_init`, was not freed, and no other thread is in a call with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn surgetank_free(client: *mut Client) {
    if !client.is_null() {
        // SAFETY: as the caller promises, it is a box of ours and nobody else has it.
        guarded((), || drop(unsafe { Box::from_raw(client) }));
    }
}

unsafe fn finish(
    client: *const Client,
    left: *mut Left,
    work: impl FnOnce(&surgetank::Client) -> FlushReport,
) -> bool {
    // SAFETY: as the caller promises.
    let report = unsafe { client.as_ref() }.map_or_else(FlushReport::default, |client| {
        guarded(FlushReport::default(), || work(&client.client))
    });
    if !left.is_null() {
        let report = Left {
            quantity: report.left().map(|(_, quantity)| quantity).sum(),
            intake_bytes: report.intake_bytes,
        };
        // SAFETY: as the caller promises.
        unsafe { left.write(report) };
    }
    report.complete
}

/// The status, and what was ignored of the environment.
fn described(client: &surgetank::Client) -> Vec<u8> {
    let Ok(serde_json::Value::Object(mut members)) = serde_json::to_value(client.status()) else {
        return Vec::new();
    };
    let warnings = client.warnings().iter().map(ToString::to_string);
    members.insert("warnings".to_owned(), warnings.collect());
    serde_json::to_vec(&members).unwrap_or_default()
}

/// The settings; an error names the one that is no text.
unsafe fn configured(options: &Options) -> Result<ClientBuilder, String> {
    let text = |pointer: *const c_char, name: &str| -> Result<Option<&str>, String> {
        if pointer.is_null() {
            return Ok(None);
        }
        // SAFETY: as the caller promises, it ends with a zero byte.
        let text = unsafe { CStr::from_ptr(pointer) }.to_str();
        text.map(Some).map_err(|_| format!("options.{name} is not UTF-8"))
    };
    let mut builder = if options.from_environment {
        ClientBuilder::from_env().map_err(|error| error.to_string())?
    } else {
        ClientBuilder::default()
    };
    if let Some(dsn) = text(options.sentry_dsn, "sentry_dsn")? {
        builder = builder.sentry_dsn(dsn);
    }
    if let Some(endpoint) = text(options.otlp_endpoint, "otlp_endpoint")? {
        builder = builder.otlp_endpoint(endpoint);
    }
    if let Some(release) = text(options.release, "release")? {
        builder = builder.release(release);
    }
    if let Some(environment) = text(options.environment, "environment")? {
        builder = builder.environment(environment);
    }
    if let Some(name) = text(options.service_name, "service_name")? {
        builder = builder.service_name(name);
    }
    if options.memory_bytes > 0 {
        builder = builder.memory(options.memory_bytes);
    }
    if options.debug {
        builder = builder.debug(true);
    }
    Ok(builder)
}

/// Writes as much of `problem` as there is room for, and a zero.
unsafe fn tell(problem: &str, message: *mut c_char, size: usize) {
    if message.is_null() || size == 0 {
        return;
    }
    // SAFETY: as the caller promises.
    let room = unsafe { slice::from_raw_parts_mut(message.cast::<u8>(), size) };
    let (mut text, last) = room.split_at_mut(size - 1);
    // A text that does not fit is cut.
    let _ = text.write_all(problem.as_bytes());
    match text.first_mut() {
        Some(end) => *end = 0,
        None => last.fill(0),
    }
}

/// The bytes, which may be null if there are none.
unsafe fn bytes<'a>(pointer: *const u8, length: usize) -> Option<&'a [u8]> {
    if length == 0 {
        return Some(&[]);
    }
    if pointer.is_null() || isize::try_from(length).is_err() {
        return None;
    }
    // SAFETY: as the caller promises.
    Some(unsafe { slice::from_raw_parts(pointer, length) })
}

const fn code_of(outcome: Outcome) -> i32 {
    match outcome {
        Outcome::Queued => SURGETANK_QUEUED,
        Outcome::Dropped(_) => SURGETANK_DROPPED,
    }
}

/// What `work` gives, or `otherwise` when it panics: nothing unwinds into C.
fn guarded<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}
