//! The real Envoy, on free ports of loopback, with whatever plugins a test configures.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::process::{Ended, Process, pause};
use crate::upstream::{PATIENCE, now};
use crate::web::Connection;
use rustix::process::Signal;

/// Options that let several of them run at once.
pub const ALONE: [&str; 2] = ["--use-dynamic-base-id", "--disable-hot-restart"];

/// The workspace root.
#[must_use]
pub fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// The program that `cargo xtask setup` installs.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn program() -> PathBuf {
    let program = root().join("target/venv/bin/envoy");
    assert!(
        program.is_file(),
        "{} is missing: run `cargo xtask setup`",
        program.display()
    );
    program
}

/// A running proxy.
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
    /// Where its first listener takes requests.
    pub address: SocketAddr,
}

impl Envoy {
    /// Starts it with `bootstrap`, which has an admin port and a listener, and so many workers. It writes into `folder`.
    ///
    /// # Panics
    /// When it is not ready within [`PATIENCE`].
    #[track_caller]
    #[must_use]
    pub fn start(folder: &Path, bootstrap: &Value, workers: u32) -> Self {
        let path = folder.join("envoy.json");
        std::fs::write(&path, bootstrap.to_string()).expect("the directory can be written to");
        let admin = folder.join("admin");
        let mut command = Command::new(program());
        command.arg("--config-path").arg(path);
        command.arg("--admin-address-path").arg(&admin);
        command.args(ALONE).args(["--concurrency", &workers.to_string()]);
        // Draining of old connections is to end within a test.
        command.args(["--drain-time-s", "1", "--log-level", "warning"]);
        let process = Process::start("envoy", command);
        let admin = wait("the address of its admin port", || {
            std::fs::read_to_string(&admin).ok()?.trim().parse().ok()
        });
        let mut envoy = Self {
            process,
            admin,
            address: admin,
        };
        envoy.address = wait("its listener", || {
            let text = envoy.admin_get("/listeners?format=json");
            let state: Value = serde_json::from_str(&text).ok()?;
            let socket = &state["listener_statuses"][0]["local_address"]["socket_address"];
            let port = socket["port_value"].as_u64()?;
            format!("127.0.0.1:{port}").parse().ok()
        });
        wait("readiness", || {
            envoy.admin_get("/ready").starts_with("LIVE").then_some(())
        });
        envoy
    }

    /// What its admin port answers.
    ///
    /// # Panics
    /// When that is nothing within [`PATIENCE`].
    #[must_use]
    pub fn admin_get(&self, path: &str) -> String {
        Connection::to(self.admin).get(path, &[]).text().into_owned()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it with SIGTERM, as a service manager does.
    ///
    /// # Panics
    /// When it does not end well.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.process.signal(Signal::TERM);
        let ended = self.process.ended();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
        ended
    }
}

/// A bootstrap with an admin port and nothing else.
#[must_use]
pub fn bootstrap() -> Value {
    json!({
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
    })
}

/// A plugin in the file `code`, in a virtual machine of that name, which the plugin itself is also called; and the
/// configurations of both.
#[must_use]
pub fn plugin(name: &str, code: &Path, configuration: &str, machine: &str) -> Value {
    let text =
        |value: &str| json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": value});
    let settings = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": name,
            "root_id": name,
            "failure_policy": "FAIL_CLOSED",
            "configuration": text(configuration),
            "vm_config": {
                "vm_id": name,
                "runtime": "envoy.wasm.runtime.v8",
                "configuration": text(machine),
                "code": {"local": {"filename": code}},
            },
        },
    });
    filter(name, &settings)
}

/// A listener on a free port with these plugins in front of these routes.
#[must_use]
pub fn listener(mut plugins: Vec<Value>, routes: &Value) -> Value {
    let router = json!({"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"});
    plugins.push(filter("envoy.filters.http.router", &router));
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": plugins,
    });
    json!({
        "name": "main",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [filter("envoy.filters.network.http_connection_manager", &manager)]}],
    })
}

fn filter(name: &str, settings: &Value) -> Value {
    json!({"name": name, "typed_config": settings})
}

/// What `look` finds, as soon as it does.
///
/// # Panics
/// After [`PATIENCE`].
#[track_caller]
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < until, "not within {PATIENCE:?}: {what}");
        pause();
    }
}
