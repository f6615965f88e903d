//! Envoy with the player in it (`tests/hosts/player`): once for each tape, in a virtual machine of its own.

use serde_json::json;
use surgetank_tests::envoy::{Envoy, bootstrap, listener, plugin, root};
use surgetank_tests::web::Connection;
use tempfile::TempDir;

pub(crate) struct Players {
    envoy: Envoy,
    // Goes when the proxy is gone.
    _folder: TempDir,
}

impl Players {
    /// A proxy with a player of each name.
    pub(crate) fn start<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let code = root().join("target/hosts/wasm32-unknown-unknown/plugin/surgetank_player.wasm");
        assert!(
            code.is_file(),
            "`cargo xtask test --only wasm` builds {}",
            code.display()
        );
        let player = |name| {
            let mut player = plugin(name, &code, &path(name), "");
            // The body is wanted before anything is answered, and no more than that.
            player["typed_config"]["config"]["allow_on_headers_stop_iteration"] = true.into();
            player
        };
        let plugins = names.map(player).collect();
        // What no plugin answers is an error.
        let nobody = json!({"match": {"prefix": "/"}, "direct_response": {"status": 404}});
        let mut bootstrap = bootstrap();
        bootstrap["static_resources"]["listeners"] = json!([listener(plugins, &json!([nobody]))]);
        let folder = tempfile::tempdir().expect("a directory for the configuration");
        Self {
            envoy: Envoy::start(folder.path(), &bootstrap, 1),
            _folder: folder,
        }
    }

    /// The results of the tape.
    pub(crate) fn play(&self, name: &str, tape: &[u8]) -> Vec<u8> {
        let answer = Connection::to(self.envoy.address).ask("POST", &path(name), &[], tape);
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        answer.body
    }
}

fn path(name: &str) -> String {
    format!("/{name}")
}
