//! A child that is forked while threads of its parent do something for the first time still delivers: name lookups, TLS
//! handshakes, certificates, runtimes, whatever the libraries below set up once for a whole process.
//!
//! A first time comes once in a process, so each scene is a process of its own, this program started again. It forks
//! from its first moment on, while three of its threads make clients and connect them. `SURGETANK_FIRST_USES` sets how many
//! processes; each has [`CHILDREN`] children.

#![cfg(target_os = "linux")]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own that forks at a pace and says what it saw"
)]

mod support;
#[path = "support/tls_server.rs"]
mod tls_server;

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use surgetank::otlp::Span;
use surgetank::sentry::Level;
use surgetank::{Category, Client, Outcome};
use surgetank_core::rng::Rng;

use support::{Reply, Server, envelope, otlp};
use tls_server::{Authority, TlsServer};

/// The number of the scene, to the process that plays it.
const SCENE: &str = "SURGETANK_TEST_SCENE";
const SENTRY: &str = "SURGETANK_TEST_SENTRY";
const OTLP: &str = "SURGETANK_TEST_OTLP";

const PROCESSES: u64 = 10;
const CHILDREN: u64 = 8;

const PATIENT: Duration = Duration::from_secs(60);

fn processes() -> u64 {
    std::env::var("SURGETANK_FIRST_USES").map_or(PROCESSES, |text| text.parse().expect("a number"))
}

fn main() -> ExitCode {
    if let Ok(scene) = std::env::var(SCENE) {
        return play(scene.parse().expect("a number"));
    }
    println!(
        "\nrunning 1 test ({} processes of {CHILDREN} children)",
        processes()
    );
    oversee();
    println!("test children_of_first_uses_deliver ... ok\n");
    ExitCode::SUCCESS
}

fn oversee() {
    let authority = Authority::new();
    let sentry = TlsServer::start(authority.server_config(false));
    let collector = Server::start(|_, _| Reply::ok());
    let roots = std::env::temp_dir().join(format!("surgetank-first-use-{}.pem", std::process::id()));
    std::fs::write(&roots, &authority.root).expect("a file for the root certificate");
    let failed: Vec<String> = (0..processes())
        .filter_map(|scene| {
            let output = Command::new(std::env::current_exe().expect("this program"))
                .env(SCENE, scene.to_string())
                .env(SENTRY, sentry.dsn())
                .env(OTLP, format!("http://localhost:{}", collector.address.port()))
                // The store of this machine, as far as the client can tell.
                .env("SSL_CERT_FILE", &roots)
                .env_remove("SSL_CERT_DIR")
                .stdin(Stdio::null())
                .output()
                .expect("a process");
            let words = String::from_utf8_lossy(&output.stderr);
            (!output.status.success()).then(|| format!("{scene}: {}: {words}", output.status))
        })
        .collect();
    let _ = std::fs::remove_file(&roots);
    assert!(failed.is_empty(), "{failed:#?}");

    // Each child's records arrived once.
    let mut events: Vec<String> = sentry
        .requests
        .lock()
        .expect("not poisoned")
        .iter()
        .flat_map(|(_, body)| envelope::parse(body).items)
        .filter(|item| item.kind() == "event")
        .map(|item| {
            item.json()["logentry"]["formatted"]
                .as_str()
                .expect("text")
                .to_owned()
        })
        .filter(|message| message != PARENT)
        .collect();
    events.sort();
    let mut expected: Vec<String> = (0..processes())
        .flat_map(|scene| (0..CHILDREN).map(move |child| message(scene, child)))
        .collect();
    expected.sort();
    assert_eq!(events, expected);
    let spans: usize = collector
        .requests()
        .iter()
        .map(|request| otlp::parse(&request.body).records.len())
        .sum();
    assert!(spans >= expected.len(), "{spans} spans");
}

const PARENT: &str = "parent";

fn message(scene: u64, child: u64) -> String {
    format!("child {child} of process {scene}")
}

fn new_client() -> Client {
    let address = |name| std::env::var(name).expect("an address");
    Client::builder()
        .sentry_dsn(&address(SENTRY))
        .otlp_endpoint(&address(OTLP))
        .environment_proxies(false)
        .build()
        .expect("valid settings")
}

fn record(client: &Client, message: &str) -> bool {
    let span = Span::new(client.new_trace_id(), client.new_span_id(), "work");
    client.message(Level::Error, message).outcome == Outcome::Queued
        && client.otlp_span(&span) == Outcome::Queued
}

/// The process that forks.
fn play(scene: u64) -> ExitCode {
    // SAFETY: asks for a signal when whoever started this is gone, and for one long after everything should have ended.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong);
        libc::alarm(300);
    }
    let mut rng = Rng::new(scene);
    let client = new_client();
    let stop = AtomicBool::new(false);
    let well = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let own = new_client();
                    let _ = record(&own, PARENT);
                    let _ = own.close(PATIENT);
                }
            });
        }
        let _ = record(&client, PARENT);
        let children: Vec<(u64, libc::pid_t)> = (0..CHILDREN)
            .map(|number| {
                std::thread::sleep(Duration::from_micros(rng.below(3_000)));
                (number, fork(&client, &message(scene, number)))
            })
            .collect();
        let well = children
            .iter()
            .fold(true, |well, (number, child)| ended_well(*number, *child) && well);
        stop.store(true, Ordering::Relaxed);
        well
    });
    let closed = client.close(PATIENT);
    if !closed.complete {
        eprintln!("the parent: {closed:?}");
    }
    ExitCode::from(u8::from(!(well && closed.complete)))
}

/// A child that records, delivers, and ends.
fn fork(client: &Client, message: &str) -> libc::pid_t {
    // SAFETY: the child runs this thread alone. What it calls takes no lock that another thread of the parent could
    // hold, apart from the C library's own, which it keeps usable across `fork`. It ends without running destructors.
    unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(90);
                let queued = record(client, message);
                let flushed = client.flush(PATIENT);
                let sums = flushed.sums.of(Category::Error);
                let well = queued && flushed.complete && (sums.recorded, sums.delivered) == (1, 1);
                if !well {
                    eprintln!("{message}: {queued} {flushed:?}");
                }
                libc::_exit(i32::from(!well));
            }
            child => {
                assert!(child > 0, "fork");
                child
            }
        }
    }
}

fn ended_well(number: u64, child: libc::pid_t) -> bool {
    let mut status = 0;
    // SAFETY: `status` is valid to write to.
    let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
    let well = ended == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
    if !well {
        eprintln!("child {number}: status {status:#x}");
    }
    well
}
