//! A board in QEMU, a cable, the gateway as it is shipped, and an upstream that records.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use surgetank_tests::built;
use surgetank_tests::process::{Process, pause};
use surgetank_tests::upstream::envelope::Envelope;
use surgetank_tests::upstream::{Exchange, PATIENCE, Upstream, now, outline};

use crate::cable::Cable;

/// All of it. What is dropped first ends first: the gateway, the board, the servers.
pub(crate) struct Scene {
    gateway: Option<Process>,
    board: Process,
    pub(crate) cable: Cable,
    pub(crate) upstream: Upstream,
}

impl Scene {
    /// A board that runs the example as built for `target`, whose gateway sends to `upstream`.
    #[track_caller]
    pub(crate) fn new(target: &str, upstream: Upstream) -> Self {
        let cable = Cable::new();
        let firmware = built::fresh(
            &Path::new("target/firmware")
                .join(target)
                .join("release/embedded-serial"),
            &[
                "core/src",
                "host-native/serial/src",
                "examples/embedded-serial/src",
            ],
            "`cargo xtask test --only serial` builds it",
        );
        let mut command = Command::new("qemu-system-arm");
        let [host, port] = [cable.board().ip().to_string(), cable.board().port().to_string()];
        command
            .args(["-cpu", "cortex-m4", "-machine", "mps2-an386"])
            .args(["-display", "none", "-monitor", "none"])
            .arg("-chardev")
            .arg(format!("socket,id=line,host={host},port={port}"))
            .args(["-serial", "chardev:line"])
            .args(["-chardev", "stdio,id=console,signal=off"])
            .args(["-serial", "chardev:console", "-kernel"])
            .arg(firmware);
        let board = Process::start("the board", command);
        let mut scene = Self {
            gateway: None,
            board,
            cable,
            upstream,
        };
        scene.start_gateway();
        scene
    }

    #[track_caller]
    pub(crate) fn start_gateway(&mut self) {
        let mut command = Command::new(built::sidecar());
        command
            .arg("serial")
            .arg(format!("tcp:{}", self.cable.gateway()))
            .arg("--dsn")
            .arg(self.upstream.dsn(1))
            .args(["--shutdown-timeout", "60s"]);
        let mut gateway = Process::start("surgetank serial", command);
        let ready = gateway.line();
        assert!(ready.contains("\"event\":\"ready\""), "{ready}");
        assert!(!ready.contains(surgetank_tests::upstream::KEY), "no key is shown");
        self.gateway = Some(gateway);
    }

    /// Ends the gateway with SIGTERM; its last line.
    #[track_caller]
    pub(crate) fn stop_gateway(&mut self) -> Value {
        let gateway = self.gateway.take().expect("a gateway runs");
        gateway.signal(Signal::TERM);
        let ended = gateway.ended();
        assert_eq!(
            ended.status.code(),
            Some(0),
            "{:?}\n{}",
            ended.lines,
            ended.errors
        );
        assert!(
            !ended.errors.contains(surgetank_tests::upstream::KEY),
            "no key is shown:\n{}",
            ended.errors
        );
        serde_json::from_str(ended.lines.last().expect("a last line")).expect("it is JSON")
    }

    /// Types on the board's console: see the example's `console.rs`.
    #[track_caller]
    pub(crate) fn type_in(&mut self, commands: &str) {
        self.board.write(commands);
    }

    /// The board's account of itself.
    #[track_caller]
    pub(crate) fn account(&mut self) -> Account {
        self.board.write("s");
        let line = self.board.line();
        Account(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The first account that satisfies `is_it`.
    #[track_caller]
    pub(crate) fn account_when(&mut self, what: &str, is_it: impl Fn(&Account) -> bool) -> Account {
        let until = now() + PATIENCE;
        loop {
            let account = self.account();
            if is_it(&account) {
                return account;
            }
            assert!(
                now() < until,
                "not within {PATIENCE:?}: {what}; {}\n{}",
                account.0,
                outline(&self.upstream.exchanges())
            );
            pause();
        }
    }

    /// Stops measuring and waits until everything is delivered or dropped; the books of the board, which have to agree.
    #[track_caller]
    pub(crate) fn settled(&mut self) -> Account {
        self.type_in("p");
        let account = self.account_when("everything is settled", |account| {
            account.of("errors", "queued")
                + account.of("measurements", "queued")
                + account.figure("in_intake")
                == 0
        });
        for kind in ["errors", "measurements"] {
            let of = |sum| account.of(kind, sum);
            assert_eq!(of("made"), of("recorded"), "{kind}: {}", account.0);
            assert_eq!(
                of("recorded"),
                of("delivered") + of("dropped"),
                "{kind}: {}",
                account.0
            );
        }
        account
    }
}

/// What the board's console printed.
#[derive(Debug)]
pub(crate) struct Account(pub(crate) Value);

impl Account {
    /// A sum of `errors` or `measurements`.
    pub(crate) fn of(&self, kind: &str, sum: &str) -> u64 {
        let value = self.0.get(kind).and_then(|sums| sums.get(sum));
        value
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("{kind}.{sum} in {}", self.0))
    }

    pub(crate) fn figure(&self, name: &str) -> u64 {
        let value = self.0.get(name).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{name} in {}", self.0))
    }

    /// What was dropped of errors and measurements for a reason.
    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        self.0["dropped"].get(reason).and_then(Value::as_u64).unwrap_or(0)
    }
}

/// What an upstream has.
#[derive(Default, Debug)]
pub(crate) struct Arrived {
    /// How often each number came, in requests that were answered with success.
    pub(crate) errors: BTreeMap<u64, u32>,
    pub(crate) measurements: BTreeMap<u64, u32>,
    /// Quantities in client reports, by category and reason.
    pub(crate) reported: BTreeMap<(String, String), u64>,
}

impl Arrived {
    pub(crate) fn of(exchanges: &[Exchange]) -> Self {
        let mut arrived = Self::default();
        for exchange in exchanges.iter().filter(|exchange| exchange.is_accepted()) {
            let envelope = Envelope::read(&exchange.request.body).expect("an envelope");
            for item in &envelope.items {
                arrived.add(&item.kind(), &item.json());
            }
        }
        arrived
    }

    fn add(&mut self, kind: &str, json: &Value) {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("a number in {json}"));
        match kind {
            "event" => *self.errors.entry(number(&json["extra"]["number"])).or_default() += 1,
            "log" => {
                for log in json["items"].as_array().into_iter().flatten() {
                    let number = number(&log["attributes"]["number"]["value"]);
                    *self.measurements.entry(number).or_default() += 1;
                }
            }
            "client_report" => {
                for entry in json["discarded_events"].as_array().into_iter().flatten() {
                    let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                    let key = (word("category"), word("reason"));
                    *self.reported.entry(key).or_default() += number(&entry["quantity"]);
                }
            }
            other => panic!("an item of type {other}"),
        }
    }

    /// That the numbers of `kind` are all below `made`, and none came twice; how many came.
    #[track_caller]
    pub(crate) fn assert_no_double(kind: &BTreeMap<u64, u32>, made: u64) -> u64 {
        assert!(kind.values().all(|times| *times == 1), "doubled: {kind:?}");
        assert!(
            kind.keys().all(|number| *number < made),
            "{made} were made: {kind:?}"
        );
        kind.len() as u64
    }
}
