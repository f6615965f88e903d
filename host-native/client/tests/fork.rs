//! After `fork`, parent and child each deliver their own records, once; the order of building and forking is free.
//!
//! Deadlines are looked at in children alone (`support::punctual` has a thread, which a child would not have).
#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "the server is late on purpose")]

mod support;

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use surgetank::sentry::{Level, Log};
use surgetank::{Category, Client, DropReason, Outcome};

use support::punctual::within;
use support::{Received, Reply, Server, envelope};

const PATIENT: Duration = Duration::from_secs(60);

fn messages(requests: &[Received]) -> Vec<String> {
    let mut messages: Vec<String> = requests
        .iter()
        .flat_map(|request| envelope::parse(&request.body).items)
        .filter(|item| item.kind() == "event")
        .map(|item| item.json()["logentry"]["formatted"].as_str().unwrap().to_owned())
        .collect();
    messages.sort();
    messages
}

/// Runs `work` in a child; it says whether all went well. The child ends by itself after 90 s at the latest.
fn in_child(work: impl FnOnce() -> bool) -> libc::pid_t {
    // SAFETY: the child runs this thread alone. What it calls takes no lock that another thread of the parent could
    // hold, apart from the C library's own, which it keeps usable across `fork`. It ends without running destructors.
    unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(90);
                libc::_exit(i32::from(!work()));
            }
            child => {
                assert!(child > 0, "fork");
                child
            }
        }
    }
}

/// Waits for the child's end; true when it said that all went well.
fn well(child: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: `status` is valid to write to.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(ended, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[track_caller]
fn assert_well(child: libc::pid_t) {
    assert!(well(child), "something went wrong in the child");
}

/// Records and delivers in a child, whose books begin at zero.
fn delivers(client: &Client, message: &str) -> bool {
    let queued = client.message(Level::Error, message).outcome == Outcome::Queued;
    let complete = client.flush(PATIENT).complete;
    let sums = client.status().totals.of(Category::Error);
    queued && complete && (sums.recorded, sums.delivered) == (1, 1)
}

#[test]
fn parent_child_and_grandchild_deliver_what_is_theirs() {
    let server = Server::start(|_, number| {
        // The first request is answered so late that the parent's record is in flight while it forks.
        if number == 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
        Reply::ok()
    });
    let build = || {
        Client::builder()
            .sentry_dsn(&server.dsn())
            .environment_proxies(false)
            .build()
            .unwrap()
    };
    let used = build();
    let unused = build();
    let _ = used.message(Level::Error, "parent, before");
    server.wait_for(|requests| !requests.is_empty());
    let ids = (used.new_trace_id(), unused.new_trace_id());

    let children = [
        in_child(|| delivers(&used, "child of a used client")),
        in_child(|| delivers(&unused, "child of an unused client")),
        in_child(|| {
            let grandchild = in_child(|| delivers(&used, "grandchild"));
            assert_well(grandchild);
            used.new_trace_id() != ids.0 && unused.new_trace_id() != ids.1
        }),
        in_child(|| {
            // What the child does not use costs it nothing when it goes.
            drop(unused.clone());
            used.close(PATIENT).complete && used.status().totals.categories().count() == 0
        }),
    ];
    let _ = used.message(Level::Error, "parent, after");
    for child in children {
        assert_well(child);
    }
    assert!(used.close(PATIENT).complete);
    let child = in_child(|| used.message(Level::Error, "closed").outcome != Outcome::Queued);
    assert_well(child);

    assert_eq!(used.status().totals.of(Category::Error).delivered, 2);
    assert_eq!(
        messages(&server.requests()),
        [
            "child of a used client",
            "child of an unused client",
            "grandchild",
            "parent, after",
            "parent, before",
        ]
    );
}

/// What logs say, in the order of the alphabet.
fn logs(requests: &[Received]) -> Vec<String> {
    let mut logs: Vec<String> = requests
        .iter()
        .flat_map(|request| envelope::parse(&request.body).items)
        .filter(|item| item.kind() == "log")
        .flat_map(|item| {
            let container = item.json();
            let bodies = container["items"].as_array().unwrap().iter();
            bodies
                .map(|log| log["body"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    logs.sort();
    logs
}

fn log(client: &Client, body: &str) -> Outcome {
    client.log(&Log {
        body,
        ..Log::default()
    })
}

/// Has three threads record without a pause while `work` runs, and checks at the end that everything of the parent was
/// delivered once or dropped and counted, and `of_children` once.
fn amid_recording(work: impl FnOnce(&Client) -> Vec<String>) {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .memory(256 * 1024)
        .environment_proxies(false)
        .build()
        .unwrap();
    assert!(client.start());
    let stop = AtomicBool::new(false);
    let recorded = AtomicUsize::new(0);
    let mut of_children = std::thread::scope(|scope| {
        for thread in 0..3 {
            let (client, stop, recorded) = (&client, &stop, &recorded);
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let _ = log(client, &format!("parent {thread} {number}"));
                    number += 1;
                }
                recorded.fetch_add(number, Ordering::Relaxed);
            });
        }
        let of_children = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&client)));
        stop.store(true, Ordering::Relaxed);
        of_children.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    assert!(client.close(PATIENT).complete);
    let sums = client.status().totals.of(Category::LogItem);
    assert_eq!(sums.recorded, recorded.load(Ordering::Relaxed) as u64);
    assert_eq!(sums.recorded, sums.delivered + sums.dropped);
    let (parents, children): (Vec<String>, Vec<String>) = logs(&server.requests())
        .into_iter()
        .partition(|body| body.starts_with("parent"));
    assert_eq!(parents.len() as u64, sums.delivered);
    let twice = parents.windows(2).find(|pair| pair[0] == pair[1]);
    assert_eq!(twice, None);
    of_children.sort();
    assert_eq!(children, of_children);
}

#[test]
fn children_of_a_process_in_full_swing_start_clean() {
    amid_recording(|client| {
        let bodies: Vec<String> = (0..24).map(|number| format!("child {number}")).collect();
        for own in bodies.chunks(3) {
            let child = in_child(|| {
                let queued = own.iter().all(|body| log(client, body) == Outcome::Queued);
                let flushed = client.flush(PATIENT).complete;
                let sums = client.status().totals.of(Category::LogItem);
                queued && flushed && (sums.recorded, sums.delivered) == (3, 3)
            });
            assert_well(child);
        }
        bodies
    });
}

#[test]
fn programs_started_by_a_process_in_full_swing_get_nothing_of_it() {
    amid_recording(|_| {
        for number in 0..20 {
            let mut list = Command::new("ls");
            list.args(["-l", "/dev/fd/"]);
            if number % 2 == 0 {
                // SAFETY: it does nothing. Its presence makes the library fork, where it would have the kernel share the
                // memory until the program runs (`posix_spawn`, a `vfork`).
                unsafe { list.pre_exec(|| Ok(())) };
            }
            let output = list.output().unwrap();
            let files = String::from_utf8_lossy(&output.stdout);
            assert!(files.contains("0 ->") && !files.contains("socket"), "{files}");
        }
        Vec::new()
    });
}

#[test]
fn a_daemon_delivers_what_it_records() {
    amid_recording(|client| {
        let (mut ended, told) = std::io::pipe().unwrap();
        let between = in_child(|| {
            // SAFETY: takes no memory of ours.
            let leads = unsafe { libc::setsid() } > 0;
            // The daemon, which nobody waits for.
            let _ = in_child(|| {
                let well = log(client, "daemon") == Outcome::Queued && client.close(PATIENT).complete;
                let _ = std::io::Write::write_all(&mut &told, &[u8::from(well)]);
                well
            });
            leads
        });
        assert_well(between);
        drop(told);
        let mut verdict = Vec::new();
        std::io::Read::read_to_end(&mut ended, &mut verdict).unwrap();
        assert_eq!(verdict, [1]);
        vec!["daemon".to_owned()]
    });
}

#[test]
fn limits_of_the_parent_are_not_the_childs_and_the_other_way_round() {
    let server = Server::start(
        |request, _| match messages(std::slice::from_ref(request)).first() {
            Some(message) if message == "refused" => {
                Reply::status(429).with("X-Sentry-Rate-Limits", "60:error:key")
            }
            Some(_) => Reply::ok().with("X-Sentry-Rate-Limits", "60:log_item:key"),
            // A client report, or logs.
            None => Reply::ok(),
        },
    );
    let client = Client::builder()
        .sentry_dsn(&server.dsn())
        .environment_proxies(false)
        .build()
        .unwrap();
    let limited = Outcome::Dropped(DropReason::RatelimitBackoff);
    let _ = client.message(Level::Error, "refused");
    assert!(client.flush(PATIENT).complete);
    assert_eq!(client.message(Level::Error, "limited").outcome, limited);
    let child = in_child(|| {
        let took = delivers(&client, "child");
        took && log(&client, "limited") == limited && client.status().destinations[0].limited == ["log_item"]
    });
    assert_well(child);
    assert_eq!(client.message(Level::Error, "still limited").outcome, limited);
    assert_eq!(log(&client, "parent"), Outcome::Queued);
    assert!(client.close(PATIENT).complete);
    let requests = server.requests();
    assert_eq!(messages(&requests), ["child", "refused"]);
    assert_eq!(logs(&requests), ["parent"]);
    let totals = client.status().totals;
    assert_eq!(totals.dropped(Category::Error, DropReason::RatelimitBackoff), 2);
    assert_eq!(totals.dropped(Category::Error, DropReason::ServerRateLimited), 1);
}

#[test]
fn a_child_ends_in_time_at_a_server_that_stalls() {
    const TWO_SECONDS: Duration = Duration::from_secs(2);
    let server = Server::start(|_, _| Reply::Stall);
    let build = || {
        Client::builder()
            .sentry_dsn(&server.dsn())
            .environment_proxies(false)
            .build()
            .unwrap()
    };
    let client = build();
    let _ = client.message(Level::Error, "parent");
    server.wait_for(|requests| !requests.is_empty());
    let in_time = |what: &str, call: &dyn Fn()| {
        let call = std::panic::AssertUnwindSafe(|| within(TWO_SECONDS, what, call));
        std::panic::catch_unwind(call).is_ok()
    };
    let flushes_and_closes = || {
        let _ = client.message(Level::Error, "child");
        in_time("flush in a child", &|| {
            assert!(!client.flush(TWO_SECONDS).complete)
        }) && in_time("close in a child", &|| {
            assert!(!client.close(TWO_SECONDS).complete)
        })
    };
    let drops = || {
        let own = build();
        let _ = own.message(Level::Error, "child");
        let own = std::cell::Cell::new(Some(own));
        in_time("drop in a child", &|| drop(own.take()))
    };
    let exits = || {
        let _ = client.message(Level::Error, "child");
        // Runs handlers and destructors of statics, as `main` does at its end.
        std::process::exit(0)
    };
    // A late call may be the machine's doing; three in a row are not.
    let works = |work: &dyn Fn() -> bool| (0..3).any(|_| well(in_child(work)));
    assert!(works(&flushes_and_closes));
    assert!(works(&drops));
    assert!(works(&exits));
    assert_eq!(client.status().totals.of(Category::Error).recorded, 1);
    let _ = client.close(Duration::from_millis(10));
}
