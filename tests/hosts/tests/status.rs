//! The module writes the status itself; the text must be that of the core's own serialisation.

use surgetank_core::config::{Config, DestinationConfig};
use surgetank_core::engine::Engine;
use surgetank_core::item::{Category, DropReason, Item};
use surgetank_core::notice::Action;
use surgetank_core::response::Response;
use surgetank_core::storage::HeapStorage;
use surgetank_core::time::Instant;
use surgetank_core::wire::envelope::describe;
use surgetank_hosts::Guest;
use surgetank_hosts::door::Compiled;
use surgetank_hosts::frame::{Door as _, Frame, Output};
use surgetank_replay::call::{Call, Reply};
use surgetank_replay::script::{MAX_DESTINATIONS, MAX_REQUESTS};

#[test]
fn the_status_is_the_text_that_the_core_writes() {
    let now = Instant::from_micros(1);
    let (memory, seed) = (8 << 10, 3);
    let mut engine = Engine::new(
        Config::DEFAULT,
        HeapStorage::new(memory, MAX_DESTINATIONS, MAX_REQUESTS),
        seed,
        now,
    )
    .expect("good settings");
    let mut guest = Guest::new(Compiled::shipped().expect("the module").instance().expect("one"));
    let config = Config::DEFAULT;
    let mut both = |calls: &[Call<'_>]| {
        for call in calls {
            let reply = guest.call(now, call);
            assert!(!matches!(reply, Reply::Fault(_)), "{call:?}: {reply:?}");
        }
    };
    both(&[
        Call::Start {
            config: &config,
            memory,
            seed,
        },
        Call::Open(&DestinationConfig::SENTRY),
    ]);
    let id = engine
        .open_destination(now, DestinationConfig::SENTRY)
        .expect("a free entry");
    // More than there is room for, and all of it important: some is dropped.
    for number in 0..60 {
        let payload = format!("{{}}\n{{\"type\":\"event\"}}\n{{\"n\":{number}}}\n").into_bytes();
        let header = describe(&payload)
            .expect("an envelope")
            .record_header(id)
            .expect("an item");
        let payload = payload.as_slice();
        let _ = engine.record(now, &Item { header, payload });
        both(&[Call::Record { header, payload }]);
    }
    let (category, reason, quantity) = (Category::Span, DropReason::BeforeSend, 7);
    engine.on_losses(now, Some(id), category, reason, quantity);
    both(&[Call::Losses {
        destination: Some(id),
        category,
        reason,
        quantity,
    }]);
    let limits: [&[u8]; 1] = [b"60:session:key"];
    let response = Response {
        status: 429,
        rate_limits: &limits,
        ..Response::default()
    };
    for _ in 0..12 {
        let sent = match engine.poll(now) {
            Action::Send(request) => Some(request.id()),
            _ => None,
        };
        both(&[Call::Poll]);
        if let Some(id) = sent {
            let _ = engine.on_response(now, id, &response);
            let _ = engine.on_response(now, id, &response);
            both(&[Call::Response { id, response }, Call::Response { id, response }]);
        }
    }
    let mut expected = vec![0; 8 << 10];
    let length = engine.status().to_json(&mut expected).expect("it fits");
    expected.truncate(length);
    let mut door = guest.into_door();
    let status = door.call(&Frame {
        function: "status",
        numbers: Vec::new(),
        input: Vec::new(),
        output: Output::Returned,
    });
    let found = status.expect("it is asked").output;
    let (found, expected) = (
        String::from_utf8_lossy(&found),
        String::from_utf8_lossy(&expected),
    );
    assert_eq!(found, expected);
    for word in [
        "queue_full",
        "queue_overflow",
        "before_send",
        "\"stale_answers\":",
    ] {
        assert!(found.contains(word), "the comparison lacks {word}: {found}");
    }
}
