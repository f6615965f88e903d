//! Envoy as a user runs it: from a configuration in files, with the plugin as it is shipped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use surgetank_tests::envoy::{self, ALONE, program, root, wait};
use surgetank_tests::process::Ended;
use surgetank_tests::upstream::Upstream;
use surgetank_tests::web::Connection;
use tempfile::TempDir;

/// The DSN of the tests; where it leads is the cluster's business.
pub(crate) const DSN: &str = "http://0123456789abcdef0123456789abcdef@sentry.example/42";

/// A running proxy with the plugin in it.
pub(crate) struct Envoy {
    running: envoy::Envoy,
    /// Where it takes requests.
    pub(crate) address: SocketAddr,
    /// Configuration of the plugin's virtual machine.
    machine: Value,
    folder: TempDir,
}

/// Servers that clusters of the proxy lead to.
#[derive(Clone, Copy)]
struct Servers {
    collector: SocketAddr,
    shop: SocketAddr,
}

fn module() -> PathBuf {
    let module = root().join("dist/surgetank-envoy.wasm");
    assert!(
        module.is_file(),
        "{} is missing: run `cargo xtask wasm`",
        module.display()
    );
    module
}

impl Envoy {
    /// Starts it with two workers and that configuration of the plugin; `shop` is what it stands in front of.
    #[track_caller]
    pub(crate) fn start(plugin: &Value, collector: &Upstream, shop: &Upstream) -> Self {
        Self::start_in(json!({}), plugin, collector, shop)
    }

    /// The same with that configuration of the plugin's virtual machine.
    #[track_caller]
    pub(crate) fn start_in(machine: Value, plugin: &Value, collector: &Upstream, shop: &Upstream) -> Self {
        Self::start_from(machine, plugin, collector, shop, |bootstrap| bootstrap)
    }

    /// The same with a service (`envoy.bootstrap.wasm`, a singleton) that runs the plugin, too, in a virtual machine of
    /// that name.
    #[track_caller]
    pub(crate) fn start_with_service(plugin: &Value, collector: &Upstream, shop: &Upstream) -> Self {
        Self::start_from(json!({}), plugin, collector, shop, |mut bootstrap| {
            let filter = envoy::plugin("surgetank", &module(), &plugin.to_string(), "{}");
            bootstrap["bootstrap_extensions"] = json!([{
                "name": "envoy.bootstrap.wasm",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.wasm.v3.WasmService",
                    "singleton": true,
                    "config": filter["typed_config"]["config"],
                },
            }]);
            bootstrap
        })
    }

    #[track_caller]
    fn start_from(
        machine: Value,
        plugin: &Value,
        collector: &Upstream,
        shop: &Upstream,
        with: impl FnOnce(Value) -> Value,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a directory for the configuration");
        let servers = Servers {
            collector: collector.address(),
            shop: shop.address(),
        };
        write(folder.path(), "lds.json", &listeners(plugin, &machine));
        let bootstrap = with(servers.bootstrap(folder.path()));
        let running = envoy::Envoy::start(folder.path(), &bootstrap, 2);
        Self {
            address: running.address,
            running,
            machine,
            folder,
        }
    }

    /// A connection to it.
    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    /// Replaces the plugin's configuration while it runs, and waits until the new one is at work.
    pub(crate) fn reconfigure(&self, plugin: &Value) {
        let before = self.listener_updates("success");
        self.replace(plugin);
        wait("the update", || {
            (self.listener_updates("success") > before).then_some(())
        });
    }

    /// Lays another configuration of the plugin where it looks for it.
    pub(crate) fn replace(&self, plugin: &Value) {
        let path = |name| self.folder.path().join(name);
        write(self.folder.path(), "next.json", &listeners(plugin, &self.machine));
        std::fs::rename(path("next.json"), path("lds.json")).expect("the file can be moved");
    }

    /// Updates of the listener that ended so: `success`, `rejected`.
    pub(crate) fn listener_updates(&self, how: &str) -> u64 {
        let stats = self
            .running
            .admin_get(&format!("/stats?filter=listener_manager.lds.update_{how}"));
        let number = stats
            .rsplit(' ')
            .next()
            .and_then(|number| number.trim().parse().ok());
        number.unwrap_or_default()
    }

    /// The plugin's statistics, by their names without the prefix.
    pub(crate) fn statistics(&self) -> BTreeMap<String, u64> {
        let text = self.running.admin_get("/stats?filter=wasmcustom.surgetank");
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter_map(|(name, value)| {
                let name = name.strip_prefix("wasmcustom.surgetank.")?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// One of the plugin's statistics; 0 for one that was never counted.
    pub(crate) fn statistic(&self, name: &str) -> u64 {
        self.statistics().get(name).copied().unwrap_or_default()
    }

    /// Waits until as many of `kind` were recorded and none is queued, checks that the sums agree, and gives
    /// (delivered, dropped).
    #[track_caller]
    pub(crate) fn settled(&self, kind: &str, recorded: u64) -> (u64, u64) {
        let (sums, of) = wait("the end of delivery", || {
            let sums = self.statistics();
            let of = |what: &str| sums.get(&format!("{kind}.{what}")).copied().unwrap_or_default();
            // A worker tells its sums one by one, so that a look may come between two of them.
            let agree = of("recorded") == of("delivered") + of("dropped");
            let done = of("recorded") >= recorded && of("queued") == 0 && agree;
            let of = (of("recorded"), of("delivered"), of("dropped"));
            done.then_some((sums, of))
        });
        assert_eq!(of.0, recorded, "{sums:?}");
        let reasons = sums
            .iter()
            .filter(|(name, _)| name.starts_with(&format!("{kind}.dropped.")));
        assert_eq!(reasons.map(|(_, sum)| sum).sum::<u64>(), of.2, "{sums:?}");
        (of.1, of.2)
    }

    /// Bytes of memory in use.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.expect("a number of kB") * 1024
    }

    /// Ends it with SIGTERM, as a service manager does.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.running.stop()
    }

    /// What it says about the configuration in `examples/envoy`.
    pub(crate) fn check_example() -> Output {
        let mut command = Command::new(program());
        command.args(["--mode", "validate", "--config-path", "examples/envoy/envoy.yaml"]);
        command.args(ALONE).current_dir(root());
        command.output().expect("envoy starts")
    }

    /// What it says about configurations of the plugin and its virtual machine that it only checks.
    pub(crate) fn check(plugin: &str, machine: &str) -> Output {
        let folder = tempfile::tempdir().expect("a directory for the configuration");
        let nowhere = "127.0.0.1:9".parse().expect("an address");
        let servers = Servers {
            collector: nowhere,
            shop: nowhere,
        };
        let mut bootstrap = servers.bootstrap(folder.path());
        bootstrap["dynamic_resources"] = json!({});
        bootstrap["static_resources"]["listeners"] = json!([listener(plugin, machine)]);
        write(folder.path(), "envoy.json", &bootstrap);
        let mut command = Command::new(program());
        command.args(["--mode", "validate", "--config-path"]);
        command.arg(folder.path().join("envoy.json"));
        command.args(ALONE);
        command.output().expect("envoy starts")
    }
}

impl Servers {
    fn bootstrap(self, folder: &Path) -> Value {
        let mut bootstrap = envoy::bootstrap();
        bootstrap["dynamic_resources"] = json!({"lds_config": {
            "resource_api_version": "V3",
            "path_config_source": {
                "path": folder.join("lds.json"),
                "watched_directory": {"path": folder},
            },
        }});
        bootstrap["static_resources"] = json!({"clusters": [
            cluster("collector", self.collector),
            cluster("shop", self.shop),
        ]});
        bootstrap
    }
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    let socket = json!({"address": address.ip().to_string(), "port_value": address.port()});
    let endpoint = json!({"endpoint": {"address": {"socket_address": socket}}});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    })
}

fn listeners(plugin: &Value, machine: &Value) -> Value {
    let mut listener = listener(&plugin.to_string(), &machine.to_string());
    listener["@type"] = "type.googleapis.com/envoy.config.listener.v3.Listener".into();
    json!({"resources": [listener]})
}

/// `/local` is answered by the proxy itself, everything else by the shop.
fn listener(plugin: &str, machine: &str) -> Value {
    let local = json!({
        "match": {"prefix": "/local"},
        "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
    });
    let all = json!({"match": {"prefix": "/"}, "route": {"cluster": "shop", "timeout": "60s"}});
    let plugin = envoy::plugin("surgetank", &module(), plugin, machine);
    envoy::listener(vec![plugin], &json!([local, all]))
}

fn write(folder: &Path, name: &str, content: &Value) {
    std::fs::write(folder.join(name), content.to_string()).expect("the directory can be written to");
}
