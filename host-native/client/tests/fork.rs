//! After `fork`, parent and child each deliver their own records, once; the order of building and forking is free.
#![cfg(unix)]
#![expect(clippy::disallowed_methods, reason = "the server is late on purpose")]

mod support;

use std::time::Duration;

use surgetank::sentry::Level;
use surgetank::{Category, Client, Outcome};

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

fn assert_well(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is valid to write to.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(ended, child);
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "the child ended with {status}"
    );
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
