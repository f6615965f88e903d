//! The promises hold whatever the server answers: rate limits, and books that agree with the server's own.

mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use surgetank::diagnostics::DiagnosticEvent;
use surgetank::otlp::Span;
use surgetank::sentry::{Level, Log};
use surgetank::{Category, Client, DropReason, EventId, Outcome};
use surgetank_core::health::Cause;
use surgetank_core::response::Failure;
use surgetank_core::rng::Rng;

use support::{Received, Reply, Server, envelope, otlp};

const PATIENT: Duration = Duration::from_secs(60);

fn client(server: &Server) -> Client {
    Client::builder()
        .sentry_dsn(&server.dsn())
        .release("shop@1.0")
        .environment_proxies(false)
        .connect_timeout(Duration::from_secs(2))
        .build()
        .unwrap()
}

/// Recorded = delivered + dropped + queued, in every category.
fn assert_books_balance(client: &Client) {
    let totals = client.status().totals;
    for (category, sums) in totals.categories() {
        assert_eq!(
            sums.recorded,
            sums.delivered + sums.dropped + sums.queued(),
            "{category:?}"
        );
        let listed: u64 = totals
            .reasons()
            .iter()
            .filter(|total| total.category == category)
            .map(|total| total.quantity)
            .sum();
        assert_eq!(listed, sums.dropped, "{category:?}: {:?}", totals.reasons());
    }
}

/// What the server took, by category, counted from the bytes of the requests for which `taken` holds.
fn recount(requests: &[Received], taken: impl Fn(usize, &Received) -> bool) -> BTreeMap<Category, u64> {
    let mut counts = BTreeMap::new();
    let mut add = |category, quantity| *counts.entry(category).or_insert(0) += quantity;
    for (number, request) in requests.iter().enumerate() {
        if !taken(number, request) {
            continue;
        }
        if request.path.ends_with("/v1/traces") {
            add(Category::Span, otlp::parse(&request.body).records.len() as u64);
            continue;
        }
        for item in envelope::parse(&request.body).items {
            match item.kind() {
                "event" => add(Category::Error, 1),
                "log" => add(Category::LogItem, item.header["item_count"].as_u64().unwrap()),
                "client_report" => {}
                other => panic!("{other}"),
            }
        }
    }
    counts
}

/// True when an item of that type is in the envelope.
fn holds(request: &Received, kind: &str) -> bool {
    envelope::parse(&request.body)
        .items
        .iter()
        .any(|item| item.kind() == kind)
}

/// Losses told to the server, by category and reason.
fn told_losses(requests: &[Received]) -> BTreeMap<(String, String), u64> {
    let mut told = BTreeMap::new();
    for request in requests {
        for item in envelope::parse(&request.body).items {
            if item.kind() != "client_report" {
                continue;
            }
            for loss in item.json()["discarded_events"].as_array().unwrap() {
                let text = |key: &str| loss[key].as_str().unwrap().to_owned();
                *told.entry((text("category"), text("reason"))).or_insert(0) +=
                    loss["quantity"].as_u64().unwrap();
            }
        }
    }
    told
}

#[test]
fn a_limited_category_is_refused_at_the_door_and_others_pass() {
    let server = Server::start(|request, _| {
        let limited = holds(request, "event");
        if limited {
            Reply::status(429).with("X-Sentry-Rate-Limits", "60:error:key")
        } else {
            Reply::ok()
        }
    });
    let client = client(&server);
    assert_eq!(client.message(Level::Error, "first").outcome, Outcome::Queued);
    assert!(client.flush(PATIENT).complete);
    let refused = client.message(Level::Error, "second");
    assert_eq!(refused.outcome, Outcome::Dropped(DropReason::RatelimitBackoff));
    assert_eq!(refused.id, EventId::NIL);
    let log = Log {
        body: "passes",
        ..Log::default()
    };
    assert_eq!(client.log(&log), Outcome::Queued);
    assert!(client.close(PATIENT).complete);
    let totals = client.status().totals;
    assert_eq!(totals.dropped(Category::Error, DropReason::ServerRateLimited), 1);
    assert_eq!(totals.dropped(Category::Error, DropReason::RatelimitBackoff), 1);
    assert_eq!(totals.of(Category::LogItem).delivered, 1);
    let status = client.status();
    assert_eq!(status.destinations[0].limited, ["error"]);
    // The server counted what it answered with 429 itself; what was not even sent is told.
    assert_eq!(
        told_losses(&server.requests()),
        [(("error".to_owned(), "ratelimit_backoff".to_owned()), 1)].into()
    );
    assert_books_balance(&client);
}

#[test]
fn under_full_load_nothing_limited_is_sent_until_the_limit_ends() {
    const LIMIT: Duration = Duration::from_secs(2);
    // When each request with an event came; the first is the one that is answered with a limit.
    let events = Arc::new(Mutex::new(Vec::new()));
    let arrivals = Arc::clone(&events);
    let server = Server::start(move |request, _| {
        if !holds(request, "event") {
            return Reply::ok();
        }
        let mut arrivals = arrivals.lock().unwrap();
        arrivals.push(support::now());
        match arrivals.len() {
            1 => Reply::status(429).with("X-Sentry-Rate-Limits", "2:error:key"),
            _ => Reply::ok(),
        }
    });
    let client = client(&server);
    let _ = client.message(Level::Error, "first");
    assert!(client.flush(PATIENT).complete);
    let begun = support::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while events.lock().unwrap().len() < 2 && begun.elapsed() < PATIENT {
                    for _ in 0..100 {
                        let _ = client.message(Level::Error, "load");
                    }
                    let log = Log {
                        body: "load",
                        ..Log::default()
                    };
                    let _ = client.log(&log);
                }
            });
        }
    });
    let _ = client.close(Duration::from_secs(1));
    let events = events.lock().unwrap();
    let early = events[1..]
        .iter()
        .filter(|at| at.duration_since(events[0]) < LIMIT)
        .count();
    assert!(
        events.len() > 1 && early == 0,
        "{early} of {} came early",
        events.len()
    );
    let status = client.status();
    let refused = status
        .totals
        .dropped(Category::Error, DropReason::RatelimitBackoff);
    assert!(refused > 1000, "{refused}");
    assert!(status.totals.of(Category::LogItem).delivered > 0, "others pass");
    assert_books_balance(&client);
}

#[test]
fn a_server_that_fails_is_left_alone_and_then_gets_what_matters_more_first() {
    const ERRORS: usize = 60;
    let fails = Arc::new(AtomicBool::new(true));
    let of_server = Arc::clone(&fails);
    let server = Server::start(move |_, _| {
        Reply::status(if of_server.load(Ordering::SeqCst) {
            503
        } else {
            200
        })
    });
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .memory(32 * 1024 * 1024)
        .environment_proxies(false)
        .build()
        .unwrap();
    for number in 0..ERRORS * 50 {
        let log = Log {
            body: "a line",
            ..Log::default()
        };
        assert_eq!(client.log(&log), Outcome::Queued);
        if number % 50 == 0 {
            assert_eq!(client.message(Level::Error, "an event").outcome, Outcome::Queued);
        }
    }
    // Nothing is left to wait for but the pauses.
    let begun = support::now();
    while !client.status().health.causes.contains(Cause::BreakerOpen) {
        let _ = client.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < PATIENT, "{:?}", client.status());
    }
    fails.store(false, Ordering::SeqCst);
    let while_failing = server.requests().len();
    assert!(
        while_failing <= 40,
        "{while_failing} requests to a server that fails"
    );
    assert!(client.flush(PATIENT).complete);
    let requests = server.requests();
    // By weight, five envelopes with an error to two with logs.
    let next: Vec<bool> = requests[while_failing..]
        .iter()
        .map(|request| holds(request, "event"))
        .collect();
    let errors = next[..21].iter().filter(|event| **event).count();
    assert!((12..21).contains(&errors), "{errors}: {next:?}");
    let totals = client.status().totals;
    assert_eq!(totals.of(Category::Error).delivered, ERRORS as u64);
    assert_eq!(totals.of(Category::LogItem).delivered, ERRORS as u64 * 50);
}

#[test]
fn a_destination_that_fails_does_not_hold_up_another() {
    const ERRORS: u64 = 30;
    const SPANS: u64 = 500;
    let fails = Arc::new(AtomicBool::new(true));
    let of_server = Arc::clone(&fails);
    let sentry = Server::start(move |_, _| {
        let failing = of_server.load(Ordering::SeqCst);
        Reply::status(if failing { 503 } else { 200 })
    });
    let collector = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .sentry_dsn(&sentry.dsn())
        .otlp_endpoint(&collector.url(""))
        .environment_proxies(false)
        .build()
        .unwrap();
    for number in 0..SPANS {
        let span = Span::new(client.new_trace_id(), client.new_span_id(), "x");
        assert_eq!(client.otlp_span(&span), Outcome::Queued);
        if number < ERRORS {
            assert_eq!(client.message(Level::Error, "an event").outcome, Outcome::Queued);
        }
    }
    let begun = support::now();
    while client.status().totals.of(Category::Span).delivered < SPANS {
        assert!(begun.elapsed() < PATIENT, "{:?}", client.status());
        std::thread::yield_now();
    }
    let errors = client.status().totals.of(Category::Error);
    assert_eq!((errors.delivered, errors.queued()), (0, ERRORS));
    fails.store(false, Ordering::SeqCst);
    assert!(client.close(PATIENT).complete);
    assert_eq!(client.status().totals.of(Category::Error).delivered, ERRORS);
    let spans = recount(&collector.requests(), |_, _| true);
    assert_eq!(spans.get(&Category::Span), Some(&SPANS));
}

#[test]
fn retry_after_is_waited_out_and_nothing_is_lost() {
    let server = Server::start(|_, number| {
        if number == 0 {
            Reply::status(503).with("Retry-After", "1")
        } else {
            Reply::ok()
        }
    });
    let client = Client::builder()
        .otlp_endpoint(&server.url(""))
        .environment_proxies(false)
        .build()
        .unwrap();
    let begun = support::now();
    let _ = client.otlp_span(&Span::new(client.new_trace_id(), client.new_span_id(), "x"));
    assert!(client.flush(PATIENT).complete);
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "the server's word is obeyed"
    );
    assert_eq!(client.status().totals.of(Category::Span).delivered, 1);
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_final_refusal_is_counted_and_told_with_the_next_envelope() {
    let server = Server::start(|_, number| Reply::status(if number == 0 { 400 } else { 200 }));
    let client = client(&server);
    let _ = client.message(Level::Error, "refused");
    assert!(client.flush(PATIENT).complete);
    let _ = client.message(Level::Error, "taken");
    assert!(client.close(PATIENT).complete);
    let totals = client.status().totals;
    assert_eq!(totals.dropped(Category::Error, DropReason::SendError), 1);
    assert_eq!(totals.of(Category::Error).delivered, 1);
    assert_eq!(
        told_losses(&server.requests()),
        [(("error".to_owned(), "send_error".to_owned()), 1)].into()
    );
}

#[test]
fn an_otlp_partial_success_is_counted_and_not_sent_again() {
    // ExportTraceServiceResponse { partial_success { rejected_spans: 2 } }
    let server = Server::start(|_, _| {
        Reply::ok()
            .with("Content-Type", "application/x-protobuf")
            .body(&[0x0a, 0x02, 0x08, 0x02])
    });
    let client = Client::builder()
        .otlp_endpoint(&server.url(""))
        .environment_proxies(false)
        .build()
        .unwrap();
    for _ in 0..5 {
        let _ = client.otlp_span(&Span::new(client.new_trace_id(), client.new_span_id(), "x"));
    }
    assert!(client.close(PATIENT).complete);
    let totals = client.status().totals;
    assert_eq!(totals.of(Category::Span).delivered, 3);
    assert_eq!(totals.dropped(Category::Span, DropReason::Rejected), 2);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn the_books_agree_with_a_server_of_many_moods() {
    std::thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || agree_with_a_moody_server(seed));
        }
    });
}

fn agree_with_a_moody_server(seed: u64) {
    let mood = move |number: usize| {
        let mut rng = Rng::new(seed << 32 | number as u64);
        match rng.below(60) {
            0 => 503,
            1 => 500,
            2 => 429,
            3 => 0,
            _ => 200,
        }
    };
    let server = Server::start(move |_, number| match mood(number) {
        0 => Reply::CloseMidway,
        429 => Reply::status(429).with("X-Sentry-Rate-Limits", "1:log_item:key"),
        status => Reply::status(status),
    });
    let client = client(&server);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let _ = client.message(Level::Error, "an event");
                    let log = Log {
                        body: "a line",
                        ..Log::default()
                    };
                    let _ = client.log(&log);
                }
            });
        }
    });
    let _ = client.close(Duration::from_secs(6));
    assert_books_balance(&client);
    let totals = client.status().totals;
    assert_eq!(totals.of(Category::Error).recorded, 200);
    assert_eq!(totals.of(Category::LogItem).recorded, 200);
    // A 429 about logs means that events in other envelopes were taken.
    let taken = recount(&server.requests(), |number, request| {
        let is_log = holds(request, "log");
        mood(number) == 200 || (mood(number) == 429 && !is_log)
    });
    for category in [Category::Error, Category::LogItem] {
        let delivered = totals.of(category).delivered;
        let taken = taken.get(&category).copied().unwrap_or(0);
        // What was in flight at the deadline of close may have been taken without our knowing.
        let unknown = totals.dropped(category, DropReason::Closed);
        assert!(
            (delivered..=delivered + unknown).contains(&taken),
            "seed {seed}, {category:?}: {taken} taken, {delivered} delivered, {:?}",
            totals.reasons()
        );
    }
}

#[test]
fn why_no_answer_comes_is_told() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    let stranger = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let strange = stranger.local_addr().unwrap();
    // Answers, and not in HTTP. Ends with the program: its client may connect again at any time.
    std::thread::spawn(move || {
        for connection in stranger.incoming() {
            let mut connection = connection?;
            let _ = connection.read(&mut [0; 16])?;
            connection.write_all(b"220 ready\r\n")?;
            // Read until the other side has heard it and goes, or the connection would be reset under it.
            std::io::copy(&mut connection, &mut std::io::sink())?;
        }
        Ok::<(), std::io::Error>(())
    });
    for (address, expected) in [(nobody, Failure::Connect), (strange, Failure::MalformedResponse)] {
        let (tell, told) = mpsc::channel();
        let client = Client::builder()
            .sentry_dsn(&format!("http://0123456789abcdef0123456789abcdef@{address}/42"))
            .environment_proxies(false)
            .on_diagnostic(move |diagnostic| {
                // After the first nobody listens any more.
                let _ = tell.send((diagnostic.event, diagnostic.to_string()));
            })
            .build()
            .unwrap();
        assert_eq!(client.message(Level::Error, "lost").outcome, Outcome::Queued);
        let (event, text) = told.recv_timeout(PATIENT).expect("it is told");
        assert_eq!(event, DiagnosticEvent::Failed(expected), "{text}");
        let (settled, _) = told.recv_timeout(PATIENT).expect("and what becomes of it");
        assert!(
            matches!(settled, DiagnosticEvent::Settled { status: None, .. }),
            "{settled:?}"
        );
        let _ = client.close(Duration::ZERO);
    }
}
