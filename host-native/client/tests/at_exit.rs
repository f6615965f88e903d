//! Flush and close keep their deadlines in an `atexit` handler, when the destructors of the main thread have run and the
//! others may be in the middle of anything.
//!
//! Each scene is a process of its own, this program started again, because it has to exit.

#![cfg(target_os = "linux")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program of its own that says what it saw"
)]

#[path = "support/held.rs"]
mod held;
#[cfg(feature = "opentelemetry")]
#[path = "support/sdk_span.rs"]
mod sdk_span;
mod support;
#[path = "support/switches.rs"]
mod switches;

use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use surgetank::sentry::Level;
use surgetank::{Category, Client, Outcome};

use held::{Fill, Held, Place};
use support::punctual::{on_time, within};
use support::{Reply, Server};

/// Names the scene to the process that exits.
const SCENE: &str = "SURGETANK_TEST_SCENE";

/// How a scene's server behaves, and whether the client is used before the handler runs.
const SCENES: [(&str, bool, bool); 4] = [
    ("a_stalled_server_does_not_hold_up_the_exit", true, true),
    (
        "a_stalled_server_does_not_hold_up_an_exit_that_records_first",
        true,
        false,
    ),
    ("what_was_recorded_is_delivered_at_the_exit", false, true),
    ("what_is_recorded_at_the_exit_is_delivered", false, false),
];

const TWO_SECONDS: Duration = Duration::from_secs(2);
const PATIENT: Duration = Duration::from_secs(60);

static CLIENT: OnceLock<Client> = OnceLock::new();
static SERVER: OnceLock<Server> = OnceLock::new();
static STALLS: OnceLock<bool> = OnceLock::new();
static HELD: OnceLock<Held> = OnceLock::new();

fn main() -> ExitCode {
    if let Ok(scene) = std::env::var(SCENE) {
        return play(&scene);
    }
    let full = Place::all().map(|(place, level)| name_of(place, level));
    let scenes: Vec<String> = SCENES
        .iter()
        .map(|(scene, ..)| (*scene).to_owned())
        .chain(full)
        .collect();
    println!("\nrunning {} tests", scenes.len());
    let ends: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let played: Vec<_> = scenes
            .iter()
            .map(|scene| scope.spawn(|| on_time(|| exit_of(scene))))
            .collect();
        played
            .into_iter()
            .map(|played| {
                let late = |panic: Box<dyn std::any::Any + Send>| panic.downcast_ref::<String>().cloned();
                played
                    .join()
                    .unwrap_or_else(|panic| Err(late(panic).unwrap_or_default()))
            })
            .collect()
    });
    for (scene, ended) in scenes.iter().zip(&ends) {
        println!("test {scene} ... {}", if ended.is_ok() { "ok" } else { "FAILED" });
        if let Err(words) = ended {
            println!("{words}");
        }
    }
    let failed = ends.iter().filter(|ended| ended.is_err()).count();
    println!(
        "\ntest result: {} passed; {failed} failed\n",
        scenes.len() - failed
    );
    ExitCode::from(u8::from(failed > 0))
}

fn name_of(place: Place, level: Fill) -> String {
    format!("nothing_holds_up_the_exit_at_{place:?}_{level:?}").to_lowercase()
}

/// Runs the process that exits.
fn exit_of(scene: &str) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .env(SCENE, scene)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if let Some(late) = words.find("late: ") {
        // As it was said there, for the scene to be played again.
        std::panic::resume_unwind(Box::new(words[late..].to_owned()));
    }
    // 7 is what the handler ends the process with when all went well.
    if output.status.code() == Some(7) {
        Ok(())
    } else {
        Err(format!("{}: {words}", output.status))
    }
}

fn play(scene: &str) -> ExitCode {
    let full = Place::all().find(|(place, level)| name_of(*place, *level) == scene);
    if let Some((place, level)) = full {
        HELD.get_or_init(|| Held::new(place, level));
        // SAFETY: the handler is a plain function.
        assert_eq!(unsafe { libc::atexit(on_exit_held) }, 0);
        return ExitCode::SUCCESS;
    }
    let (_, stalls, used) = *SCENES
        .iter()
        .find(|(name, ..)| *name == scene)
        .expect("a known scene");
    let _ = STALLS.set(stalls);
    let server =
        SERVER.get_or_init(|| Server::start(move |_, _| if stalls { Reply::Stall } else { Reply::ok() }));
    let client = CLIENT.get_or_init(|| {
        Client::builder()
            .sentry_dsn(&server.dsn())
            .environment_proxies(false)
            .build()
            .expect("valid settings")
    });
    // SAFETY: the handler is a plain function.
    assert_eq!(unsafe { libc::atexit(on_exit) }, 0);
    if used {
        assert_eq!(
            client.message(Level::Error, "before the exit").outcome,
            Outcome::Queued
        );
    }
    ExitCode::SUCCESS
}

extern "C" fn on_exit() {
    end_with(|| {
        let client = CLIENT.get().expect("built");
        let _ = client.message(Level::Error, "at the exit");
        let patience = if STALLS.get() == Some(&true) {
            TWO_SECONDS
        } else {
            PATIENT
        };
        let flushed = within(patience, "flush", || client.flush(patience));
        let closed = within(patience, "close", || client.close(patience));
        let sums = client.close(PATIENT).sums.of(Category::Error);
        assert_eq!(sums.recorded, sums.delivered + sums.dropped);
        let complete = patience == PATIENT;
        assert_eq!(
            (flushed.complete, closed.complete),
            (complete, complete),
            "{sums:?}"
        );
        assert_eq!(sums.delivered > 0, complete, "{sums:?}");
    });
}

extern "C" fn on_exit_held() {
    end_with(|| {
        let client = &HELD.get().expect("built").client;
        held::record(client);
        let flushed = within(TWO_SECONDS, "flush", || client.flush(TWO_SECONDS));
        let closed = within(TWO_SECONDS, "close", || client.close(TWO_SECONDS));
        assert_eq!((flushed.complete, closed.complete), (false, false));
    });
}

/// Ends the process, and says with what it ends whether all went well.
fn end_with(scene: impl FnOnce() + std::panic::UnwindSafe) {
    if let Err(panic) = std::panic::catch_unwind(scene) {
        let words = panic
            .downcast_ref::<String>()
            .map_or("a failed assertion", String::as_str);
        eprintln!("{words}");
        return;
    }
    // SAFETY: ends the process without further handlers.
    unsafe { libc::_exit(7) };
}
