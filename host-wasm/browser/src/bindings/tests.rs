//! The calls of JavaScript in the memory and on the clock of a browser. What they decide is tested at [`Host`].

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use js_sys::{Date, Reflect, Uint8Array, WebAssembly};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const EVENT: &str =
    "{\"event_id\":\"00112233445566778899aabbccddeeff\"}\n{\"type\":\"event\"}\n{\"message\":\"it broke\"}\n";
const QUEUE: u32 = 64 * 1024;
const OTLP: bool = true;

/// The page's clock.
fn clock() -> f64 {
    let performance = Reflect::get(&js_sys::global(), &"performance".into()).expect("a clock");
    let now = Reflect::get(&performance, &"now".into()).expect("its reading");
    let reading = now.unchecked_into::<js_sys::Function>().call0(&performance);
    reading
        .ok()
        .and_then(|reading| reading.as_f64())
        .expect("a number")
}

/// A view of a window, as the page's script makes it: of the memory as it is now.
fn view(address: usize, length: usize) -> Uint8Array {
    let memory = wasm_bindgen::memory().unchecked_into::<WebAssembly::Memory>();
    Uint8Array::new_with_byte_offset_and_length(&memory.buffer(), address as u32, length as u32)
}

fn write(pieces: &[&str]) -> Vec<u32> {
    let window = view(input(), input_length());
    let mut at = 0;
    let mut lengths = Vec::new();
    for piece in pieces {
        let bytes = Uint8Array::from(piece.as_bytes());
        window.set(&bytes, at);
        at += bytes.length();
        lengths.push(bytes.length());
    }
    lengths
}

fn read() -> String {
    String::from_utf8(view(output(), output_length()).to_vec()).expect("text")
}

fn sentry() -> u32 {
    let lengths = write(&["key", "1.0", "test"]);
    open(clock(), !OTLP, 0.0, lengths[0], lengths[1], lengths[2])
}

fn record_event(to: u32) -> u32 {
    let length = write(&[EVENT])[0];
    let now = clock();
    envelope(now, now, to, length)
}

fn answer(id: u64, code: u32, retry_after: Option<&str>, limits: Option<&str>) {
    let lengths = write(&[retry_after.unwrap_or_default(), limits.unwrap_or_default()]);
    let length = |given: Option<&str>, at: usize| given.map_or(-1, |_| lengths[at] as i32);
    respond(
        clock(),
        Date::now(),
        id,
        code,
        length(retry_after, 0),
        length(limits, 1),
        -1,
        0,
    );
}

#[test]
fn what_is_written_into_the_window_leaves_by_the_other() {
    assert!(start(clock(), QUEUE, 7.0));
    let to = sentry();
    assert_eq!(to, 0);
    assert_eq!(admit(clock(), to, Category::Error as u32, 1, false), NONE);
    assert_eq!(record_event(to), NONE);
    assert_eq!(poll(clock(), Date::now()), Next::Send as u32);
    assert_eq!((sending_to(), sending_signal()), (to, 0));
    assert!(sending_timeout() >= 1000.0);
    let body = read();
    assert!(
        body.contains("it broke") && body.contains("\"sent_at\":\"20"),
        "{body}"
    );
    answer(sending_id(), 200, None, None);
    status();
    assert!(read().contains("\"delivered\":1"), "{}", read());
}

#[test]
fn windows_are_found_after_memory_has_grown() {
    assert!(start(clock(), QUEUE, 7.0));
    let before = (input(), input_length());
    assert!(
        start(clock(), 16 * 1024 * 1024, 7.0),
        "takes memory that was not there"
    );
    assert_ne!(input(), before.0);
    assert_eq!(input_length(), 8 * 1024 * 1024);
    let to = sentry();
    assert_eq!(record_event(to), NONE);
    assert_eq!(poll(clock(), Date::now()), Next::Send as u32);
    assert!(read().contains("it broke"));
}

#[test]
fn a_limit_holds_on_the_clock_of_the_page() {
    assert!(start(clock(), QUEUE, 7.0));
    let to = sentry();
    assert_eq!(record_event(to), NONE);
    assert_eq!(poll(clock(), Date::now()), Next::Send as u32);
    answer(sending_id(), 429, None, Some("3600:error:key"));
    let error = Category::Error as u32;
    assert_eq!(
        admit(clock(), to, error, 1, false),
        DropReason::RatelimitBackoff as u32
    );
    assert_eq!(admit(clock(), to, Category::LogItem as u32, 1, false), NONE);
    let hour = 3_600_000.0;
    assert_eq!(admit(clock() + hour + 1000.0, to, error, 1, false), NONE);
}

#[test]
fn a_pause_is_waited_for_and_the_same_request_comes_again() {
    assert!(start(clock(), QUEUE, 7.0));
    let to = sentry();
    assert_eq!(record_event(to), NONE);
    assert_eq!(poll(clock(), Date::now()), Next::Send as u32);
    let first = (sending_id(), read());
    let now = clock();
    answer(first.0, 503, Some("30"), None);
    assert!(troubled());
    assert_eq!(poll(clock(), Date::now()), Next::Idle as u32);
    let due = deadline(clock());
    assert!(due.is_finite() && due > now, "{due} is later than {now}");
    assert_eq!(poll(now + 60_000.0, Date::now()), Next::Send as u32);
    assert!(read().contains("00112233445566778899aabbccddeeff"));
    assert_ne!(sending_id(), first.0, "an attempt of its own");
}

#[test]
fn what_is_held_goes_into_another_engine_and_is_delivered_there() {
    assert!(start(clock(), QUEUE, 7.0));
    let to = sentry();
    assert_eq!(record_event(to), NONE);
    begin_held();
    assert!(next_held());
    let stored = view(output(), output_length());
    assert!(!next_held());
    // A copy: the next engine takes other memory.
    let stored = stored.slice(0, stored.length());
    assert!(start(clock(), QUEUE, 8.0));
    let to = sentry();
    view(input(), input_length()).set(&stored, 0);
    assert_eq!(restore(clock(), to, stored.length()), NONE);
    assert_eq!(poll(clock(), Date::now()), Next::Send as u32);
    assert!(read().contains("it broke"));
}

#[test]
fn numbers_that_nobody_should_pass_harm_nothing() {
    page::set(None);
    assert_eq!(poll(f64::NAN, f64::NEG_INFINITY), Next::Idle as u32);
    assert_eq!(
        (input(), input_length(), open(0.0, OTLP, 0.0, 0, 0, 0)),
        (0, 0, NONE)
    );
    for bytes in [0, u32::MAX] {
        assert!(start(f64::NAN, bytes.min(1), f64::INFINITY));
        assert!(input_length() >= 8 * 1024, "brought into bounds");
    }
    let to = sentry();
    assert_ne!(envelope(0.0, f64::INFINITY, to, u32::MAX), NONE);
    assert_ne!(
        record(0.0, -1.0, 99, 99, 99, 0, u64::MAX, 999, true, u32::MAX),
        NONE
    );
    respond(
        f64::MAX,
        f64::NAN,
        u64::MAX,
        999_999,
        i32::MAX,
        i32::MIN,
        i32::MAX,
        u32::MAX,
    );
    fail(clock(), 1 << 40, 77);
    lost(clock(), 99, 999, 999, u32::MAX);
    assert!(flushed(u32::MAX));
    status();
    assert!(read().to_string().starts_with('{'));
    let _: JsValue = wasm_bindgen::memory();
}
