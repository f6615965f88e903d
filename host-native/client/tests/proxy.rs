//! Proxy variables of the environment are honoured, unless the program says otherwise.

mod support;

use std::time::Duration;

use surgetank::Client;
use surgetank::sentry::Level;

use support::{Reply, Server};

const PATIENT: Duration = Duration::from_secs(60);

#[test]
fn requests_go_through_the_proxy_of_the_environment() {
    let proxy = Server::start(|_, _| Reply::ok());
    // SAFETY: this is the only test of its program, and nothing else runs yet that reads the environment.
    unsafe {
        std::env::set_var("http_proxy", proxy.url(""));
        std::env::set_var("no_proxy", "direct.invalid");
    }
    let client = |host: &str, honour| {
        Client::builder()
            .sentry_dsn(&format!("http://0123456789abcdef0123456789abcdef@{host}/42"))
            .environment_proxies(honour)
            .build()
            .unwrap()
    };
    let through = client("telemetry.invalid", true);
    let _ = through.message(Level::Error, "x");
    assert!(through.close(PATIENT).complete);
    let paths = |server: &Server| {
        server
            .requests()
            .into_iter()
            .map(|request| request.path)
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(&proxy), ["http://telemetry.invalid/api/42/envelope/"]);

    for (host, honour) in [("direct.invalid", true), ("telemetry.invalid", false)] {
        let past = client(host, honour);
        let _ = past.message(Level::Error, "x");
        assert!(!past.close(Duration::from_millis(300)).complete);
    }
    assert_eq!(proxy.requests().len(), 1);

    // A proxy's loopback is another machine's: a server on this one is spoken to directly.
    let local = Server::start(|_, _| Reply::ok());
    let port = local.address.port();
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        let direct = client(&host, true);
        let _ = direct.message(Level::Error, "x");
        assert!(direct.close(PATIENT).complete, "{host}");
    }
    assert_eq!((proxy.requests().len(), local.requests().len()), (1, 2));
}
