//! The status as JSON.

use crate::config::{Config, DestinationConfig};
use crate::engine::Engine;
use crate::item::{Category, DropReason, Form, Header, Item, Outcome};
use crate::status::BufferTooSmall;
use crate::storage::FixedStorage;
use crate::time::Instant;

#[test]
fn a_status_is_json_with_what_was_recorded_and_lost() {
    let mut engine = Engine::new(
        Config::DEFAULT,
        FixedStorage::<16, 1, 2, 4>::new(),
        1,
        Instant::ORIGIN,
    )
    .unwrap();
    let to = engine
        .open_destination(Instant::ORIGIN, DestinationConfig::SENTRY)
        .unwrap();
    let header = Header::new(to, Form::Envelope, Category::Error, 1);
    let item = Item {
        header,
        payload: b"{}\n{\"type\":\"event\"}\n{}\n",
    };
    assert_eq!(engine.record(Instant::ORIGIN, &item), Outcome::Queued);
    engine.on_losses(
        Instant::ORIGIN,
        Some(to),
        Category::LogItem,
        DropReason::QueueOverflow,
        7,
    );
    let mut buffer = [0; 2048];
    let length = engine.status().to_json(&mut buffer).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&buffer[..length]).unwrap();
    assert_eq!(json["totals"]["categories"]["error"]["queued"], 1);
    assert_eq!(json["totals"]["dropped"][0]["reason"], "queue_overflow");
    assert_eq!(json["totals"]["dropped"][0]["quantity"], 7);
    assert_eq!(json["health"]["level"], "healthy");
    assert!(json["totals"]["categories"].get("span").is_none());
}

#[test]
fn a_buffer_too_small_is_an_error() {
    let engine = Engine::new(
        Config::DEFAULT,
        FixedStorage::<16, 1, 2, 4>::new(),
        1,
        Instant::ORIGIN,
    )
    .unwrap();
    assert_eq!(engine.status().to_json(&mut [0; 16]), Err(BufferTooSmall));
}
