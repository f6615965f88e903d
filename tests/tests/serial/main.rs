//! The microcontroller example end to end: its program on an emulated Cortex-M, the real gateway, and an upstream that records
//! what arrives. Between board and gateway is a cable that the tests pull out.
//!
//! Nothing waits for a fixed time, and no test depends on how fast the emulator runs: each wait is for a state, and what is
//! compared are sums and sets. Both instruction sets run on one board, as QEMU has no Cortex-M0 with enough serial ports.

mod cable;
mod scene;

use surgetank_tests::upstream::{Reply, Upstream};

use scene::{Account, Arrived, Scene};

const CORTEX_M4: &str = "thumbv7em-none-eabihf";
/// Neither compare-and-swap nor division.
const CORTEX_M0: &str = "thumbv6m-none-eabi";

/// Records errors until the board has made `count` in all; it takes one command at a time from its console.
fn record_errors(scene: &mut Scene, count: u64) -> Account {
    let made = scene.account().of("errors", "made");
    for _ in made..count {
        scene.type_in("e");
    }
    scene.account_when("errors are made", |account| account.of("errors", "made") == count)
}

fn nothing_is_lost_or_doubled(target: &str) {
    let mut scene = Scene::new(target, Upstream::accepting());
    // Interrupt and main loop both record, and both kinds arrive.
    record_errors(&mut scene, 2);
    scene.upstream.wait_for("both kinds", |exchanges| {
        let arrived = Arrived::of(exchanges);
        (arrived.errors.len() == 2 && arrived.measurements.len() >= 2).then_some(())
    });

    // In the middle of a body: an event takes over 300 bytes. Memory is empty then, and what follows fits.
    let dropped = |account: &Account| account.of("errors", "dropped") + account.of("measurements", "dropped");
    let before = dropped(&scene.settled());
    scene.cable.unplug_after(150);
    record_errors(&mut scene, 5);
    let cable = &scene.cable;
    wait(|| !cable.is_plugged());
    let account = scene.account_when("the board notices", |account| account.0["up"] == false);
    assert!(account.of("errors", "queued") >= 3, "{}", account.0);
    scene.cable.plug();
    let account = scene.settled();
    assert_eq!(dropped(&account), before, "{}", account.0);

    // Again and again, wherever the line happens to be.
    for round in 0..4 {
        scene.type_in("r");
        scene.cable.unplug_after(40 + 97 * round);
        record_errors(&mut scene, 6 + u64::from(round));
        let cable = &scene.cable;
        wait(|| !cable.is_plugged());
        scene.type_in("p");
        scene.cable.plug();
        scene.account_when("nothing waits", |account| account.of("errors", "queued") == 0);
    }

    // A gateway that is restarted in good order.
    let farewell = scene.stop_gateway();
    assert_eq!(farewell["complete"], true, "{farewell}");
    record_errors(&mut scene, 12);
    scene.start_gateway();
    let account = scene.settled();
    assert_eq!(account.figure("sessions"), 2, "{}", account.0);
    assert_all_arrived(&scene, &account);
    assert_budget(&account);
}

/// Every record that was made is upstream or counted, none twice.
#[track_caller]
fn assert_all_arrived(scene: &Scene, account: &Account) -> Arrived {
    let arrived = Arrived::of(&scene.upstream.exchanges());
    for (kind, numbers) in [
        ("errors", &arrived.errors),
        ("measurements", &arrived.measurements),
    ] {
        let came = Arrived::assert_no_double(numbers, account.of(kind, "made"));
        assert_eq!(came, account.of(kind, "delivered"), "{kind}: {}", account.0);
    }
    arrived
}

/// What the example's README says of memory, in bytes.
#[track_caller]
fn assert_budget(account: &Account) {
    for (name, most) in [
        ("engine_bytes", 8 * 1024),
        ("intake_bytes", 4400),
        ("static_bytes", 14 * 1024),
        ("stack_bytes", 6 * 1024),
        ("flash_bytes", 84 * 1024),
    ] {
        assert!(account.figure(name) <= most, "{name}: {}", account.0);
    }
}

fn what_memory_cannot_hold_is_counted_and_told(target: &str) {
    let mut scene = Scene::new(target, Upstream::accepting());
    scene.upstream.wait_for("a first measurement", |exchanges| {
        (!Arrived::of(exchanges).measurements.is_empty()).then_some(())
    });
    scene.type_in("p");
    scene.cable.unplug();
    for _ in 0..3 {
        scene.type_in("b");
    }
    // Errors have room that measurements cannot take.
    record_errors(&mut scene, 2);
    let account = scene.account_when("the bursts are over", |account| {
        account.of("measurements", "made") >= 300 && account.figure("in_intake") == 0
    });
    assert!(account.of("measurements", "dropped") > 200, "{}", account.0);
    assert!(account.of("measurements", "queued") > 0, "{}", account.0);
    scene.cable.plug();
    let account = scene.settled();
    let arrived = assert_all_arrived(&scene, &account);
    assert_eq!(account.of("errors", "delivered"), 2, "{}", account.0);

    let dropped = account.of("measurements", "dropped");
    assert_eq!(account.dropped("queue_overflow"), dropped, "{}", account.0);
    let key = ("log_item".to_owned(), "queue_overflow".to_owned());
    let told = arrived.reported.get(&key).copied().unwrap_or(0);
    let told = if told == dropped {
        told
    } else {
        scene.upstream.wait_for("a report of what was lost", |exchanges| {
            let told = Arrived::of(exchanges).reported.get(&key).copied();
            told.filter(|told| *told == dropped)
        })
    };
    assert_eq!(told, dropped);
}

fn a_limit_of_the_server_holds_on_the_board(target: &str) {
    let limited = Reply::status(429).with("x-sentry-rate-limits", "3600:error:key");
    let upstream = Upstream::start(move |request, _| {
        let is_event = request.body.windows(7).any(|bytes| bytes == b"\"event\"");
        if is_event { limited.clone() } else { Reply::Accept }
    });
    let mut scene = Scene::new(target, upstream);
    let refused = |exchanges: &[surgetank_tests::upstream::Exchange]| {
        let is_refused = |exchange: &&surgetank_tests::upstream::Exchange| {
            exchange
                .answer
                .as_ref()
                .is_some_and(|answer| answer.status == 429)
        };
        exchanges.iter().filter(is_refused).count()
    };
    record_errors(&mut scene, 1);
    scene.account_when("the answer is heard", |account| {
        account.of("errors", "dropped") == 1
    });
    let account = record_errors(&mut scene, 6);
    assert_eq!(account.of("errors", "queued"), 0, "{}", account.0);
    // Measurements are not limited and go on.
    let before = scene.account().of("measurements", "delivered");
    scene.account_when("measurements go on", |account| {
        account.of("measurements", "delivered") > before + 1
    });
    let account = scene.settled();
    assert_eq!(account.of("errors", "dropped"), 6, "{}", account.0);
    assert_eq!(account.dropped("server_rate_limited"), 1, "{}", account.0);
    assert_eq!(account.dropped("ratelimit_backoff"), 5, "{}", account.0);
    assert_eq!(refused(&scene.upstream.exchanges()), 1, "five were not even sent");
    assert_all_arrived(&scene, &account);
}

/// Waits for what another thread does.
#[track_caller]
fn wait(is_it: impl Fn() -> bool) {
    use surgetank_tests::process::pause;
    use surgetank_tests::upstream::{PATIENCE, now};
    let until = now() + PATIENCE;
    while !is_it() {
        assert!(now() < until, "not within {PATIENCE:?}");
        pause();
    }
}

#[test]
fn on_a_cortex_m4_a_cut_line_loses_and_doubles_nothing() {
    nothing_is_lost_or_doubled(CORTEX_M4);
}

#[test]
fn on_a_cortex_m0_a_cut_line_loses_and_doubles_nothing() {
    nothing_is_lost_or_doubled(CORTEX_M0);
}

#[test]
fn on_a_cortex_m4_what_memory_cannot_hold_is_counted_and_told() {
    what_memory_cannot_hold_is_counted_and_told(CORTEX_M4);
}

#[test]
fn on_a_cortex_m0_what_memory_cannot_hold_is_counted_and_told() {
    what_memory_cannot_hold_is_counted_and_told(CORTEX_M0);
}

#[test]
fn on_a_cortex_m4_a_limit_of_the_server_holds() {
    a_limit_of_the_server_holds_on_the_board(CORTEX_M4);
}

#[test]
fn on_a_cortex_m0_a_limit_of_the_server_holds() {
    a_limit_of_the_server_holds_on_the_board(CORTEX_M0);
}
