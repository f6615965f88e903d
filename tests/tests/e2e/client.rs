//! The real SDKs: small programs that record what they are told to (`tests/e2e/python`, `tests/e2e/node`).

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use surgetank_tests::process::{Ended, Process};

/// Which SDK. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sdk {
    SentryPython,
    SentryNode,
    OtelPython,
    OtelNode,
}

impl Sdk {
    const fn script(self) -> &'static str {
        match self {
            Self::SentryPython => "tests/e2e/python/sentry_client.py",
            Self::SentryNode => "tests/e2e/node/sentry_client.cjs",
            Self::OtelPython => "tests/e2e/python/otel_client.py",
            Self::OtelNode => "tests/e2e/node/otel_client.cjs",
        }
    }

    pub(crate) const fn is_sentry(self) -> bool {
        matches!(self, Self::SentryPython | Self::SentryNode)
    }
}

/// A running program with an SDK.
pub(crate) struct Client {
    pub(crate) sdk: Sdk,
    process: Process,
}

impl Client {
    /// Starts a program whose SDK sends to `receiver`: a DSN for Sentry's SDKs, a base URL for OpenTelemetry's.
    #[track_caller]
    pub(crate) fn start(sdk: Sdk, receiver: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = match sdk {
            Sdk::SentryPython | Sdk::OtelPython => python(),
            Sdk::SentryNode | Sdk::OtelNode => node(),
        };
        command.arg(root().join(sdk.script()));
        if sdk.is_sentry() {
            command.env("SENTRY_DSN", receiver);
        } else {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", receiver);
        }
        command.envs(settings.iter().copied());
        let mut process = Process::start(sdk.script(), command);
        assert_eq!(
            serde_json::from_str::<Value>(&process.line()).ok(),
            Some(json!({"ready": true}))
        );
        Self { sdk, process }
    }

    /// Has the program carry out a command; what came of it.
    #[track_caller]
    pub(crate) fn ask(&mut self, what: &str, mut arguments: Value) -> Value {
        arguments["do"] = what.into();
        self.process.write(&arguments.to_string());
        let line = self.process.line();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{what}: {line}"));
        assert!(
            answer.get("failed").is_none(),
            "{:?} {what}: {}",
            self.sdk,
            answer["failed"]
        );
        answer["done"].clone()
    }

    /// Has the SDK send all that it holds.
    #[track_caller]
    pub(crate) fn flush(&mut self) {
        self.ask("flush", json!({"timeout": 30}));
    }

    /// Records everything that the SDK has a kind of item for.
    #[track_caller]
    pub(crate) fn record_everything(&mut self) {
        match self.sdk {
            Sdk::SentryPython | Sdk::SentryNode => {
                self.ask("error", json!({"message": "out of stock"}));
                self.ask("error", json!({"message": "no price", "attached": true}));
                self.ask("large_error", json!({"message": "much to say", "size": 200_000}));
                self.ask("trace", json!({"name": "checkout", "spans": 3}));
                self.ask("logs", json!({"body": "paid", "count": 5}));
                self.ask("metric", json!({"name": "orders", "value": 3}));
                self.ask("session", json!({"errored": true}));
                self.ask("check_in", json!({"slug": "nightly"}));
                match self.sdk {
                    Sdk::SentryNode => self.ask("feedback", json!({"message": "well done"})),
                    _ => self.ask("requests", json!({"count": 4})),
                };
            }
            Sdk::OtelPython | Sdk::OtelNode => {
                self.ask("spans", json!({"name": "checkout", "count": 4}));
                self.ask("logs", json!({"body": "paid", "count": 5}));
                self.ask("metric", json!({"value": 3}));
            }
        }
    }

    /// Records little of what is most usual, all of it under `name`, and has it sent.
    #[track_caller]
    pub(crate) fn record_some(&mut self, name: &str) {
        match self.sdk {
            Sdk::SentryPython | Sdk::SentryNode => {
                self.ask("error", json!({"message": name}));
                self.ask("trace", json!({"name": name, "spans": 2}));
                self.ask("logs", json!({"body": name, "count": 3}));
            }
            Sdk::OtelPython | Sdk::OtelNode => {
                self.ask("spans", json!({"name": name, "count": 2}));
                self.ask("logs", json!({"body": name, "count": 3}));
                self.ask("metric", json!({"value": 1}));
            }
        }
        self.flush();
    }

    /// Lets the program end as programs do, and the SDK with it.
    #[track_caller]
    pub(crate) fn end(self) {
        let script = self.sdk.script();
        let Ended { status, errors, .. } = self.process.ended();
        assert!(status.success(), "{script} ended with {status}:\n{errors}");
    }
}

/// The interpreter with the packages of `tests/e2e/requirements.txt`.
pub(crate) fn python() -> Command {
    let mut command = Command::new(installed("target/venv/bin/python"));
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1");
    command
}

fn node() -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", installed("target/node/node_modules"));
    command
}

#[track_caller]
fn installed(path: &str) -> PathBuf {
    let path = root().join(path);
    assert!(
        path.exists(),
        "{} is not there; install the clients with `cargo xtask setup`",
        path.display()
    );
    path
}

/// The workspace root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the root")
}
