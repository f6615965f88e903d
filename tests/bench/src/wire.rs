//! Reading envelopes to know what to record about them: what a relay does with everything that arrives.

use std::hint::black_box;

use surgetank_core::wire::envelope;

use crate::glass::{Glass, Phase};

/// Items of a round.
pub(crate) const ITEMS: usize = 20;

fn describe(glass: Glass, rounds: u32, envelope: &[u8]) {
    for _ in 0..rounds {
        glass.look(Phase::Record, || {
            let _ = black_box(envelope::describe(black_box(envelope)));
        });
    }
}

fn envelope_of(headers: &str, payload: &str) -> String {
    format!(
        "{{\"event_id\":\"9ec79c33ec9942ab8353589fcb2e04dc\"}}\n{{{headers},\"length\":{}}}\n{payload}\n",
        payload.len()
    )
}

fn transaction_text() -> String {
    let span = r#"{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","op":"db","description":"SELECT * FROM items WHERE id = ?","status":"ok","start_timestamp":1800000000.25,"timestamp":1800000000.5,"data":{"db.system":"postgresql","server.port":5432}}"#;
    let payload = format!(
        r#"{{"type":"transaction","transaction":"GET /","contexts":{{"trace":{{"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"53995c3f42cd8ad8"}}}},"spans":[{}]}}"#,
        [span; ITEMS].join(",")
    );
    envelope_of(r#""type":"transaction""#, &payload)
}

fn logs_text() -> String {
    let log = r#"{"timestamp":1800000000.25,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","level":"info","body":"request served","attributes":{"http.route":{"value":"/api/items/{id}","type":"string"},"status":{"value":200,"type":"integer"},"server.address":{"value":"shop.example.com","type":"string"}}}"#;
    let payload = format!(r#"{{"items":[{}]}}"#, [log; ITEMS].join(","));
    let headers = format!(
        r#""type":"log","item_count":{ITEMS},"content_type":"application/vnd.sentry.items.log+json""#
    );
    envelope_of(&headers, &payload)
}

pub(crate) fn transaction(glass: Glass, rounds: u32) {
    describe(glass, rounds, transaction_text().as_bytes());
}

pub(crate) fn logs(glass: Glass, rounds: u32) {
    describe(glass, rounds, logs_text().as_bytes());
}

/// Bytes of the two envelopes.
pub(crate) fn bytes() -> [(&'static str, usize); 2] {
    [
        ("wire-transaction", transaction_text().len()),
        ("wire-logs", logs_text().len()),
    ]
}
